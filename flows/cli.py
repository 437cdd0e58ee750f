"""The command `frugal`. Heavy libraries are imported inside the commands that need them."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tasks.errors import FrugalError, WaitingForLabels

if TYPE_CHECKING:
    from tasks.rounds import Workspace


#: Commands that keep what they have done.
_RESUMING = ("run", "open", "close", "stage", "compare", "serve")


class _Commands(click.Group):
    """Turns the errors we raise on purpose into one line and an exit status."""

    def invoke(self, ctx: click.Context) -> Any:
        # Before torch is loaded: its waiting threads would otherwise spin, against the loop's own servers.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            return super().invoke(ctx)
        except FrugalError as error:
            click.echo(_one_line(error), err=True)
            for fault in getattr(error, "faults", ()):
                click.echo(f"  {' '.join(fault.split())}", err=True)
            sys.exit(error.exit_code)
        except click.UsageError as error:
            help_ = f"{error.ctx.command_path} --help" if error.ctx else "frugal --help"
            click.echo(f"error: {' '.join(error.format_message().split())} See `{help_}`.", err=True)
            sys.exit(error.exit_code)
        except OSError as error:
            # A folder that cannot be read or written, a name that is too long: the machine's words say it all.
            click.echo(f"error: {error.filename or 'the system'}: {error.strerror or error}", err=True)
            sys.exit(2 if error.filename else 1)
        except KeyboardInterrupt:
            resumed = "; the same command goes on where it stopped" if ctx.invoked_subcommand in _RESUMING else ""
            click.echo(f"interrupted{resumed}", err=True)
            sys.exit(130)


def _one_line(error: FrugalError) -> str:
    kind = "waiting" if isinstance(error, WaitingForLabels) else "error"
    return f"{kind}: {' '.join(str(error).split())}"


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="frugal-loop")
def main() -> None:
    """Active learning that pays for itself: rounds of SELECT, LABEL, TRAIN, INFER, each with its bill.

    Exit status: 0 done, 1 failed, 2 your mistake (one line says how to mend it), 3 waiting for labels.
    """


_workspace = click.option(
    "--workspace", "-w", "root", type=click.Path(path_type=Path), default=Path(), help="The workspace (default: here)."
)


@contextmanager
def _hold(root: Path) -> Iterator[Workspace]:
    from tasks.rounds import find_workspace, held

    workspace = find_workspace(root)
    with held(workspace):
        yield workspace


@main.command()
@click.argument("arguments", nargs=-1, metavar="[CONF] [KEY=VALUE]...")
@_workspace
def run(arguments: tuple[str, ...], root: Path) -> None:
    """Run the whole loop with an oracle or with answers that are there; go on where it stopped.

    Without CONF the workspace's loop is continued; a new one takes conf/digits.yaml.

    \b
    Example: frugal run conf/digits.yaml loop.rounds=3 train.lr=0.001
    """
    from flows import drive

    with _hold(root) as workspace:
        drive.drive(workspace, "run_loop", *_split(arguments))
    _show(root)


@main.command("open")
@click.argument("arguments", nargs=-1, metavar="[CONF] [KEY=VALUE]...")
@_workspace
def open_(arguments: tuple[str, ...], root: Path) -> None:
    """Open a round: plan it, SELECT, and write the tasks for those who label.

    \b
    Example: frugal open conf/mine.yaml
    """
    from flows import drive

    with _hold(root) as workspace:
        drive.drive(workspace, "open_round", *_split(arguments))
    _show(root)


@main.command()
@click.option("--answers", type=click.Path(path_type=Path), help="A CSV or JSONL file of answers to take in.")
@_workspace
def close(answers: Path | None, root: Path) -> None:
    """Close the open round: take in the answers, TRAIN, decide, and INFER if the loop goes on.

    \b
    Example: frugal close --answers labels.csv
    """
    from flows import drive

    with _hold(root) as workspace:
        drive.close(workspace, answers)
    _show(root)


@main.group()
def answers() -> None:
    """Check and keep files of answers while a round is open.

    \b
    Example: frugal answers add monday.csv
    """


@answers.command("check")
@click.argument("file", type=click.Path(path_type=Path))
@_workspace
def check_answers(file: Path, root: Path) -> None:
    """Say whether a file of answers fits the open round; list every fault with its row. Writes nothing.

    \b
    Example: frugal answers check labels.csv
    """
    from flows import drive
    from tasks.rounds import find_workspace

    given = drive.check_answers(find_workspace(root), file)
    skipped = sum(answer.skipped for answer in given)
    click.echo(f"{file}: fits; {len(given)} answers, {skipped} of them skipped; keep them with `frugal answers add`")


@answers.command("add")
@click.argument("file", type=click.Path(path_type=Path))
@_workspace
def add_answers(file: Path, root: Path) -> None:
    """Keep the answers of a file, which need not answer everything; the round stays open.

    The same file again changes nothing.

    \b
    Example: frugal answers add monday.csv
    """
    from flows import drive

    with _hold(root) as workspace:
        taken = drive.take_in(workspace, file)
    click.echo(f"{file}: {taken.new} new, {taken.revised} revised, {taken.same} known already")
    _show(root)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
@_workspace
def status(as_json: bool, root: Path) -> None:
    """Say where the loop stands: round, labels, accuracy (or R²), money, and what it waits for.

    \b
    Example: frugal status --json
    """
    _show(root, as_json)


@main.command()
@click.argument("arguments", nargs=-1, required=True, metavar="CONF... [KEY=VALUE]...")
@click.option("--seeds", type=click.IntRange(1, 1000), default=3, show_default=True, help="How many, from seed on.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="The comparison's folder (default: comparisons/ARM-vs-ARM...)."
)
@_workspace
def compare(arguments: tuple[str, ...], seeds: int, out: Path | None, root: Path) -> None:
    """Run several configurations and a random one on the same budget and seeds, and set them side by side.

    Writes accuracy (or R²) with its 95 % interval, items scored, device-seconds and money of each arm and round as CSV
    and as curves. The same command again goes on where it stopped; more seeds add to those that are there.

    \b
    Example: frugal compare conf/entropy.yaml conf/margin.yaml --seeds 5 loop.rounds=10
    """
    from flows import drive
    from flows.console import show_comparison
    from tasks.rounds import find_workspace

    confs = tuple(argument for argument in arguments if "=" not in argument)
    overrides = tuple(argument for argument in arguments if "=" in argument)
    if not confs:
        raise click.UsageError("name at least one configuration file to compare with a random arm.")
    comparison, found = drive.compare(find_workspace(root), confs, overrides, seeds, out)
    show_comparison(comparison.name, found.finals, comparison.first.prices.currency, comparison.headline)
    for path in found.paths:
        click.echo(path)


@main.command()
@click.argument("name", metavar="NAME")
@click.option("--round", "round_", type=click.IntRange(min=0), help="The round's number.")
@_workspace
def stage(name: str, round_: int | None, root: Path) -> None:
    """Run one stage of one round (pool, select, label, train, target, infer), as dvc.yaml does.

    \b
    Example: frugal stage train --round 002
    """
    from flows import drive

    with _hold(root) as workspace:
        click.echo(drive.single_stage(workspace, name, round_))


@main.command()
@click.argument("directory", type=click.Path(path_type=Path))
def init(directory: Path) -> None:
    """Make a new workspace: conf/, data/, dvc.yaml, with its own git and DVC.

    \b
    Example: frugal init my-loop
    """
    from flows.init import init as make

    make(directory)
    click.echo(f"{directory}: workspace ready; next: cd {shlex.quote(str(directory))} && frugal run")


@main.command()
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Of the MLflow pages.")
@click.option(
    "--prefect-port", type=click.IntRange(1, 65535), default=4200, show_default=True, help="Of Prefect's pages."
)
@_workspace
def ui(port: int, prefect_port: int, root: Path) -> None:
    """Serve the MLflow and Prefect web pages on this machine until interrupted.

    \b
    Example: frugal ui --port 5001
    """
    from flows.ui import serve
    from tasks.rounds import find_workspace

    serve(find_workspace(root), port, prefect_port)


@main.command("serve")
@click.argument("arguments", nargs=-1, metavar="[CONF] [KEY=VALUE]...")
@click.option("--open", "open_", metavar="CRON", help="When to open a round, as '0 8 * * 1-5'.")
@click.option("--close", metavar="CRON", help="When to look whether a round can be closed.")
@click.option(
    "--every",
    type=click.FloatRange(min=0, min_open=True),
    default=5.0,
    show_default=True,
    metavar="MINUTES",
    help="How often to do either, where no CRON says when.",
)
@click.option("--timezone", default="UTC", show_default=True, help="In which a CRON is meant.")
@click.option("--name", help="Of the two deployments on the Prefect server (default: the workspace's folder).")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=4200, show_default=True, help="Of Prefect's pages; 0: a free one."
)
@click.option(
    "--webhook",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Close as soon as the labelling server tells of enough answers, by this port; 0: a free one.",
)
@_workspace
def serve_(
    arguments: tuple[str, ...],
    open_: str | None,
    close: str | None,
    every: float,
    timezone: str,
    name: str | None,
    port: int,
    webhook: int | None,
    root: Path,
) -> None:
    """Open and close rounds on a schedule, on this machine, until interrupted.

    With a Prefect server of its own, or the one that PREFECT_API_URL names. A start that finds nothing to do ends at
    once; a round that waits for labels holds no process.

    \b
    Example: frugal serve conf/mine.yaml --open "0 8 * * 1-5" --timezone Europe/Berlin
    """
    from flows.serve import Times, serve
    from tasks.rounds import find_workspace

    serve(find_workspace(root), *_split(arguments), name, Times(open_, close, every, timezone), port, webhook)


@main.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--conf", help="A configuration whose policies are replayed (default: each loop's own).")
@click.option(
    "--value-per-point",
    type=click.FloatRange(min=0, min_open=True),
    help="What a percentage point of accuracy (0.01 of R²) is worth, in the currency of the prices.",
)
@click.option("--out", type=click.Path(path_type=Path), help="The folder for tables and picture (default: replay/).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
@_workspace
def replay(
    runs: tuple[str, ...],
    conf: str | None,
    value_per_point: float | None,
    out: Path | None,
    as_json: bool,
    root: Path,
) -> None:
    """Say where each stopping policy would have ended recorded loops, what it would have saved, and what lost.

    RUN is a workspace, a comparison's folder, a CSV file of curves, or the name or id of a loop in MLflow; without one
    it is this workspace's loop.

    \b
    Example: frugal replay comparisons/entropy-vs-random --value-per-point 20
    """
    from flows.console import show_replay
    from flows.replay import replay as replay_runs

    found, paths = replay_runs(root, runs, conf, value_per_point, out)
    if as_json:
        import json

        click.echo(json.dumps({**found.plain(), "files": [str(path) for path in paths]}, indent=2))
        return
    show_replay(found)
    for path in paths:
        click.echo(path)


@main.command()
@click.argument("arguments", nargs=-1, metavar="[CONF] [KEY=VALUE]...")
@click.option("--compare", is_flag=True, help="Loop sizes, retrain modes and scopes side by side.")
@click.option(
    "--figures", type=click.Path(path_type=Path), metavar="DIR", help="Write the four figures on compute to DIR."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
@_workspace
def plan(arguments: tuple[str, ...], compare: bool, figures: Path | None, as_json: bool, root: Path) -> None:
    """Say what a loop will use and cost before it is begun: labels, record-epochs, items, passes, hours, money.

    Trains nothing but for a few timed steps, whose rates are kept in data/calibration.json. Without CONF it is the
    workspace's loop, or conf/digits.yaml.

    \b
    Example: frugal plan conf/mnist.yaml --compare loop.query_size=200
    """
    from flows import plan as planning
    from tasks.rounds import find_workspace

    planned, others = planning.forecast(find_workspace(root), *_split(arguments), compare)
    paths = planning.pictures(figures) if figures is not None else []
    if as_json:
        import json

        plain = {"plan": planned.plain(), "alternatives": [other.plain() for other in others]}
        click.echo(json.dumps({**plain, "files": [str(path) for path in paths]}, indent=2))
        return
    from flows.console_plan import show

    show(planned, others)
    for path in paths:
        click.echo(path)


@main.command()
@click.option("--out", type=click.Path(path_type=Path), help="The folder to write into (default: report/).")
@_workspace
def report(out: Path | None, root: Path) -> None:
    """Write one web page on the loop, and its figures: gain for cost, bill, forecasts, decisions, selected items.

    The page, report.html, needs nothing beside it and no network.

    \b
    Example: frugal report --out /tmp/report
    """
    from tasks.report.run import write
    from tasks.rounds import find_workspace

    workspace = find_workspace(root)
    for path in write(workspace, out or workspace.root / "report"):
        click.echo(path)


def _split(arguments: tuple[str, ...]) -> tuple[str | None, tuple[str, ...]]:
    """A leading CONF, if there is one, and the overrides."""
    if arguments and "=" not in arguments[0]:
        return arguments[0], arguments[1:]
    return None, arguments


def _show(root: Path, as_json: bool = False) -> None:
    from tasks.rounds import find_workspace
    from tasks.status import status as read_status

    now = read_status(find_workspace(root))
    if as_json:
        import json

        click.echo(json.dumps(now, indent=2))
        return
    from flows.console import show_status

    show_status(now)
