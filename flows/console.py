"""What a person sees while the loop works and when it is done."""

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from tasks.report.words import number, percent
from tasks.task_type import headline
from tasks.task_type.headline import ACCURACY, Headline

if TYPE_CHECKING:
    from tasks.compare.summary import Row
    from tasks.replay.results import Mean
    from tasks.replay.results import Row as Stop
    from tasks.replay.run import Replay

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
    """The rounds so far with labels, accuracy (or R² and RMSE), money and device-hours."""
    table = Table(title=f"{status['name']}: {status['state']}")
    metric = headline.among(status)
    name, beside = metric.columns[0], metric.columns[1:]
    targets = any(outcome[f"target_{name}"] is not None for outcome in status["rounds"])
    measures = ("proxy", "target", *beside) if targets else metric.columns
    for column in ("round", "labels", *measures, "items scored", f"money ({status['currency']})", "device-hours"):
        table.add_column(column, justify="right")
    for outcome in status["rounds"]:
        table.add_row(
            f"{outcome['round']:03d}{', then anew' if outcome['restarted'] else ''}",
            _labels(outcome["labels"], outcome["bought"]),
            f"{outcome[name]:.4f}",
            *([_number(outcome[f"target_{name}"], 4)] if targets else []),
            *(number(outcome[other]) for other in beside),
            str(outcome["items_scored"]),
            f"{outcome['money']:.2f}",
            f"{outcome['device_hours']:.4f}",
        )
    return table


def _labels(labels: int, bought: int) -> str:
    """Those that the model was trained on, and where they differ, because the loop began anew, those paid for."""
    return str(labels) if labels == bought else f"{labels} ({bought} bought)"


def comparison_table(name: str, rows: Sequence["Row"], currency: str, metric: Headline = ACCURACY) -> Table:
    """The arms at the end of their loops: means over seeds, with 95 % intervals of their headline metric."""
    seeds = f"{rows[0].n} seeds" if rows[0].n > 1 else "1 seed"
    table = Table(title=f"{name}: {seeds}, mean ± half of its 95 % interval", pad_edge=False)
    # An arm's name may be broken on a narrow terminal, numbers not.
    table.add_column("arm", overflow="fold")
    for column in (
        "labels",
        metric.name,
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


def show_comparison(name: str, rows: Sequence["Row"], currency: str, metric: Headline) -> None:
    """Print the table of arms."""
    Console(highlight=False, markup=False).print(comparison_table(name, rows, currency, metric))


def _bill_line(status: dict[str, Any]) -> str:
    """The bill by its lines, and what of it went into false starts."""
    lines = ", ".join(f"{name} {money:.2f}" for name, money in status["bill"].items())
    wasted = f"; {status['wasted']:.2f} of it before the loop began anew" if status["wasted"] else ""
    return f"bill ({status['currency']}): {lines}{wasted}"


def _annotators(status: dict[str, Any]) -> str:
    """How far those who label agree, and how often they err on items whose label was known."""
    if not (found := status.get("annotators")):
        return ""
    parts = []
    if found["agreement"] is not None:
        parts.append(f"{found['agreement']:.1%} of pairs of answers agree")
    if found["alpha"] is not None:
        parts.append(f"Krippendorff's alpha {found['alpha']:.3f}")
    share = headline.among(status).share
    told = percent if share else number
    checked = [f"{name} {told(one['error'])} of {one['items']}" for name, one in found["checked"].items() if name]
    if checked:
        parts.append(f"{'errors' if share else 'RMSE'} on known items: {', '.join(checked)}")
    if status.get("suspended"):
        parts.append(f"{status['suspended']} items were skipped and are set aside")
    return f"annotators: {'; '.join(parts)}" if parts else ""


def show_status(status: dict[str, Any]) -> None:
    """Print the table of rounds, why the loop stands where it stands, and the next command to type."""
    out = Console(highlight=False, markup=False)
    if status["rounds"]:
        out.print(rounds_table(status))
    else:
        out.print(f"state: {status['state']}; no round is trained yet")
    if status.get("bill"):
        out.print(_bill_line(status), soft_wrap=True)
    if (decision := status.get("decision")) and decision["action"] != "continue":
        out.print(f"{decision['action']}: {decision['reason']}", soft_wrap=True)
    for warning in status.get("warnings", []):
        out.print(f"warning: {warning}", soft_wrap=True)
    if told := _annotators(status):
        out.print(told, soft_wrap=True)
    if status["waits_for"]:
        out.print(f"waits for {status['waits_for']}", soft_wrap=True)
    out.print(f"next: {status['next']}", soft_wrap=True)


def stops_table(found: "Replay") -> Table:
    """Where each policy would have stopped one curve, what it would have saved and what lost."""
    table = _policies_table(f"{found.recordings[0].name}: where each policy would have stopped", found.currency)
    metric = "accu-\nracy" if found.headline.share else found.headline.name
    for column in ("round", "labels", metric, "money"):
        table.add_column(column, justify="right", no_wrap=True)
    _add_savings(table)
    for row in found.rows:
        if row.round is not None:
            table.add_row(
                row.rule,
                f"{row.round:03d}",
                f"{row.labels}",
                f"{row.accuracy:.4f}",
                _number(row.money, 2),
                *_savings(row),
                _number(row.points_lost, 2),
                _number(row.regret, 2),
            )
    return table


def means_table(found: "Replay") -> Table:
    """What each policy would have saved and lost over several curves, on average."""
    table = _policies_table(f"{len(found.recordings)} curves: mean ± half of its 95 % interval", found.currency)
    for column in ("curves", "ended\nearlier"):
        table.add_column(column, justify="right", no_wrap=True)
    _add_savings(table)
    for mean in found.means:
        table.add_row(
            mean.rule,
            str(mean.n),
            str(mean.stopped) if mean.n else "",
            *_savings(mean),
            _spread(mean.points_lost, mean.points_lost_ci95),
            _spread(mean.regret, mean.regret_ci95),
        )
    return table


def _policies_table(title: str, currency: str) -> Table:
    caption = f"money in {currency}; saved: against running to the end"
    # Eighty columns are narrow for ten figures: no frame.
    table = Table(title=title, caption=caption, pad_edge=False, box=None, header_style="bold underline")
    table.add_column("policy", overflow="fold")
    return table


def _add_savings(table: Table) -> None:
    for column in ("saved\nlabels", "saved\ndev-h", "saved\nmoney", "points\nlost", "regret"):
        table.add_column(column, justify="right", no_wrap=True)


def _savings(row: "Stop | Mean") -> tuple[str, str, str]:
    return _number(row.saved_labels, 0), _number(row.saved_device_hours, 4), _number(row.saved_money, 2)


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:z.{digits}f}"


