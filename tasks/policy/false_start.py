"""False starts: first rounds from which nothing will come, after which the loop begins anew.

The new attempt has another initial pool and other random weights; labels already bought are kept (tasks/drawer.py).

Source: the second lever of Alectio's article on the costs of active learning (2022), which says what to do about
stalled starts, but not how to tell them; the criteria here are ours.
"""

import math
from collections.abc import Iterator

import numpy as np

from tasks.config_policy import FalseStartConfig
from tasks.history import Outcome
from tasks.policy.decision import Choice, Decision
from tasks.policy.situation import Situation


def watches(situation: Situation) -> Choice:
    """Whether the coming round is one of those in which a training that diverges makes a false start."""
    settings = situation.config.policy.false_start
    if settings is None:
        return Choice(False, "policy.false_start is not set")
    number = len(situation.attempt) + 1
    return Choice(number <= settings.rounds, f"round {number} of the attempt; the first {settings.rounds} are watched")


def decide(situation: Situation) -> Decision | None:
    """Begin anew after a false start, or stop where that has been tried often enough; None if there is none."""
    settings, last = situation.config.policy.false_start, situation.history[-1]
    if settings is None or len(situation.attempt) > settings.rounds:
        return None
    faults = list(_faults(situation, settings, last))
    if not faults:
        return None
    reason = f"false start: {'; '.join(faults)}"
    numbers = {"attempt": last.attempt, "restarts": settings.restarts, "labels": last.labels, "bought": last.bought}
    if (obstacle := _obstacle(situation, settings, last)) is not None:
        return Decision("stop", "false_start", f"{reason}; {obstacle}", numbers)
    return Decision("restart", "false_start", reason, numbers)


def _faults(situation: Situation, settings: FalseStartConfig, last: Outcome) -> Iterator[str]:
    if last.diverged:
        yield "training diverged"
        return
    # A model that knows nothing, and says so, has this loss.
    ignorant = math.log(situation.classes)
    highest = (1 - settings.loss_falls) * ignorant
    if last.last_loss is not None and last.last_loss > highest:
        yield f"the training loss ended at {last.last_loss:.4f}, above {highest:.4f} (knowing nothing: {ignorant:.4f})"
    value = situation.metric(last)
    if value is None:
        return
    name, chance = situation.config.policy.metric, 1 / situation.classes
    least = chance + settings.above_chance * (1 - chance)
    if value < least:
        yield f"{name} is {value:.4f}, below {least:.4f} (chance: {chance:.4f})"
    if settings.expected and value < (wanted := expected(settings, last.labels)):
        yield f"{name} is {value:.4f} with {last.labels} labels, below the {wanted:.4f} expected"


def expected(settings: FalseStartConfig, labels: int) -> float:
    """The least accuracy at a number of labels: interpolated, and level beyond the ends."""
    known = sorted(settings.expected)
    return float(np.interp(labels, known, [settings.expected[count] for count in known]))


def _obstacle(situation: Situation, settings: FalseStartConfig, last: Outcome) -> str | None:
    """Why the loop cannot begin anew, or None."""
    if last.attempt >= settings.restarts:
        return f"policy.false_start.restarts = {settings.restarts} are used up; look at the data, or lower train.lr"
    loop = situation.config.loop
    if loop.max_labels is not None and loop.max_labels - last.bought < loop.initial:
        return f"loop.max_labels = {loop.max_labels} leaves too few labels for another initial pool"
    return None
