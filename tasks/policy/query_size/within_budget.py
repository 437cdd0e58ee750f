"""The best accuracy, or R², within what is left to spend."""

import math
from typing import Any

import numpy as np

from tasks.cost.rates import Rates
from tasks.policy import next_round
from tasks.policy.curve import Curve
from tasks.policy.query_size.bounds import Bounds, Sizes, grid
from tasks.policy.query_size.remaining import AMOUNTS, Floats, Remaining, amounts, forecast_rest
from tasks.policy.situation import Situation

#: Share of the highest possible gain that a cheaper query size has to keep.
AS_GOOD = 0.99


def best(situation: Situation, rates: Rates, bounds: Bounds, curve: Curve) -> tuple[int | None, str, dict[str, Any]]:
    """The size whose affordable rounds gain the most, or ``AS_GOOD`` as much for less; why, and by which numbers.

    None if no size has a round that is affordable, or none gains anything.
    """
    rest, sizes = forecast_rest(situation, rates, bounds.room, bounds.room), grid(bounds.smallest, bounds.largest)
    most = np.minimum(bounds.rounds, -(-bounds.room // sizes))
    left = _left(situation) - amounts(next_round.due(situation), situation, rates)
    rounds = _affordable(rest, sizes, left, most)
    if not rounds.any():
        return None, "no round fits into what is left of policy.stop.budget", {"labels": bounds.labels}
    bought = np.minimum(rounds * sizes, bounds.room)
    gain = np.array([curve.at(bounds.labels + int(labels)) for labels in bought]) - curve.at(bounds.labels)
    if gain.max() <= 0:
        return None, "the fitted curve has levelled off", {"levels_off_at": round(curve.at(math.inf), 5)}
    money = rest.amount("money", np.maximum(rounds, 1), sizes)
    chosen = int(np.argmin(np.where(gain >= AS_GOOD * gain.max(), money, np.inf)))
    then = int(bounds.labels + bought[chosen])
    numbers = {
        "labels": bounds.labels,
        "expected_rounds": int(rounds[chosen]),
        "expected_labels": int(bought[chosen]),
        "expected_accuracy": round(curve.at(then), 5),
        "highest_accuracy": round(curve.at(bounds.labels) + float(gain.max()), 5),
        "expected_money": round(float(money[chosen]), 4),
    }
    reason = (
        f"the best within what is left to spend: {curve.at(then):.4f} at {then} labels, in {rounds[chosen]} rounds for "
        f"{money[chosen]:.4g} {situation.config.prices.currency}"
    )
    return int(sizes[chosen]), reason, numbers


def fitting(situation: Situation, rates: Rates, smallest: int, size: int) -> int | None:
    """The largest query up to ``size`` that policy.stop.budget still pays for; None if not even the smallest is.

    Unlike the sums over the rounds to come, this is the forecast that the budget rule goes by. Before a round its own
    INFER is left out, which is only run if the loop goes on.
    """
    left = _tolerant(_left(situation))

    def fits(query: int) -> bool:
        used = next_round.least(situation, query) + next_round.targets(situation, query)
        return bool((amounts(used, situation, rates) <= left).all())

    if fits(size):
        return size
    low, high = min(smallest, size), size
    if not fits(low):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _left(situation: Situation) -> Floats:
    """What policy.stop.budget leaves of each of ``AMOUNTS``; infinite where it bounds nothing."""
    stop, last = situation.config.policy.stop, situation.history[-1]
    bounded = {name: stop.bound(name) for name in AMOUNTS}
    return np.array([math.inf if most is None else most - getattr(last, name) for name, most in bounded.items()])


def _tolerant(left: Floats) -> Floats:
    """Sums of prices are no exact multiples of them."""
    return left + 1e-9 * np.abs(left)


def _affordable(rest: Remaining, sizes: Sizes, left: Floats, most: Sizes) -> Sizes:
    """The largest number of rounds of each size, up to ``most``, that use no more than ``left``; by bisection."""
    left = _tolerant(left)
    low, high = np.zeros_like(most), most
    while (low < high).any():
        middle = (low + high + 1) // 2
        fits = (rest.spent(np.maximum(middle, 1), sizes) <= left).all(axis=1)
        low, high = np.where(fits, middle, low), np.where(fits, high, middle - 1)
    return low
