"""Each finished round as an MLflow run, below one run for the whole loop.

Everything is written under explicit run ids through one client, so no thread or process depends on an "active run".
A round's run carries the time of its creation on all of its points: written again after a crash they are the same
points, so nothing is doubled. A tag, set last, says that the run is complete.

The loops of a comparison are recorded in one experiment, below one run for each arm; none of them makes a champion.

A server that is away is asked once: for ``_AWAY_S`` seconds the functions here then refuse at once, with its words.
"""

import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from flows.record import Summary, tracking_arm, tracking_curve, tracking_run, tracking_store
from flows.record.tracking_curve import KIND, LOOP
from tasks import config, files
from tasks.compare import folder as comparisons
from tasks.compare.folder import Comparison
from tasks.errors import RecordError
from tasks.rounds import Workspace, decision, load_config, rounds, trains_target

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_MODEL = ("model.safetensors", "model.json")
_ROUND, _DONE = "frugal.round", "frugal.recorded"
#: On the loop's run, set last: the round whose model was registered as `champion`.
_CHAMPION = "frugal.champion"
#: On the run of a round whose attempt was a false start.
_ABORTED = "frugal.aborted"
#: Seconds for which a server that was away is not asked again.
_AWAY_S = 600.0

#: When a server was found away, and what was said, by its address.
_away: dict[str, tuple[float, str]] = {}

prepare = tracking_store.prepare
uri = tracking_store.uri


@dataclass
class _Runs:
    """What MLflow holds of a loop."""

    experiment: str
    loop: "Run | None"
    rounds: dict[int, "Run"]


def loop_id(workspace: Workspace) -> str:
    """The loop's own name in MLflow, made up once and kept by git."""
    path = workspace.root / "data" / "loop_id"
    if not path.exists():
        files.write_bytes(path, f"{uuid4()}\n".encode())
    return path.read_text(encoding="utf-8").strip()


def recorded_rounds(workspace: Workspace) -> set[int]:
    """The rounds whose runs are complete.

    Raises:
        RecordError: MLflow is away.
    """
    if not tracking_store.exists(workspace):
        return set()
    with _refusals(workspace):
        return {number for number, run in _find(workspace).rounds.items() if run.data.tags.get(_DONE) == "true"}


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
        found = _find(workspace)
        loop = found.loop or _create_loop(client, workspace, found.experiment)
        if "name" not in loop.data.params:
            tracking_run.log_params(client, loop.info.run_id, config.dump(load_config(workspace)))
        run = found.rounds.get(round_) or _create_round(client, workspace, found.experiment, loop.info.run_id, round_)
        if run.data.tags.get(_DONE) != "true":
            origin = {"prefect.flow_run_id": flow_run_id} if flow_run_id else {}
            tracking_run.write(client, workspace, round_, summary, loop, run, gallery, origin)
            client.set_terminated(run.info.run_id, "FINISHED")
            client.set_tag(run.info.run_id, _DONE, "true")


def mark_aborted(workspace: Workspace, numbers: Sequence[int]) -> None:
    """Tag the runs of rounds after which the loop began anew; they stay where they are.

    Raises:
        RecordError: MLflow refuses or is away.
    """
    if not numbers:
        return
    with _refusals(workspace):
        client = connect(workspace)
        for number, run in _find(workspace).rounds.items():
            if number in numbers and run.data.tags.get(_ABORTED) != "true":
                client.set_tag(run.info.run_id, "mlflow.runName", f"round {number:03d} (aborted)")
                client.set_tag(run.info.run_id, _ABORTED, "true")


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
        wanted = f"tags.`{LOOP}` = '{loop_id(workspace)}' and tags.`{KIND}` = 'loop'"
        runs = client.search_runs([experiment.experiment_id], wanted, max_results=1)
        return any(_has_ended(workspace, run, numbers[-1]) for run in runs)


