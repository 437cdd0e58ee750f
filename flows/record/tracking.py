"""Each finished round as an MLflow run, below one run for the whole loop.

Everything is written under explicit run ids through one client, so no thread or process depends on an "active run".
A round's run carries the time of its creation on all of its points: written again after a crash they are the same
points, so nothing is doubled. A tag, set last, says that the run is complete.

The loops of a comparison are recorded in one experiment, below one run for each arm; none of them makes a champion.

A server that is away is asked once: for ``_AWAY_S`` seconds the functions here then refuse at once, with its words.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from flows.masked import masked
from flows.record import Summary, notes, tracking_arm, tracking_curve, tracking_model, tracking_run, tracking_store
from flows.record import tracking_find as find
from flows.record.tracking_curve import KIND, LOOP
from flows.record.tracking_find import DONE, ROUND, UP_TO, Place
from tasks import config
from tasks.compare import folder as comparisons
from tasks.compare.folder import Comparison
from tasks.errors import RecordError
from tasks.loop_id import loop_id
from tasks.rounds import Workspace, decision, load_config, rounds

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

#: On the loop's run, set last: the round whose model was registered as `champion`.
_CHAMPION = "frugal.champion"
#: On the loop's run: the name of its workspace's folder.
_WORKSPACE = "frugal.workspace"
#: On the run of a round whose attempt was a false start; on the loop's run the last of these rounds.
_ABORTED = "frugal.aborted"
#: Description of a run, in Markdown, as MLflow's pages show it.
_NOTE = "mlflow.note.content"
#: Seconds for which a server that was away is not asked again.
_AWAY_S = 600.0

#: When a server was found away, and what was said, by its address.
_away: dict[str, tuple[float, str]] = {}

prepare = tracking_store.prepare
uri = tracking_store.uri


def recorded_rounds(workspace: Workspace) -> set[int]:
    """The rounds whose runs are complete.

    Raises:
        RecordError: MLflow is away.
    """
    if not tracking_store.exists(workspace):
        return set()
    with _refusals(workspace):
        client = connect(workspace)
        place = _place(client, workspace)
        return find.complete(client, place, find.loop_run(client, place))


def loops(workspace: Workspace, wanted: str) -> list[tracking_curve.LoopRun]:
    """The recorded loops that the id or the name of a run, of a loop or of an experiment stands for; empty if none.

    Raises:
        RecordError: MLflow is away.
    """
    if not tracking_store.exists(workspace):
        return []
    with _refusals(workspace):
        return tracking_curve.find(connect(workspace), wanted)


def record_round(
    workspace: Workspace,
    round_: int,
    summary: Summary,
    *,
    gallery: Path | None = None,
    flow_run_id: str | None = None,
) -> None:
    """Write a round's run, or complete it; ``gallery`` is a PNG of the items selected.

    Raises:
        RecordError: MLflow refuses or is away; the next call goes on from there.
    """
    prepare(workspace)
    with _refusals(workspace):
        client = connect(workspace)
        place = _place(client, workspace)
        loop = find.loop_run(client, place) or _create_loop(client, workspace, place.experiment)
        if "name" not in loop.data.params:
            tracking_run.log_params(client, loop.info.run_id, config.dump(load_config(workspace)))
        run = find.round_run(client, place, round_) or _create_round(client, place, loop, round_, summary)
        origin = tracking_run.origin(workspace, round_)
        if run.data.tags.get(DONE) != "true":
            tags = {**tracking_run.origin_tags(workspace, origin), _NOTE: notes.of_round(summary, origin)}
            tags |= {"prefect.flow_run_id": flow_run_id} if flow_run_id else {}
            tracking_run.write(client, workspace, round_, summary, loop, run, gallery, tags)
            client.set_terminated(run.info.run_id, "FINISHED")
            client.set_tag(run.info.run_id, DONE, "true")
        note = notes.of_loop(load_config(workspace), workspace.root.name, round_, summary, origin)
        tags = {_NOTE: note, **summary.tags, **_up_to(client, place, loop, round_)}
        tracking_run.set_tags(client, loop.info.run_id, tags)


def _up_to(client: "MlflowClient", place: Place, loop: "Run", round_: int) -> dict[str, str]:
    """The tag that says how far the record is complete, once it is as far as ``round_``."""
    known = loop.data.tags.get(UP_TO)
    if round_ == 0 or (known is not None and int(known) >= round_ - 1):
        return {UP_TO: f"{max(round_, int(known or 0)):03d}"}
    last = find.unbroken(find.complete(client, place, None) | {round_}) if known is None else None
    return {} if last is None else {UP_TO: f"{last:03d}"}


def mark_aborted(workspace: Workspace, numbers: Sequence[int]) -> None:
    """Tag the runs of rounds after which the loop began anew, all from 000 on; they stay where they are.

    Raises:
        RecordError: MLflow refuses or is away.
    """
    if not numbers:
        return
    with _refusals(workspace):
        client = connect(workspace)
        place, last = _place(client, workspace), f"{max(numbers):03d}"
        loop = find.loop_run(client, place)
        if loop is None or (known := loop.data.tags.get(_ABORTED)) == last:
            return
        for number in numbers[0 if known is None else numbers.index(int(known)) + 1 :]:
            run = find.round_run(client, place, number)
            if run is not None and run.data.tags.get(_ABORTED) != "true":
                tags = {"mlflow.runName": f"{run.info.run_name} (aborted)", _ABORTED: "true"}
                tracking_run.set_tags(client, run.info.run_id, tags)
        client.set_tag(loop.info.run_id, _ABORTED, last)


def is_finished(workspace: Workspace) -> bool:
    """Whether the loop's run has ended and the model of its last round so far is registered; asks by one search.

    Raises:
        RecordError: MLflow is away.
    """
    numbers = rounds(workspace)
    if not numbers or not tracking_store.exists(workspace):
        return False
    with _refusals(workspace):
        client = connect(workspace)
        experiment = client.get_experiment_by_name(_experiment_name(workspace))
        if experiment is None:
            return False
        loop = find.loop_run(client, Place(str(experiment.experiment_id), loop_id(workspace)))
        return loop is not None and _has_ended(workspace, loop, numbers[-1])


def finish(workspace: Workspace, report: Callable[[], Iterable[Path]] = tuple) -> None:
    """End the loop's run, register the last round's model as `champion`, and keep the report's files with the run.

    A second call changes nothing. A loop of a comparison only ends: which of so many models is the champion, it cannot
    say, and nobody asks for a report of each.

    Raises:
        RecordError: MLflow refuses or is away, or the last round is not recorded yet.
    """
    with _refusals(workspace):
        client = connect(workspace)
        place, last = _place(client, workspace), rounds(workspace)[-1]
        loop, run = find.loop_run(client, place), find.round_run(client, place, last)
        if loop is None or run is None:
            raise RecordError(f"{workspace.root}: round {last:03d} is not in MLflow yet; run the same command again")
        if _has_ended(workspace, loop, last):
            return
        tags = {}
        if _registers(workspace):
            told = tracking_model.register(client, workspace, last, run, {LOOP: loop_id(workspace)})
            before = loop.data.tags.get(_NOTE, "").removesuffix(told).rstrip()
            tags = {_NOTE: f"{before}\n\n{told}".lstrip(), _CHAMPION: f"{last:03d}"}
        if comparisons.comparison_of(workspace) is None:
            for path in report():
                tracking_run.log_file(client, loop.info.run_id, path, "report")
        if loop.info.status != "FINISHED":
            client.set_terminated(loop.info.run_id, "FINISHED")
        if tags:
            tracking_run.set_tags(client, loop.info.run_id, tags)


def _has_ended(workspace: Workspace, loop: "Run", last: int) -> bool:
    registered = loop.data.tags.get(_CHAMPION) == f"{last:03d}" or not _registers(workspace)
    return loop.info.status == "FINISHED" and registered


def _registers(workspace: Workspace) -> bool:
    """Whether the last model is worth a name: not one of a comparison's many, nor one that has learnt nothing."""
    made = decision(workspace, rounds(workspace)[-1])
    return comparisons.comparison_of(workspace) is None and (made is None or made["policy"] != "false_start")


