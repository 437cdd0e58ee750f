"""Weights drawn anew each round."""

from tasks.policy.decision import Choice
from tasks.policy.situation import Situation


def choose(situation: Situation) -> Choice:
    """All labels, from random weights: nothing that a former model has learnt is left, good or bad."""
    return Choice("scratch", "policy.retrain: weights are drawn anew each round")
