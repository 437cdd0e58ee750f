"""Whether the loop ends: pure functions of the history; the first policy that says stop has its way."""

from collections.abc import Callable, Sequence

from tasks.config import LoopConfig
from tasks.history import Outcome
from tasks.policy.decision import Decision

#: (history with at least one round, loop settings, unlabelled items left) → a decision to stop, or None.
StopPolicy = Callable[[Sequence[Outcome], LoopConfig, int], Decision | None]


def rounds_done(history: Sequence[Outcome], loop: LoopConfig, unlabeled: int) -> Decision | None:
    """Stop after loop.rounds rounds, the initial one included."""
    if len(history) < loop.rounds:
        return None
    return Decision("stop", "rounds", f"loop.rounds = {loop.rounds} reached", {"rounds": len(history)})


def labels_bought(history: Sequence[Outcome], loop: LoopConfig, unlabeled: int) -> Decision | None:
    """Stop once loop.max_labels labels are bought."""
    if loop.max_labels is None or history[-1].labels < loop.max_labels:
        return None
    return Decision("stop", "labels", f"loop.max_labels = {loop.max_labels} reached", {"labels": history[-1].labels})


def pool_exhausted(history: Sequence[Outcome], loop: LoopConfig, unlabeled: int) -> Decision | None:
    """Stop when nothing is left to label."""
    if unlabeled:
        return None
    return Decision("stop", "pool", "every item of the pool has a label", {"labels": history[-1].labels})


POLICIES: tuple[StopPolicy, ...] = (rounds_done, labels_bought, pool_exhausted)


def decide(history: Sequence[Outcome], loop: LoopConfig, unlabeled: int) -> Decision:
    """Ask every policy in order; go on if none says stop."""
    for policy in POLICIES:
        if (verdict := policy(history, loop, unlabeled)) is not None:
            return verdict
    numbers = {"rounds": len(history), "labels": history[-1].labels, "unlabeled": unlabeled}
    return Decision("continue", "rounds", f"round {len(history)} of {loop.rounds}", numbers)
