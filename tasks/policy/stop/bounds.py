"""The ends that every loop has: its rounds, its labels, its pool."""

from tasks.policy.decision import Decision
from tasks.policy.situation import Situation


def reached(situation: Situation) -> Decision | None:
    """A decision to stop if the loop is at one of its ends, or None."""
    loop, last, rounds = situation.config.loop, situation.history[-1], len(situation.attempt)
    if rounds >= loop.rounds:
        return Decision("stop", "rounds", f"loop.rounds = {loop.rounds} reached", {"rounds": rounds})
    if loop.max_labels is not None and last.bought >= loop.max_labels:
        return Decision("stop", "labels", f"loop.max_labels = {loop.max_labels} reached", {"labels": last.bought})
    if not situation.unlabeled:
        return Decision("stop", "pool", "no item of the pool is left to be labelled", {"labels": last.labels})
    return None
