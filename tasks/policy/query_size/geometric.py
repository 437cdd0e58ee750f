"""Each round multiplies the labels."""

import math
from fractions import Fraction

from tasks.policy.decision import Choice
from tasks.policy.situation import Situation


def choose(situation: Situation) -> Choice:
    """loop.initial first; then ceil((factor - 1) x labels so far), and no more than ``largest``.

    To n labels this takes log(n / initial) / log(factor) rounds, and training from scratch on all labels each time
    costs factor / (factor - 1) times the last training at most, where equal rounds cost half as many as there are.
    """
    settings = situation.config.policy.geometric
    if not situation.attempt:
        return Choice(situation.config.loop.initial, "loop.initial")
    labels = situation.attempt[-1].labels
    # As the factor was written: 1.1 - 1 is a little more than 0.1 in floating point.
    size = math.ceil((Fraction(str(settings.factor)) - 1) * labels)
    numbers = {"labels": labels, "factor": settings.factor}
    if settings.largest is not None and settings.largest < size:
        return Choice(settings.largest, "policy.geometric.largest", numbers)
    return Choice(size, f"policy.geometric.factor: {labels} labels become {settings.factor:g} times as many", numbers)
