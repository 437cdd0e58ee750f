"""Enter every finished round in DVC, git, DVC's remote and MLflow, in that order; what is missing is made up for."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from flows.console import screen
from flows.record import Summary, git, remote, subject, tracking, versions
from tasks import files, loop
from tasks.config import Config
from tasks.datasets.gallery import gallery
from tasks.errors import FrugalError, RecordError
from tasks.history import Outcome, aborted, history
from tasks.label import quality
from tasks.loop_id import loop_id
from tasks.report import run as report
from tasks.rounds import Workspace, decision
from tasks.task_type import headline

#: What MLflow draws over the labels bought, besides the sums of a Summary; accuracy by its own name.
_METRICS = (
    "accuracy",
    "target_accuracy",
    "validation_accuracy",
    "nll",
    "ece",
    "rmse",
    "mae",
    "money_labels",
    "money_compute",
    "record_epochs",
    "items_scored",
    "wall_hours",
    "selection_seconds",
    "attempt",
)
#: The warning that was printed last and still holds, by the place that is away.
_told: dict[str, str] = {}


def pending(workspace: Workspace, config: Config) -> bool:
    """Whether something of the finished rounds is missing in DVC, git or MLflow; if MLflow is away, say so."""
    finished = loop.finished_rounds(workspace)
    if config.record.dvc and _missing(finished, lambda number: versions.is_recorded(workspace, number)):
        return True
    if config.record.git == "commit" and _missing(finished, lambda number: git.is_committed(workspace, number)):
        return True
    if config.record.push and remote.missing(workspace, finished):
        return True
    return config.record.mlflow and _missing_in_mlflow(workspace, finished)


def _missing_in_mlflow(workspace: Workspace, finished: list[int]) -> bool:
    try:
        if len(tracking.recorded_rounds(workspace)) < len(finished):
            return True
        return loop.next_step(workspace) is None and not tracking.is_finished(workspace)
    except RecordError as away:
        _warn("mlflow", away)
        return False


def one_line(workspace: Workspace, config: Config, round_: int) -> str:
    """One line on a trained round: its labels, accuracy (or R²) and money so far."""
    (outcome,) = [outcome for outcome in history(workspace) if outcome.round == round_]
    return subject(round_, _summary(workspace, config, outcome))


def catch_up(workspace: Workspace, config: Config, flow_run_id: str | None = None) -> None:
    """Record what is finished and not yet recorded; what is away is told and left to the next call.

    Raises:
        RecordError: DVC or git refuses; the rounds' files are unharmed.
    """
    # A process may have died after it wrote a plan or a decision, and before dvc.yaml could know of it.
    loop.sync(workspace)
    finished = loop.finished_rounds(workspace)
    if not finished:
        return
    outcomes = {outcome.round: outcome for outcome in history(workspace)}
    if config.record.mlflow:
        loop_id(workspace)
    for number in _unrecorded(workspace, config, finished):
        if config.record.dvc:
            versions.commit(workspace, number)
        if config.record.git == "commit":
            git.commit_round(workspace, number, subject(number, _summary(workspace, config, outcomes[number])))
    if config.record.push:
        _attempt("push", lambda: remote.push(workspace, remote.missing(workspace, finished)))
    if config.record.mlflow:
        _attempt("mlflow", lambda: _track(workspace, config, finished, outcomes, flow_run_id))


def _attempt(place: str, record: Callable[[], None]) -> None:
    """Record somewhere that may be away; the files are the truth, and the next call catches up."""
    try:
        record()
        _told.pop(place, None)
    except RecordError as away:
        _warn(place, away)


def _warn(place: str, away: RecordError) -> None:
    """Say that a place is away: once, and again only if it says something else or has been there meanwhile."""
    if _told.get(place) != str(away):
        screen.print(f"warning: {away}", style="yellow", soft_wrap=True)
        _told[place] = str(away)


def _unrecorded(workspace: Workspace, config: Config, finished: list[int]) -> list[int]:
    missing: set[int] = set()
    if config.record.dvc:
        missing |= set(_missing(finished, lambda number: versions.is_recorded(workspace, number)))
    if config.record.git == "commit":
        missing |= set(_missing(finished, lambda number: git.is_committed(workspace, number)))
    return sorted(missing)


def _missing(finished: list[int], is_there: Callable[[int], bool]) -> list[int]:
    """The rounds after the last recorded one: rounds are recorded in order, so the search goes backwards and stops."""
    missing: list[int] = []
    for number in reversed(finished):
        if is_there(number):
            break
        missing.insert(0, number)
    return missing


def _track(
    workspace: Workspace, config: Config, finished: list[int], outcomes: dict[int, Outcome], flow_run_id: str | None
) -> None:
    recorded = tracking.recorded_rounds(workspace)
    for number in finished:
        if number not in recorded:
            summary = _summary(workspace, config, outcomes[number])
            with TemporaryDirectory() as folder:
                picture = _gallery(workspace, number, Path(folder))
                tracking.record_round(workspace, number, summary, gallery=picture, flow_run_id=flow_run_id)
    tracking.mark_aborted(workspace, aborted(list(outcomes.values())))
    if loop.next_step(workspace) is None:
        with TemporaryDirectory() as folder:
            tracking.finish(workspace, lambda: _report(workspace, Path(folder)))


def _report(workspace: Workspace, folder: Path) -> list[Path]:
    """The report's files; a loop ends without them rather than not at all."""
    try:
        return report.write(workspace, folder)
    except (FrugalError, OSError) as error:
        screen.print(f"warning: no report: {error}", style="yellow", soft_wrap=True)
        return []


