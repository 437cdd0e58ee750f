"""False starts: first rounds from which nothing will come, after which the loop begins anew.

The new attempt has another initial pool and other random weights; labels already bought are kept (tasks/drawer.py).

Source: the second lever of Alectio's article on the costs of active learning (2022), which says what to do about
stalled starts, but not how to tell them; the criteria here are ours.
"""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from tasks.config_policy import FalseStartConfig
from tasks.history import Outcome
from tasks.policy.decision import Choice, Decision
from tasks.policy.query_size import choice as query_size
from tasks.policy.situation import Situation
from tasks.policy.stop import budget

#: Of the interval whose upper end has to be too low: so sure is a value on a few items to be below what it should.
_CONFIDENCE = 0.9


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
    ignorant, least = _ends_of_loss(situation)
    highest = least + (1 - settings.loss_falls) * (ignorant - least)
    if last.last_loss is not None and last.last_loss > highest:
        yield f"the training loss ended at {last.last_loss:.4f}, above {highest:.4f} (knowing nothing: {ignorant:.4f})"
    yield from _low_accuracy(situation, settings, last)


def _ends_of_loss(situation: Situation) -> tuple[float, float]:
    """The training loss of a model that knows nothing, and says so, and of one that says just what it is taught.

    Those of a regression are of its weighted likelihood (tasks/task_type/regression.py), in standard deviations of the
    labels: with their mean and variance for all items, and as the variance goes to 0.
    """
    if not situation.headline.share:
        return 0.5 * (1 + math.log(2 * math.pi)), 0.0
    return math.log(situation.classes), _least_loss(situation.classes, situation.config.selecting.label_smoothing)


def _least_loss(classes: int, smoothing: float) -> float:
    """The entropy of a smoothed label, in nats: 1 - s for its class, and s shared by all C."""
    other = smoothing / classes
    shares = [1 - smoothing + other, *[other] * (classes - 1)]
    return math.fsum(-share * math.log(share) for share in shares if share)


def _low_accuracy(situation: Situation, settings: FalseStartConfig, last: Outcome) -> Iterator[str]:
    """Faults of policy.metric, where even the upper end of its interval is too low: few items say little."""
    value, items = situation.metric(last), situation.metric_items(last)
    if value is None or not items:
        return
    # The labels' mean has an R² of 0.
    most, chance = (
        situation.headline.interval(value, items, _CONFIDENCE)[1],
        situation.headline.share / situation.classes,
    )
    found = f"{situation.config.policy.metric} is {value:.4f} (at most {most:.4f} by its {items} items)"
    least = chance + settings.above_chance * (1 - chance)
    if most < least:
        yield f"{found}, below {least:.4f} (chance: {chance:.4f})"
    if settings.expected and most < (wanted := expected(settings, last.labels)):
        yield f"{found} with {last.labels} labels, below the {wanted:.4f} expected"


def expected(settings: FalseStartConfig, labels: int) -> float:
    """The least accuracy, or R², at a number of labels: interpolated, and level beyond the ends."""
    known = sorted(settings.expected)
    return float(np.interp(labels, known, [settings.expected[count] for count in known]))


def _obstacle(situation: Situation, settings: FalseStartConfig, last: Outcome) -> str | None:
    """Why the loop cannot begin anew, or None."""
    if last.attempt >= settings.restarts:
        key = f"{situation.config.block}.lr"
        return f"policy.false_start.restarts = {settings.restarts} are used up; look at the data, or lower {key}"
    anew = _anew(situation)
    loop, first = situation.config.loop, min(query_size.wanted(anew).value, situation.pool)
    if loop.max_labels is not None and loop.max_labels - last.bought < first:
        return f"loop.max_labels = {loop.max_labels} leaves too few labels for another initial pool, {first}"
    asked = (budget.verdict(anew, rule) for rule in situation.config.policy.stop.budgets())
    exceeded = next((verdict for verdict in asked if verdict.holds), None)
    if exceeded is not None:
        return f"policy.stop.budget leaves too little for another initial pool: {exceeded.reason}"
    return None


def _anew(situation: Situation) -> Situation:
    """The situation right after a restart."""
    history = [*situation.history[:-1], replace(situation.history[-1], restarted=True)]
    return replace(situation, history=history, unlabeled=situation.pool, next_size=None)
