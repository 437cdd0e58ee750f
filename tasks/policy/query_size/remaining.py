"""What the rest of a loop uses, if it is bought in rounds of one size."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.cost import forecast
from tasks.cost.rates import Rates
from tasks.policy import next_round
from tasks.policy.retrain import choice as retrain
from tasks.policy.situation import Situation

Floats = npt.NDArray[np.float64]

#: What a round uses that may be bounded.
AMOUNTS = ("money", "device_hours", "wall_hours")


@dataclass(frozen=True)
class Affine:
    """fixed + before x labels before the round + bought x labels of the round; of each amount, (3,)."""

    fixed: Floats
    before: Floats
    bought: Floats


@dataclass(frozen=True)
class Remaining:
    """The rounds to come: the q labels of each, from n labels on, until no more than ``room`` are left to buy.

    A round's work is affine in the labels before it and in those that it buys, whatever the retrain mode and the scope
    (but for rounding, and for a number of candidates larger than what is left of the pool), so sums over rounds have
    a closed form.
    """

    labels: int
    room: int
    #: SELECT, LABEL and TRAIN.
    trained: Affine
    #: INFER, of which the loop's last round has none.
    scored: Affine

    def spent(self, rounds: npt.ArrayLike, size: npt.ArrayLike) -> Floats:
        """What ``rounds`` ≥ 1 rounds of ``size`` labels use, the last one cut to the room: (…, 3), as ``AMOUNTS``."""
        return np.stack([self.amount(name, rounds, size) for name in AMOUNTS], axis=-1)

    def amount(self, name: str, rounds: npt.ArrayLike, size: npt.ArrayLike) -> Floats:
        """One of ``AMOUNTS`` alone, (…)."""
        which = AMOUNTS.index(name)
        k, q = np.asarray(rounds, dtype=np.float64), np.asarray(size, dtype=np.float64)
        trained, scored = (
            (part.fixed[which], part.before[which], part.bought[which]) for part in (self.trained, self.scored)
        )
        bought = k * q
        # Σ of q·i over the rounds before each of the k, and of the k - 1.
        grown = bought * (k - 1) / 2
        total: Floats = k * (trained[0] + self.labels * trained[1]) + grown * trained[1]
        total += np.minimum(bought, self.room) * trained[2]
        total += (k - 1) * (scored[0] + self.labels * scored[1])
        total += (grown - bought + q) * scored[1] + (bought - q) * scored[2]
        return total


def forecast_rest(situation: Situation, rates: Rates, room: int, reach: int) -> Remaining:
    """The forecast's prices of the rounds to come, by its secants over the next ``reach`` ≤ room labels.

    ``room`` is at least 2. The next models are trained as policy.retrain would have it now, candidates are as many as
    in the last plan, or as configured.
    """
    config, labels = situation.config, situation.attempt[-1].labels
    counted = partial(
        forecast.work,
        config,
        pool=labels + situation.unlabeled,
        held_out=situation.held_out,
        retrain=retrain.choose(situation).value,
        scope=next_round.scopes(situation),
        stop_set=min(config.policy.stop_set, situation.pool) if config.policy.needs_stop_set() else 0,
    )

    def trained(before: int, bought: int) -> Floats:
        return amounts(counted(before=before, query_size=bought, scored=False), situation, rates)

    def scored(before: int, bought: int) -> Floats:
        whole = amounts(counted(before=before, query_size=bought, scored=True), situation, rates)
        return whole - trained(before, bought)

    step = max(reach // 2, 1)
    return Remaining(labels, room, _secants(trained, labels, step), _secants(scored, labels, step))


def _secants(used: Callable[[int, int], Floats], labels: int, step: int) -> Affine:
    here, later, more = used(labels, step), used(labels + step, step), used(labels, 2 * step)
    before, bought = (later - here) / step, (more - here) / step
    return Affine(here - before * labels - bought * step, before, bought)


def amounts(work: forecast.Work, situation: Situation, rates: Rates) -> Floats:
    """What ``work`` uses of each of ``AMOUNTS``, (3,)."""
    price: Any = forecast.price(work, situation.config, rates, situation.label_seconds)
    return np.array([getattr(price, name) for name in AMOUNTS])
