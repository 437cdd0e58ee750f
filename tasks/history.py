"""What the rounds so far came to: the history that policies, status, reports and records all read.

What is called accuracy here is the headline metric of the loop's task type: accuracy, or R² of a regression. Whoever
shows it uses its own name (tasks/task_type/headline.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks import files
from tasks.cost import bill, ledger
from tasks.cost.bill import Bill
from tasks.errors import DataError
from tasks.rounds import Workspace, decision, rounds
from tasks.task_type import headline


@dataclass(frozen=True)
class Measured:
    """How a round's model compares with the one before in the same attempt, and how sure it is."""

    #: Of the items that policy.metric is taken on: how many there are in both rounds, and how many of these became
    #: right and wrong since.
    compared: int | None = None
    gained: int | None = None
    lost: int | None = None
    #: Agreement of both models' predictions on the stop set beyond chance, Cohen's kappa.
    kappa: float | None = None
    #: Mean entropy of the predictions on the stop set, as a share of the highest possible.
    uncertainty: float | None = None


@dataclass(frozen=True)
class Agreement:
    """How far two models agree on what to label next; None where that is not defined."""

    spearman: float | None = None
    pearson: float | None = None
    #: Share of the items that one model would take which the other would take too.
    overlap: float | None = None


@dataclass(frozen=True)
class Target:
    """The model that a proxy selects for, trained on a round's labels."""

    #: On the held-out set; what its task type does not have is None.
    accuracy: float
    nll: float
    ece: float | None
    #: With the proxy, and with another target of its kind.
    proxy: Agreement = Agreement()
    ceiling: Agreement = Agreement()
    rmse: float | None = None
    mae: float | None = None


@dataclass(frozen=True)
class Outcome:
    """One trained round; sums run from round 000 to this one."""

    round: int
    #: Labelled items of the attempt, on which the round's model was trained.
    labels: int
    #: Held-out accuracy, or R², of this round's model; reported, and read by a policy only if it names it.
    accuracy: float
    #: In nats; of a regression per label in its unit, so it may be below 0.
    nll: float
    #: None of a regression.
    ece: float | None
    #: Money so far, in the currency of the prices.
    money: float
    money_labels: float
    money_compute: float
    #: Hours of all device kinds so far.
    device_hours: float
    record_epochs: int
    items_scored: int
    #: Wall seconds of this round's stages alone, by stage.
    stage_seconds: dict[str, float] = field(default_factory=dict)
    #: Labels paid for so far, those of earlier attempts among them.
    bought: int = 0
    forward_passes: int = 0
    #: Money so far by what it was spent on.
    bill: Bill = field(default_factory=Bill)
    #: Wall hours of all stages so far.
    wall_hours: float = 0.0
    #: 0, and one more after each restart.
    attempt: int = 0
    #: Whether the loop began anew after this round.
    restarted: bool = False
    #: On the labelled items that are held back from training, if any are.
    validation_accuracy: float | None = None
    #: How many these are; 0 where there are none, or nobody has written it down.
    validation_items: int = 0
    #: Whether training diverged; the round's model is then the one that it began with.
    diverged: bool = False
    #: Mean training loss of the first and of the last epoch.
    first_loss: float | None = None
    last_loss: float | None = None
    #: How many candidates INFER scores after this training, as the plan has it; None where it has no such number.
    candidates: int | None = None
    #: What the policies measured after the training; None where there was nothing to compare with.
    measured: Measured = Measured()
    #: Wall seconds so far of SELECT, TRAIN and INFER: of the model that selects, whatever it selects for.
    selection_seconds: float = 0.0
    #: None where the model that selects is the one that the loop is for, or no other was trained on these labels.
    target_accuracy: float | None = None
    target: Target | None = None
    #: Root of the mean squared, and mean absolute, error of a regression's model on the held-out set, in the label's
    #: unit; None of a classification.
    rmse: float | None = None
    mae: float | None = None


#: Fields that metrics.json has of a model.
_MEASURES = ("accuracy", "nll", "ece", "rmse", "mae")
#: The stages of the model that selects.
SELECTING = ("select", "train", "infer")


