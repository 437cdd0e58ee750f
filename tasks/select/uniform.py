"""Random selection: every unlabelled item is as likely as any other."""

from tasks.select.choice import Candidates, Chosen
from tasks.select.order import random_keys, smallest


def select(candidates: Candidates, size: int) -> Chosen:
    """``size`` items, uniformly, without replacement."""
    positions = smallest(random_keys(candidates.ids, candidates.seed), size)
    return Chosen(positions, ["random"] * len(positions))
