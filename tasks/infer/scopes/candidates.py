"""Candidates drawn at random, the likelier the higher their cached values.

The idea is that of G. D. Németh and A. Matuszka, "Compute-Efficient Active Learning" (CEAL, arXiv 2401.07639),
Algorithm 1: the acquisition function is evaluated on a sample of the pool, drawn by the values that it had when each
item was last evaluated. Their sampler, softmax(v^1.2) over the raw values, is ``scale: raw, temperature: 1,
power: 1.2, explore: 0, stale_bonus: 0``. The defaults differ from it:

- Raw values span little: with the entropy of ten classes the odds between the most and the least wanted item are at
  most exp(ln(10)^1.2), 15 to 1, and the sample is close to a uniform one. Old values say more than that about new
  ones; a temperature well below 1 makes use of it.
- Which temperature suits raw values depends on the function and on the model's confidence in this round. On the
  scale of ranks one temperature means the same everywhere.
- A sharp sampler never looks again at an item that it once undervalued; a uniform share, and a bonus for old values,
  keep the cache honest.
- v^1.2 is undefined for negative values, which standard scores and some functions have; here the sign is kept.
- Items that were never scored count as the highest value instead of 1, which is low for some functions and above the
  maximum of others.
"""

import math
from functools import partial
from typing import Any

import numpy as np

from tasks.gumbel import top_k
from tasks.infer import scale
from tasks.infer.scale import Floats
from tasks.infer.scopes.scope import Known, Narrowed, Positions
from tasks.infer.scopes.shares import with_explorers

_SCALES = {"rank": scale.rank, "standard": scale.standard, "raw": scale.raw}
#: Natural logarithm of the largest factor, about 1e300: a temperature that asks for more is as good as 0.
_LARGEST_EXPONENT = 690.0


def narrow(known: Known, among: Positions, settings: dict[str, Any], seed: np.random.SeedSequence) -> Narrowed:
    """Draw ``size`` (or ``ratio`` x n) of ``among`` with weights exp(value^power / temperature), without replacement.

    A value is the cached one on ``scale``, taken among the scored items of ``among``, plus ``stale_bonus`` for each
    round since it was computed. Items never scored count as the highest value of the scale, computed before the first
    round. Kept under ``"candidates"``, and the uniformly drawn share ``explore`` of the size under ``"explore"``.
    O(N log N) by the sort of ``scale: rank``; all else is O(N) and a sort of those drawn.

    Args:
        settings: size, ratio (one of them None), temperature, power, scale, explore, stale_bonus.
    """
    weights = _log_weights(_values(known, among, settings), settings["power"], settings["temperature"])
    return with_explorers(known, among, settings, seed, "candidates", partial(top_k, weights))


def _values(known: Known, among: Positions, settings: dict[str, Any]) -> Floats:
    values: Floats = known.score[among]
    scored = ~np.isnan(values)
    scaled = _SCALES[settings["scale"]](values[scored])
    values[~scored] = 1.0 if settings["scale"] == "rank" or not len(scaled) else scaled.max()
    values[scored] = scaled
    if bonus := settings["stale_bonus"]:
        values[scored] += bonus * (known.round - known.scored_round[among][scored])
        # Nobody knows better about an item that was never scored than to look: no bonus of others comes before it.
        values[~scored] += max(0.0, bonus) * (known.round + 1)
    return values


def _log_weights(values: Floats, power: float, temperature: float) -> Floats:
    """sign(v) |v|^power / temperature, in place.

    Powers are taken of v / max|v|, so that nothing overflows whatever the power and the temperature.
    """
    highest = float(max(values.max(initial=0.0), -values.min(initial=0.0)))
    if not highest:
        return values
    values /= highest
    negative = np.signbit(values)
    np.abs(values, out=values)
    if power != 1:
        np.power(values, power, out=values)
    np.negative(values, out=values, where=negative)
    values *= math.exp(min(power * math.log(highest) - math.log(temperature), _LARGEST_EXPONENT))
    return values
