"""The query size that makes the rest of the loop cheapest, or best within what is left to spend.

The derivation is in docs/methods.md. In short: large queries save trainings and scorings of the pool; small ones let
the loop stop soon after it has reached its target, and nobody knows beforehand how many labels that takes.
"""

from typing import Any

import numpy as np

from tasks.cost.rates import Rates
from tasks.policy import curve as curves
from tasks.policy.curve import Curve
from tasks.policy.decision import Choice
from tasks.policy.query_size.bounds import Bounds, bounds
from tasks.policy.query_size.to_target import cheapest, labels_ahead, unreachable
from tasks.policy.query_size.within_budget import best, fitting
from tasks.policy.situation import Situation


def choose(situation: Situation) -> Choice:
    """By the fitted curve and the forecast prices; loop.initial first, and a default while there is no curve.

    No query is larger than what policy.stop.budget still pays for, as long as it pays for any.
    """
    if not situation.attempt:
        return Choice(situation.config.loop.initial, "loop.initial")
    within = bounds(situation)
    return _paid(situation, within, _wanted(situation, within))


def _wanted(situation: Situation, within: Bounds) -> Choice:
    points = situation.curve
    if missing := curves.missing(points):
        why = f"the curve is too short to fit: {missing} more round{'s' if missing > 1 else ''} needed"
        return _default(situation, why, {"points": len(points), "missing": missing})
    if situation.rates is None:
        return _default(situation, "nobody has measured how long a unit of compute takes", {})
    if within.smallest == within.largest:
        return Choice(within.largest, "there is no other size between the bounds", {"labels": within.labels})
    return _fitted(situation, situation.rates, situation.fitted, within)


def _fitted(situation: Situation, rates: Rates, curve: Curve, within: Bounds) -> Choice:
    target = situation.config.policy.cost_optimal.target
    if target is None:
        size, reason, numbers = best(situation, rates, within, curve)
        if size is None:
            return _default(situation, reason, numbers)
        return Choice(size, reason, situation.headline.shown(numbers))
    ahead = labels_ahead(curve, target, within)
    share = float(np.isfinite(ahead).mean())
    if share <= 0.5:
        return _default(situation, *unreachable(curve, target, within, share))
    return Choice(*cheapest(situation, rates, within, ahead))


def _paid(situation: Situation, within: Bounds, wanted: Choice) -> Choice:
    """Cut to what the budget pays for; where that is nothing, the least is asked for, and the budget rule stops."""
    size = min(wanted.value, within.room)
    if situation.rates is not None:
        paid = fitting(situation, situation.rates, within.smallest, size)
        if paid is None:
            least, why = min(within.smallest, size), "no round fits into what is left of policy.stop.budget"
            return Choice(least, why, {"labels": within.labels, "wanted": wanted.value})
        size = paid
    if size == wanted.value:
        return wanted
    reason = f"what the budget and the pool leave, {size}, of {wanted.value} ({wanted.reason})"
    return Choice(size, reason, wanted.numbers | {"wanted": wanted.value})


def _default(situation: Situation, why: str, numbers: dict[str, Any]) -> Choice:
    """What is asked for where nothing can be computed."""
    numbers = situation.headline.shown(numbers)
    if (smallest := situation.config.policy.cost_optimal.smallest) is not None:
        return Choice(smallest, f"policy.cost_optimal.smallest: {why}", numbers)
    return Choice(situation.config.loop.query_size, f"loop.query_size: {why}", numbers)
