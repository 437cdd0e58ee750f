"""How many items the next round asks for: pure functions of the history."""

from collections.abc import Sequence

from tasks.config import LoopConfig
from tasks.history import Outcome
from tasks.policy.decision import Choice


def fixed(history: Sequence[Outcome], loop: LoopConfig, unlabeled: int) -> Choice:
    """loop.initial in the first round, loop.query_size in each later one, cut to the labels still allowed and left.

    Args:
        history: the trained rounds so far.
        unlabeled: items of the pool without a label.
    """
    size, reason = (loop.query_size, "loop.query_size") if history else (loop.initial, "loop.initial")
    bought = history[-1].labels if history else 0
    if loop.max_labels is not None and loop.max_labels - bought < size:
        size, reason = loop.max_labels - bought, f"what is left of loop.max_labels ({loop.max_labels})"
    if unlabeled < size:
        size, reason = unlabeled, "all that is left of the pool"
    return Choice(size, reason)
