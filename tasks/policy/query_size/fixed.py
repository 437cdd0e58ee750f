"""The same query size in every round."""

from tasks.policy.decision import Choice
from tasks.policy.situation import Situation


def choose(situation: Situation) -> Choice:
    """loop.initial in the first round of an attempt, loop.query_size in each later one."""
    loop = situation.config.loop
    if situation.attempt:
        return Choice(loop.query_size, "loop.query_size")
    return Choice(loop.initial, "loop.initial")