def are_arms_recorded(comparison: Comparison, content: str) -> bool:
    """Whether every arm's run holds the results with the digest ``content``.

    Raises:
        RecordError: MLflow is away.
    """
    place = comparison.place
    if not tracking_store.exists(place):
        return False
    with _refusals(place):
        client = connect(place)
        family = tracking_arm.Family(_experiment(client, place), loop_id(place))
        return all(tracking_arm.is_recorded(client, family, arm, content) for arm in comparison.arms)


def record_arm(comparison: Comparison, arm: str, results: tracking_arm.ArmResults) -> None:
    """Write an arm's run, above those of its loops, or complete it; the run of earlier results makes way for it.

    Raises:
        RecordError: MLflow refuses or is away; the next call goes on from there.
    """
    place = comparison.place
    prepare(place)
    with _refusals(place):
        client = connect(place)
        tracking_arm.write(client, tracking_arm.Family(_experiment(client, place), loop_id(place)), arm, results)


@contextmanager
def _refusals(workspace: Workspace) -> Iterator[None]:
    tracking_store.quiet()
    when, reason = _away.get(uri(workspace), (-math.inf, ""))
    if time.monotonic() - when < _AWAY_S:
        raise _refused(workspace, reason)
    from mlflow.exceptions import MlflowException, RestException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        tracking_store.reach(uri(workspace))
        yield
    except (MlflowException, SQLAlchemyError, OSError, ImportError) as error:
        reason = masked(str(error).strip().splitlines()[0]) if str(error).strip() else type(error).__name__
        if tracking_store.is_server(uri(workspace)) and not isinstance(error, RestException):
            _away[uri(workspace)] = time.monotonic(), reason
        raise _refused(workspace, reason) from error


