"""The cheapest way to a target, as long as nobody knows how many labels it takes."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tasks.cost.rates import Rates
from tasks.policy.curve import Curve
from tasks.policy.query_size.bounds import Bounds, Sizes, grid
from tasks.policy.query_size.remaining import Floats, forecast_rest
from tasks.policy.situation import Situation

#: Share of the curves that reach the target at all for which the loop's remaining rounds have to suffice.
SURE = 0.9


def labels_ahead(curve: Curve, target: float, bounds: Bounds) -> Floats:
    """How many more labels each of the bootstrap's curves needs; infinite if it needs more than there is room for.

    At least 1: another round is bought whatever the curve says.
    """
    ahead = np.maximum(np.ceil(curve.sampled_labels_for(target)) - bounds.labels, 1)
    needed: Floats = np.where(ahead <= bounds.room, ahead, np.inf)
    return needed


def cheapest(situation: Situation, rates: Rates, bounds: Bounds, ahead: Floats) -> tuple[int, str, dict[str, Any]]:
    """The size with the lowest mean cost over the curves that reach the target; why, and by which numbers.

    The cost of one curve is that of the ceil(ahead / size) rounds after which the loop stops, with the labels that it
    then has too many. Sizes with which loop.rounds does not suffice for ``SURE`` of the curves are left out.
    """
    reached = ahead[np.isfinite(ahead)]
    # An order statistic: a number of labels that some curve needs.
    sure = int(np.quantile(reached, SURE, method="inverted_cdf"))
    smallest = min(max(bounds.smallest, math.ceil(sure / bounds.rounds)), bounds.largest)
    rest = forecast_rest(situation, rates, bounds.room, max(sure, 2))

    def money(sizes: Sizes) -> Floats:
        spent: Floats = rest.amount("money", np.ceil(reached / sizes[:, None]), sizes[:, None]).mean(axis=1)
        return spent

    size, expected = _lowest(money, smallest, bounds.largest)
    rounds = np.ceil(reached / size)
    bought = np.minimum(rounds * size, bounds.room)
    numbers = {
        "labels": bounds.labels,
        "labels_ahead": int(np.median(reached)),
        "labels_ahead_high": sure,
        "reach_target": round(len(reached) / len(ahead), 3),
        "expected_rounds": round(float(rounds.mean()), 2),
        "expected_labels": round(float(bought.mean()), 1),
        "expected_overshoot": round(float((bought - reached).mean()), 1),
        "expected_money": round(expected, 4),
    }
    reason = (
        f"the cheapest way to the target: about {numbers['labels_ahead']} more labels, in {rounds.mean():.3g} rounds "
        f"on average, for {expected:.4g} {situation.config.prices.currency}"
    )
    return size, reason, numbers


def unreachable(curve: Curve, target: float, bounds: Bounds, share: float) -> tuple[str, dict[str, Any]]:
    """Why there is no way to the target, with the extrapolation; ``share`` of the curves reach it."""
    most = bounds.labels + bounds.room
    low, high = curve.interval(most, SURE)
    numbers = {
        "reach_target": round(share, 3),
        "most_labels": most,
        "accuracy_there": round(curve.at(most), 5),
        "accuracy_low": round(low, 5),
        "accuracy_high": round(high, 5),
        "levels_off_at": round(curve.at(math.inf), 5),
    }
    reason = (
        f"the target of {target:g} is out of reach: with all of {most} labels the curve comes to {curve.at(most):.4f} "
        f"({low:.4f} to {high:.4f}), and {share:.0%} of the curves that fit reach the target"
    )
    return reason, numbers


def _lowest(money: Callable[[Sizes], Floats], smallest: int, largest: int) -> tuple[int, float]:
    """The best size of a grid, closed in on between its neighbours; ties go to the smaller one."""
    tried = grid(smallest, largest)
    best = int(np.argmin(money(tried)))
    near = np.arange(tried[max(best - 1, 0)], tried[min(best + 1, len(tried) - 1)] + 1)
    costs = money(near)
    return int(near[np.argmin(costs)]), float(costs.min())