def _spread(mean: float | None, half: float | None) -> str:
    return _number(mean, 2) if half is None else f"{_number(mean, 2)}±{half:.2f}"


def sizes_lines(found: "Replay") -> list[str]:
    """Where other query sizes would have landed on one curve, a line each; ~ marks an interpolated value."""
    lines = []
    for policy in dict.fromkeys(size.query_size for size in found.sizes):
        mine = [size for size in found.sizes if size.query_size == policy]
        landed = ", ".join(f"{size.labels} ({_landed(size.accuracy, size.interpolated)})" for size in mine)
        epochs = mine[-1].record_epochs
        lines.append(f"{policy}: {landed}" + ("" if epochs is None else f"; {epochs} record-epochs"))
    return lines


def _landed(value: float | None, interpolated: bool) -> str:
    mark = "~" if interpolated else ""
    return "not recorded" if value is None else f"{mark}{value:.4f}"


def _not_held(row: "Stop") -> bool:
    """Whether a policy let the record run to its end."""
    from tasks.replay.regret import TO_THE_END
    from tasks.replay.results import BEST

    return not row.saved_labels and row.rule not in (TO_THE_END, BEST)


def show_replay(found: "Replay") -> None:
    """Print the table of one curve or of the means, what could not be replayed and why, and what it all rests on."""
    out = Console(highlight=False, markup=False)
    alone = len(found.recordings) == 1
    out.print(stops_table(found) if alone else means_table(found))
    told = [row for row in found.rows if row.round is None or (alone and _not_held(row))]
    reasons = dict.fromkeys(f"{row.rule}: {row.reason}" for row in told)
    for line in [*reasons, *(sizes_lines(found) if alone else []), *(f"note: {note}" for note in found.notes)]:
        out.print(line, soft_wrap=True)
