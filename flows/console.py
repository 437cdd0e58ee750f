"""What a person sees while the loop works and when it is done."""

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from tasks.compare.summary import Row

#: Progress and remarks; results that a script may read go to standard output by click.echo.
screen = Console(stderr=True, highlight=False, markup=False)


class Bar:
    """Progress as a bar that vanishes when its work is done; needs a terminal."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def start(self, label: str, total: int) -> None:
        """Show an empty bar."""
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        self._progress = Progress(*columns, TextColumn("{task.fields[note]}"), console=screen, transient=True)
        self._task = self._progress.add_task(label, total=total, note="")
        self._progress.start()

    def advance(self, units: int, note: str = "") -> None:
        """Fill the bar by ``units``."""
        if self._progress is not None and self._task is not None:
            fields = {"note": note} if note else {}
            self._progress.update(self._task, advance=units, **fields)  # type: ignore[arg-type]

    def finish(self) -> None:
        """Take the bar away."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


class Lines:
    """Progress as plain lines, at most one in ten seconds, for logs."""

    def __init__(self, every_s: float = 10.0) -> None:
        self._every_s = every_s
        self._label, self._total, self._done, self._last = "", 0, 0, 0.0

    def start(self, label: str, total: int) -> None:
        """Begin to count."""
        self._label, self._total, self._done, self._last = label, total, 0, time.monotonic()

    def advance(self, units: int, note: str = "") -> None:
        """Count, and print if the last line is old enough."""
        self._done += units
        if time.monotonic() - self._last >= self._every_s:
            self._last = time.monotonic()
            screen.print(f"  {self._label} {self._done} of {self._total} {note}".rstrip())

    def finish(self) -> None:
        """Print nothing: the stage's own line follows."""


def listener() -> Bar | Lines:
    """A bar on a terminal, plain lines elsewhere."""
    return Bar() if sys.stderr.isatty() else Lines()


def rounds_table(status: dict[str, Any]) -> Table:
    """The rounds so far with labels, accuracy, money and device-hours."""
    table = Table(title=f"{status['name']}: {status['state']}")
    for column in ("round", "labels", "accuracy", "items scored", f"money ({status['currency']})", "device-hours"):
        table.add_column(column, justify="right")
    for outcome in status["rounds"]:
        table.add_row(
            f"{outcome['round']:03d}",
            str(outcome["labels"]),
            f"{outcome['accuracy']:.4f}",
            str(outcome["items_scored"]),
            f"{outcome['money']:.2f}",
            f"{outcome['device_hours']:.4f}",
        )
    return table


def comparison_table(name: str, rows: Sequence["Row"], currency: str) -> Table:
    """The arms at the end of their loops: means over seeds, with 95 % intervals of the accuracies."""
    seeds = f"{rows[0].n} seeds" if rows[0].n > 1 else "1 seed"
    table = Table(title=f"{name}: {seeds}, mean ± half of its 95 % interval", pad_edge=False)
    # An arm's name may be broken on a narrow terminal, numbers not.
    table.add_column("arm", overflow="fold")
    for column in (
        "labels",
        "accuracy",
        f"gain over\n{rows[0].arm}",
        "items\nscored",
        "device-\nseconds",
        f"money\n({currency})",
    ):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.arm,
            f"{row.labels:.0f}",
            _with_interval(f"{row.accuracy:.4f}", row.accuracy_ci95),
            "" if row.difference is None else _with_interval(f"{row.difference:+.4f}", row.difference_ci95),
            f"{row.items_scored:.0f}",
            f"{row.device_seconds:.1f}",
            f"{row.money:.2f}",
        )
    return table


def _with_interval(mean: str, half: float | None) -> str:
    return mean if half is None else f"{mean}±{half:.4f}"


def show_comparison(name: str, rows: Sequence["Row"], currency: str) -> None:
    """Print the table of arms."""
    Console(highlight=False, markup=False).print(comparison_table(name, rows, currency))


def show_status(status: dict[str, Any]) -> None:
    """Print the table of rounds, why the loop stands where it stands, and the next command to type."""
    out = Console(highlight=False, markup=False)
    if status["rounds"]:
        out.print(rounds_table(status))
    else:
        out.print(f"state: {status['state']}; no round is trained yet")
    if (decision := status.get("decision")) and decision["action"] != "continue":
        out.print(f"{decision['action']}: {decision['reason']}", soft_wrap=True)
    if status["waits_for"]:
        out.print(f"waits for {status['waits_for']}", soft_wrap=True)
    out.print(f"next: {status['next']}", soft_wrap=True)
