"""The rounds to come, as far as they can be known."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from tasks.history import Outcome
from tasks.policy.query_size import choice as query_size
from tasks.policy.query_size.bounds import bounds
from tasks.policy.situation import Situation
from tasks.policy.stop import bounds as ends


def labels_left(situation: Situation) -> int:
    """The labels that the loop can still buy, if no rule but a budget of labels ends it earlier.

    With ``cost_optimal`` it is the most, every round being as large as may be.
    """
    most = situation.config.policy.stop.bound("labels")
    left = math.inf if most is None else most - situation.history[-1].bought
    labels = 0
    fixed = situation.config.policy.query_size == "fixed" and bool(situation.attempt)
    for size in _equal_sizes(situation) if fixed else _sizes(situation):
        if labels + size > left:
            break
        labels += size
    return labels


def after(situation: Situation, size: int) -> Situation:
    """The situation one round of ``size`` labels later; only its labels are known of that round."""
    done, bought = situation.attempt, query_size.bought(situation) + size
    labels = size + (done[-1].labels if done else 0)
    later = _outcome(situation.history, labels, bought)
    left = situation.unlabeled - size
    return replace(situation, history=[*situation.history, later], unlabeled=left, next_size=None)


def _sizes(situation: Situation) -> Iterator[int]:
    """The query sizes up to the loop's end."""
    while ends.reached(situation) is None:
        size = _size(situation)
        yield size
        situation = after(situation, size)


def _equal_sizes(situation: Situation) -> Iterator[int]:
    """The same where they are all loop.query_size: with no situation for each, which is slow over thousands."""
    loop, bought = situation.config.loop, query_size.bought(situation)
    room = situation.unlabeled if loop.max_labels is None else min(situation.unlabeled, loop.max_labels - bought)
    recorded = situation.next_size
    for _ in range(loop.rounds - len(situation.attempt)):
        if room <= 0:
            return
        size = min(loop.query_size, room) if recorded is None else recorded
        recorded = None
        yield size
        room -= size


def _size(situation: Situation) -> int:
    if situation.config.policy.query_size == "cost_optimal" and situation.next_size is None:
        return bounds(situation).largest
    return int(query_size.choose(situation).value)


def _outcome(history: Sequence[Outcome], labels: int, bought: int) -> Outcome:
    unknown = math.nan
    last = history[-1] if history else None
    attempt = 0 if last is None else last.attempt + last.restarted
    return Outcome(
        round=len(history),
        labels=labels,
        accuracy=unknown,
        nll=unknown,
        ece=unknown,
        money=0.0,
        money_labels=0.0,
        money_compute=0.0,
        device_hours=0.0,
        record_epochs=0,
        items_scored=0,
        bought=bought,
        attempt=attempt,
    )
