"""What the rounds so far came to: the history that policies, status, reports and records all read."""

from dataclasses import dataclass, field
from typing import Any

from tasks import files
from tasks.cost import ledger
from tasks.rounds import Workspace, rounds


@dataclass(frozen=True)
class Outcome:
    """One trained round; sums run from round 000 to this one."""

    round: int
    #: Labels in the pool that the round's model was trained on.
    labels: int
    #: Held-out accuracy of this round's model; reported, and read by a policy only if it names it.
    accuracy: float
    nll: float
    ece: float
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


_METRICS = ("labels", "accuracy", "nll", "ece")


@dataclass
class _Bill:
    money_labels: float = 0.0
    money_compute: float = 0.0
    device_s: float = 0.0
    record_epochs: int = 0
    items_scored: int = 0

    def add(self, used: dict[str, Any]) -> None:
        self.money_labels += used["money"]["labels"]
        self.money_compute += used["money"]["compute"]
        self.device_s += sum(used["device_s"].values())
        self.record_epochs += used["record_epochs"]
        self.items_scored += used["items_scored"]


def history(workspace: Workspace) -> list[Outcome]:
    """The outcomes of all trained rounds, in order; a round in the making is not among them."""
    bill = _Bill()
    outcomes = []
    for number in rounds(workspace):
        folder = workspace.round_dir(number)
        stages = ledger.ledger(folder)["stages"]
        for entry in stages.values():
            for used in [entry["used"], *entry.get("discarded", [])]:
                bill.add(used)
        if "train" in stages:
            outcomes.append(_outcome(number, files.read_object(folder / "metrics.json", *_METRICS), stages, bill))
    return outcomes


def _outcome(number: int, metrics: dict[str, Any], stages: dict[str, Any], bill: _Bill) -> Outcome:
    return Outcome(
        round=number,
        labels=metrics["labels"],
        accuracy=metrics["accuracy"],
        nll=metrics["nll"],
        ece=metrics["ece"],
        money=round(bill.money_labels + bill.money_compute, 6),
        money_labels=round(bill.money_labels, 6),
        money_compute=round(bill.money_compute, 6),
        device_hours=round(bill.device_s / 3600, 8),
        record_epochs=bill.record_epochs,
        items_scored=bill.items_scored,
        stage_seconds={name: entry["used"]["wall_s"] for name, entry in stages.items()},
    )
