"""What each loop of a comparison came to, round by round."""

from collections.abc import Iterator
from dataclasses import dataclass

from tasks.compare.folder import Comparison
from tasks.cost import ledger
from tasks.history import history
from tasks.rounds import Workspace


@dataclass(frozen=True)
class Point:
    """One trained round of one loop; sums run from round 000 to this one.

    Where a proxy selects, the money is for the target too, so it is the target that is judged. What is called accuracy
    is the headline metric of the task type (tasks/task_type/headline.py).
    """

    arm: str
    seed: int
    round: int
    #: Paid for so far; after a false start more than the model is trained on.
    labels: int
    accuracy: float
    nll: float
    #: None of a regression.
    ece: float | None
    items_scored: int
    record_epochs: int
    #: Seconds of all device kinds.
    device_seconds: float
    #: Seconds of all processor cores, in every stage.
    cpu_seconds: float
    money: float
    money_labels: float
    money_compute: float
    #: None of a classification.
    rmse: float | None = None
    mae: float | None = None


def points(comparison: Comparison) -> list[Point]:
    """Every trained round of the seeds that all arms have finished, arm by arm; with a proxy those with a target."""
    seeds = comparison.complete_seeds()
    return [
        point
        for arm, settings in comparison.arms.items()
        for seed in seeds
        for point in _of_loop(comparison.workspace(arm, seed), arm, seed, settings.proxy is not None)
    ]


def _of_loop(workspace: Workspace, arm: str, seed: int, proxied: bool) -> Iterator[Point]:
    device_s = cpu_s = 0.0
    for outcome in history(workspace):
        for entry in ledger.ledger(workspace.round_dir(outcome.round))["stages"].values():
            for used in [entry["used"], *entry.get("discarded", [])]:
                device_s += sum(used["device_s"].values())
                cpu_s += used["cpu_s"]
        judged = outcome.target if proxied else outcome
        if judged is None:
            continue
        yield Point(
            arm=arm,
            seed=seed,
            round=outcome.round,
            labels=outcome.bought,
            accuracy=judged.accuracy,
            nll=judged.nll,
            ece=judged.ece,
            items_scored=outcome.items_scored,
            record_epochs=outcome.record_epochs,
            device_seconds=round(device_s, 4),
            cpu_seconds=round(cpu_s, 4),
            money=outcome.money,
            money_labels=outcome.money_labels,
            money_compute=outcome.money_compute,
            rmse=judged.rmse,
            mae=judged.mae,
        )