def finish(workspace: Workspace, report: Callable[[], Iterable[Path]] = tuple) -> None:
    """End the loop's run, register the last round's model as `champion`, and keep the report's files with the run.

    A second call changes nothing. A loop of a comparison only ends: which of so many models is the champion, it cannot
    say, and nobody asks for a report of each.

    Raises:
        RecordError: MLflow refuses or is away, or the last round is not recorded yet.
    """
    with _refusals(workspace):
        client = connect(workspace)
        found = _find(workspace)
        last = rounds(workspace)[-1]
        if found.loop is None or last not in found.rounds:
            raise RecordError(f"{workspace.root}: round {last:03d} is not in MLflow yet; run the same command again")
        if _has_ended(workspace, found.loop, last):
            return
        registers = _registers(workspace)
        if registers:
            _register(client, workspace, last, found.rounds[last].info.run_id)
        if comparisons.comparison_of(workspace) is None:
            for path in report():
                tracking_run.log_file(client, found.loop.info.run_id, path, "report")
        if found.loop.info.status != "FINISHED":
            client.set_terminated(found.loop.info.run_id, "FINISHED")
        if registers:
            client.set_tag(found.loop.info.run_id, _CHAMPION, f"{last:03d}")


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
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        # An address may hold a password.
        reason = re.sub(r"://[^/@\s]+@", "://***@", reason)
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


def _find(workspace: Workspace) -> _Runs:
    client = connect(workspace)
    found = _Runs(_experiment(client, workspace), None, {})
    token = None
    while True:
        page = client.search_runs([found.experiment], f"tags.`{LOOP}` = '{loop_id(workspace)}'", page_token=token)
        for run in page:
            if run.data.tags[KIND] == "loop":
                found.loop = run
            else:
                found.rounds[int(run.data.tags[_ROUND])] = run
        if not (token := page.token):
            return found


def _experiment(client: "MlflowClient", workspace: Workspace) -> str:
    from mlflow.exceptions import MlflowException

    name = _experiment_name(workspace)
    if (found := client.get_experiment_by_name(name)) is not None:
        _check_not_moved(workspace, str(found.artifact_location))
        return str(found.experiment_id)
    try:
        # The pages show learning curves at once, and not the views for language models.
        tags = {"mlflow.experimentKind": "custom_model_development"}
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
    settings = load_config(workspace)
    tags = {LOOP: loop_id(workspace), KIND: "loop"}
    how = "random" if settings.select.strategy == "random" else settings.infer.acquisition
    name = f"{settings.name} {how} seed {settings.seed}"
    if (folder := comparisons.comparison_of(workspace)) is not None:
        family = tracking_arm.Family(experiment, loop_id(Workspace(folder)))
        tags["mlflow.parentRunId"] = tracking_arm.parent(client, family, comparisons.arm_of(workspace))
    return client.create_run(experiment, tags=tags, run_name=name)


def _create_round(client: "MlflowClient", workspace: Workspace, experiment: str, loop: str, round_: int) -> "Run":
    tags = {
        "mlflow.parentRunId": loop,
        LOOP: loop_id(workspace),
        KIND: "round",
        _ROUND: f"{round_:03d}",
    }
    return client.create_run(experiment, tags=tags, run_name=f"round {round_:03d}")


def _register(client: "MlflowClient", workspace: Workspace, round_: int, run_id: str) -> None:
    from mlflow.exceptions import MlflowException

    folder = workspace.round_dir(round_)
    for name in _MODEL:
        # What a proxy selects for is what the loop is for.
        path = folder / "target" / name if trains_target(workspace, round_) else folder / name
        tracking_run.log_file(client, run_id, path, "model")
    name = load_config(workspace).name
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    known = [version for version in client.search_model_versions(f"run_id = '{run_id}'") if version.name == name]
    if not known:
        source = f"{client.get_run(run_id).info.artifact_uri}/model"
        known = [client.create_model_version(name, source, run_id, tags={LOOP: loop_id(workspace)})]
    client.set_registered_model_alias(name, "champion", known[0].version)