def _gallery(workspace: Workspace, round_: int, folder: Path) -> Path | None:
    png = gallery(workspace, round_)
    if png is None:
        return None
    files.write_bytes(folder / "selected.png", png)
    return folder / "selected.png"


def _summary(workspace: Workspace, config: Config, outcome: Outcome) -> Summary:
    folder = workspace.round_dir(outcome.round)
    return Summary(
        labels=outcome.bought,
        money=outcome.money,
        currency=config.prices.currency,
        device_hours=outcome.device_hours,
        metrics=headline.of(config.task).shown(_metrics(workspace, outcome)),
        params=files.read_json(folder / "plan.json"),
        history=_history(workspace, outcome.round),
        tags=_tags(workspace, outcome),
    )


def _of_people(workspace: Workspace, round_: int) -> dict[str, float | None]:
    """How far the round's annotators agree, and how far they are off on items whose label is known."""
    found = quality.of_rounds(workspace, [round_])
    checked = found.checked.get("")
    error = checked.error if checked else None
    return {"label/agreement": found.agreement, "label/alpha": found.alpha, "label/annotator_error": error}


def _metrics(workspace: Workspace, outcome: Outcome) -> dict[str, float]:
    """What was measured, and the bill by its lines."""
    values = {name: getattr(outcome, name) for name in _METRICS} | {"attempt_labels": outcome.labels}
    values |= {f"policy/{name}": value for name, value in asdict(outcome.measured).items()}
    values |= {f"bill/{name}": value for name, value in asdict(outcome.bill).items()}
    values |= _of_people(workspace, outcome.round)
    if (target := outcome.target) is not None:
        values |= {"target_nll": target.nll, "target_rmse": target.rmse}
        values |= {f"agreement/{name}": value for name, value in asdict(target.proxy).items()}
        values |= {f"ceiling/{name}": value for name, value in asdict(target.ceiling).items()}
    return {name: value for name, value in values.items() if value is not None}


def _tags(workspace: Workspace, outcome: Outcome) -> dict[str, str]:
    made = decision(workspace, outcome.round)
    return {"frugal.attempt": str(outcome.attempt)} | (
        {"frugal.decision": made["action"], "frugal.policy": made["policy"], "frugal.reason": made["reason"]}
        if made
        else {}
    )


def _history(workspace: Workspace, round_: int) -> list[dict[str, float]]:
    epochs: list[dict[str, float]] = files.read_json(workspace.round_dir(round_) / "history.json")
    return epochs
