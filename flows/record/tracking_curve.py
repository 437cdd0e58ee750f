"""Learning curves read back out of MLflow: the runs of loops, whose metrics are drawn over labels."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

#: Tags of all runs of a loop: the loop's own name, and what the run is of.
LOOP, KIND = "frugal.loop_id", "frugal.kind"
#: What everybody looks at is drawn once more under this name: the pages sort panels by names, and these come first.
GLANCE = "at a glance/"
#: What the policies measured stands under this.
_POLICY = "policy/"


@dataclass(frozen=True)
class LoopRun:
    """One loop as MLflow holds it."""

    name: str
    #: The metrics of each round, in order, by their names; those of the policies without their prefix.
    rounds: list[dict[str, float]]
    #: The configuration as it was logged, nested again; empty if it was not.
    settings: dict[str, Any]


def find(client: "MlflowClient", wanted: str) -> list[LoopRun]:
    """The loops that the id or the name of a run, of a loop or of an experiment stands for, the oldest first."""
    names = {experiment.experiment_id: experiment.name for experiment in client.search_experiments()}
    runs = [run for run in _loops(client, list(names)) if wanted in _names(run, names)]
    return [_read(client, run) for run in sorted(runs, key=lambda run: int(run.info.start_time))]


def _loops(client: "MlflowClient", experiments: list[str]) -> "Iterator[Run]":
    token = None
    while True:
        page = client.search_runs(experiments, f"tags.`{KIND}` = 'loop'", page_token=token)
        yield from page
        if not (token := page.token):
            return


def _names(run: "Run", experiments: Mapping[str, str]) -> set[str]:
    loop = run.data.tags.get(LOOP, "")
    return {run.info.run_id, run.info.run_name, loop, experiments[run.info.experiment_id]} - {""}


def _read(client: "MlflowClient", run: "Run") -> LoopRun:
    # All points of a round carry the time of its run's creation, so rounds with as many labels are told apart.
    found: dict[tuple[int, int], dict[str, float]] = {}
    for key in (key for key in run.data.metrics if not key.startswith(GLANCE)):
        for point in client.get_metric_history(run.info.run_id, key):
            found.setdefault((point.timestamp, point.step), {})[key.removeprefix(_POLICY)] = point.value
    rounds = sorted(found.values(), key=lambda values: values.get("round", values.get("labels", 0.0)))
    return LoopRun(str(run.info.run_name), rounds, _nested(run.data.params) if "name" in run.data.params else {})


def _nested(params: Mapping[str, str]) -> dict[str, Any]:
    """What dotted parameters were made of."""
    made: dict[str, Any] = {}
    for key, text in params.items():
        *above, last = key.split(".")
        block = made
        for name in above:
            block = block.setdefault(name, {})
        block[last] = _value(text)
    return made


def _value(text: str) -> Any:
    """A parameter, which MLflow keeps as Python's str() made it."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