@dataclass
class _Sums:
    """What all rounds so far used, whatever became of it."""

    bill: Bill = field(default_factory=Bill)
    device_s: float = 0.0
    wall_s: float = 0.0
    bought: int = 0
    record_epochs: int = 0
    items_scored: int = 0
    forward_passes: int = 0
    selection_s: float = 0.0

    def add(self, used: dict[str, Any]) -> None:
        self.device_s += sum(used["device_s"].values())
        self.wall_s += used["wall_s"]
        self.bought += used["labels"]
        self.record_epochs += used["record_epochs"]
        self.items_scored += used["items_scored"]
        self.forward_passes += used["forward_passes"]


def history(workspace: Workspace) -> list[Outcome]:
    """The outcomes of all trained rounds, in order; a round in the making is not among them."""
    sums, attempt = _Sums(), 0
    outcomes = []
    for number in rounds(workspace):
        folder = workspace.round_dir(number)
        stages = ledger.ledger(folder)["stages"]
        sums.bill += bill.of_round(stages)
        for used in ledger.all_used(stages):
            sums.add(used)
        for used in ledger.all_used({name: entry for name, entry in stages.items() if name in SELECTING}):
            sums.selection_s += used["wall_s"]
        made = decision(workspace, number)
        if "train" in stages:
            outcomes.append(_outcome(workspace, number, attempt, stages, sums, made or {}))
        attempt += made is not None and made["action"] == "restart"
    return outcomes


def aborted(outcomes: Sequence[Outcome]) -> list[int]:
    """The rounds of attempts that a restart has ended."""
    last = max((outcome.attempt for outcome in outcomes if outcome.restarted), default=-1)
    return [outcome.round for outcome in outcomes if outcome.attempt <= last]


def wasted(outcomes: Sequence[Outcome]) -> float:
    """Money of the bill that went into false starts; the labels among it are kept."""
    return max((outcome.money for outcome in outcomes if outcome.restarted), default=0.0)


def _outcome(
    workspace: Workspace, number: int, attempt: int, stages: dict[str, Any], sums: _Sums, made: dict[str, Any]
) -> Outcome:
    folder = workspace.round_dir(number)
    metrics = files.read_object(folder / "metrics.json", "labels")
    losses = metrics.get("losses") or {}
    target = _target(folder) if "target" in stages else None
    return Outcome(
        round=number,
        labels=metrics["labels"],
        **_measures(metrics, folder / "metrics.json"),
        money=sums.bill.total,
        money_labels=sums.bill.labels,
        money_compute=round(sums.bill.total - sums.bill.labels, 6),
        device_hours=round(sums.device_s / 3600, 8),
        record_epochs=sums.record_epochs,
        items_scored=sums.items_scored,
        stage_seconds={name: entry["used"]["wall_s"] for name, entry in stages.items()},
        bought=sums.bought,
        forward_passes=sums.forward_passes,
        bill=sums.bill,
        wall_hours=round(sums.wall_s / 3600, 8),
        attempt=attempt,
        restarted=made.get("action") == "restart",
        validation_accuracy=metrics.get(headline.among(metrics).named("validation_accuracy")),
        validation_items=metrics.get("validation_items", 0),
        diverged=metrics.get("diverged", False),
        first_loss=losses.get("first"),
        last_loss=losses.get("last"),
        candidates=_candidates(folder),
        measured=Measured(**made.get("measured", {})),
        selection_seconds=round(sums.selection_s, 4),
        target_accuracy=None if target is None else target.accuracy,
        target=target,
    )


def _target(folder: Path) -> Target:
    path = folder / "target" / "metrics.json"
    metrics = files.read_object(path, "agreement")
    compared = metrics["agreement"]
    return Target(**_measures(metrics, path), proxy=_agreement(compared), ceiling=_agreement(compared["ceiling"] or {}))


def _measures(metrics: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """What metrics say of a model, by the fields of outcomes; None where its task type has no such measure."""
    of = headline.among(metrics)
    found = {field: metrics.get(of.named(field)) for field in _MEASURES}
    for name, value in found.items():
        if value is None and name not in of.absent:
            raise DataError(f"{path}: has no {of.named(name)}; restore it with `git checkout`")
    return found


def _agreement(told: dict[str, Any]) -> Agreement:
    return Agreement(**{name: told.get(name) for name in ("spearman", "pearson", "overlap")})


def _candidates(folder: Path) -> int | None:
    path = folder / "plan.json"
    scopes = files.read_object(path, "infer_scope")["infer_scope"]["value"] if path.exists() else None
    if not isinstance(scopes, list):
        return None
    return next((scope.get("size") for scope in scopes if scope.get("name") == "candidates"), None)
