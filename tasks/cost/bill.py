"""What the rounds cost, by what it was spent on; stages that were run again, and aborted attempts, stay on it."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from typing import Any

from tasks.cost.ledger import all_used

#: On which line a stage's compute, and the machine's time besides, stand; LABEL's own time is overhead.
LINES = {
    "select": "selection",
    "label": "overhead",
    "train": "training",
    "target": "training",
    "infer": "inference",
}


@dataclass(frozen=True)
class Bill:
    """Money by line, in the currency of the prices."""

    labels: float = 0.0
    training: float = 0.0
    inference: float = 0.0
    selection: float = 0.0
    overhead: float = 0.0

    @property
    def total(self) -> float:
        """The sum of all lines."""
        return round(math.fsum(astuple(self)), 6)

    def __add__(self, other: Bill) -> Bill:
        return Bill(*(round(mine + theirs, 6) for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


def of_round(stages: dict[str, Any]) -> Bill:
    """The bill of one round, from the `stages` of its cost.json."""
    total = Bill()
    for name, made in stages.items():
        for used in all_used({name: made}):
            money = used["money"]
            # A former release did not price the machine's time.
            spent = money["compute"] + money.get("overhead", 0.0)
            total += Bill(labels=money["labels"]) + Bill(**{LINES[name]: spent})
    return total
