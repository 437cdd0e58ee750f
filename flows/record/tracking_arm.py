"""One run for each arm of a comparison, above the runs of its loops: means over seeds with their intervals.

Points in MLflow cannot be taken back. So results over other seeds get a new run, to which the loops are moved, and the
run of the earlier results is deleted. A tag names the results that a run holds; another, set last, says that all is
written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.record import tracking_run
from flows.record.tracking_curve import KIND

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

_COMPARISON, _ARM = "frugal.comparison_id", "frugal.arm"
_CONTENT, _DONE, _PARENT = "frugal.content", "frugal.recorded", "mlflow.parentRunId"


@dataclass(frozen=True)
class Family:
    """Which comparison, in which experiment."""

    experiment: str
    comparison: str


@dataclass(frozen=True)
class ArmResults:
    """What an arm's run is to hold."""

    #: Digest of the results; a run with another one makes way.
    content: str
    #: What differs between the arms.
    params: Mapping[str, Any]
    #: The means at each round, by the labels bought.
    steps: Sequence[tuple[int, Mapping[str, float]]]
    artifacts: Sequence[Path]


def parent(client: "MlflowClient", family: Family, arm: str) -> str:
    """The id of an arm's newest run, made now if it has none."""
    known = _runs(client, family, arm)
    return str((known[0] if known else _create(client, family, arm)).info.run_id)


def is_recorded(client: "MlflowClient", family: Family, arm: str, content: str) -> bool:
    """Whether an arm's run with these results is complete."""
    tags = [run.data.tags for run in _runs(client, family, arm)]
    return any(held.get(_CONTENT) == content and held.get(_DONE) == "true" for held in tags)


def write(client: "MlflowClient", family: Family, arm: str, results: ArmResults) -> None:
    """Fill the run of an arm's results; written again, everything stays as it is."""
    known = _runs(client, family, arm)
    fitting = [run for run in known if run.data.tags.get(_CONTENT, results.content) == results.content]
    run = fitting[0] if fitting else _create(client, family, arm)
    run_id = run.info.run_id
    if run.data.tags.get(_DONE) == "true":
        return
    client.set_tag(run_id, _CONTENT, results.content)
    tracking_run.log_params(client, run_id, results.params)
    for labels, values in results.steps:
        client.log_batch(run_id, metrics=_points(values, int(run.info.start_time), labels))
    for path in results.artifacts:
        tracking_run.log_file(client, run_id, path)
    for other in known:
        if other.info.run_id != run_id:
            _replace(client, family, other, run_id)
    client.set_terminated(run_id, "FINISHED")
    client.set_tag(run_id, _DONE, "true")


def _runs(client: "MlflowClient", family: Family, arm: str) -> "list[Run]":
    """The runs of an arm, the newest first: one, or two while results make way for others."""
    wanted = f"tags.`{_COMPARISON}` = '{family.comparison}' and tags.`{_ARM}` = '{arm}'"
    return list(client.search_runs([family.experiment], wanted))


def _create(client: "MlflowClient", family: Family, arm: str) -> "Run":
    tags = {_COMPARISON: family.comparison, KIND: "arm", _ARM: arm}
    return client.create_run(family.experiment, tags=tags, run_name=arm)


def _points(values: Mapping[str, float], at: int, step: int) -> "list[Metric]":
    from mlflow.entities import Metric

    return [Metric(key, float(value), at, step) for key, value in values.items()]


def _replace(client: "MlflowClient", family: Family, run: "Run", by: str) -> None:
    """Move the loops below ``run`` to the run ``by``, then delete it."""
    while page := client.search_runs([family.experiment], f"tags.`{_PARENT}` = '{run.info.run_id}'"):
        for child in page:
            client.set_tag(child.info.run_id, _PARENT, by)
    client.delete_run(run.info.run_id)
