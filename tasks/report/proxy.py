"""What a proxy's selection took, what the model came to that it selects for, and how far the two agree."""

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.cost.ledger import all_used
from tasks.history import SELECTING, Target
from tasks.report.loop import Loop, Round


@dataclass(frozen=True)
class Row:
    """One trained round."""

    round: int
    aborted: bool
    labels: int
    #: Of the proxy, on the held-out set.
    accuracy: float
    #: None where no target was trained.
    target: Target | None
    #: Wall seconds of the stages of the proxy, and of the target's, those of discarded work among them.
    selection_s: float
    target_s: float


def rows(loop: Loop) -> list[Row]:
    """The trained rounds; none where no proxy selects."""
    if loop.config.proxy is None:
        return []
    return [
        Row(
            round=one.number,
            aborted=one.aborted,
            labels=one.outcome.labels,
            accuracy=one.outcome.accuracy,
            target=one.outcome.target,
            selection_s=_seconds(one, SELECTING),
            target_s=_seconds(one, ("target",)),
        )
        for one in loop.trained
        if one.outcome is not None
    ]


def _seconds(round_: Round, names: Sequence[str]) -> float:
    used = all_used({name: entry for name, entry in round_.stages.items() if name in names})
    return float(sum(one["wall_s"] for one in used))
