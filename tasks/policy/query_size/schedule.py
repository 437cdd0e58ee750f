"""Query sizes as shares of the pool, round by round."""

import math
from fractions import Fraction

from tasks.policy.decision import Choice
from tasks.policy.situation import Situation


def choose(situation: Situation) -> Choice:
    """Round i of an attempt, from 0, brings the labels to the sum of ``shares[0..i]`` of the pool; the last repeats.

    Sums are rounded, not sizes, so that the sizes add up; one label at least.

    Source: the default shares are those of Coleman et al., Selection via Proxy (ICLR 2020), section 4: 2 %, 8 %, and
    10 % from then on.
    """
    shares, done = situation.config.policy.schedule.shares, len(situation.attempt)
    size = _rounded(_sum(shares, done + 1) * situation.pool) - _rounded(_sum(shares, done) * situation.pool)
    share = shares[min(done, len(shares) - 1)]
    reason = f"policy.schedule.shares: {share:g} of the pool"
    return Choice(max(size, 1), reason, {"share": share, "pool": situation.pool})


def _sum(shares: tuple[float, ...], rounds: int) -> Fraction:
    # As the shares were written: 0.1 is no sum of powers of two, and errors would add up.
    written = [Fraction(str(share)) for share in shares[:rounds]]
    return sum(written, Fraction(0)) + max(rounds - len(shares), 0) * Fraction(str(shares[-1]))


def _rounded(labels: Fraction) -> int:
    return math.floor(labels + Fraction(1, 2))