def _refused(workspace: Workspace, reason: str) -> RecordError:
    return RecordError(
        f"{workspace.root}: MLflow refused the record: {reason}; the rounds are unharmed, and the next run catches up"
    )


def connect(workspace: Workspace) -> "MlflowClient":
    """The client by which the workspace's record is read and written."""
    tracking_store.quiet()
    return _client(uri(workspace))


@lru_cache(maxsize=4)
def _client(tracking_uri: str) -> "MlflowClient":
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


def _place(client: "MlflowClient", workspace: Workspace) -> Place:
    return Place(_experiment(client, workspace), loop_id(workspace))


def _experiment(client: "MlflowClient", workspace: Workspace) -> str:
    from mlflow.exceptions import MlflowException

    name = _experiment_name(workspace)
    if (found := client.get_experiment_by_name(name)) is not None:
        _check_not_moved(workspace, str(found.artifact_location))
        return str(found.experiment_id)
    try:
        # The pages show learning curves at once, and not the views for language models.
        tags = {"mlflow.experimentKind": "custom_model_development", _NOTE: notes.EXPERIMENT}
        return client.create_experiment(name, artifact_location=tracking_store.artifacts(workspace), tags=tags)
    except MlflowException:
        # Another loop on the same server was quicker.
        if (found := client.get_experiment_by_name(name)) is None:
            raise
        return str(found.experiment_id)


def _experiment_name(workspace: Workspace) -> str:
    folder = comparisons.comparison_of(workspace)
    return load_config(workspace).name if folder is None else comparisons.name_of(folder)


def _check_not_moved(workspace: Workspace, location: str) -> None:
    """Refuse to write into another folder than this workspace's, whose path the database holds.

    Raises:
        RecordError: the workspace was copied or moved with its database.
    """
    here = tracking_store.artifacts(workspace)
    if here is not None and location != here:
        raise RecordError(
            f"{tracking_store.home(workspace)}: mlflow.db belongs to another folder ({location}); delete it here, and "
            "the next run makes the record anew from the rounds"
        )


def _create_loop(client: "MlflowClient", workspace: Workspace, experiment: str) -> "Run":
    tags = {LOOP: loop_id(workspace), KIND: "loop", _WORKSPACE: workspace.root.name}
    if (folder := comparisons.comparison_of(workspace)) is not None:
        family = tracking_arm.Family(experiment, loop_id(Workspace(folder)))
        tags["mlflow.parentRunId"] = tracking_arm.parent(client, family, comparisons.arm_of(workspace))
    return client.create_run(experiment, tags=tags, run_name=notes.loop_name(load_config(workspace)))


def _create_round(client: "MlflowClient", place: Place, loop: "Run", round_: int, summary: Summary) -> "Run":
    tags = {"mlflow.parentRunId": loop.info.run_id, LOOP: place.loop, KIND: "round", ROUND: f"{round_:03d}"}
    return client.create_run(place.experiment, tags=tags, run_name=notes.round_name(round_, summary))
