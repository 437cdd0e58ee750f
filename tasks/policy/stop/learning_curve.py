"""Extrapolation: the learning curve, at its most hopeful, has too little left to give."""

from tasks.config_policy import LearningCurveRule
from tasks.policy import curve
from tasks.policy.decision import Verdict
from tasks.policy.query_size import choice as query_size
from tasks.policy.situation import Situation


def verdict(situation: Situation, settings: LearningCurveRule) -> Verdict:
    """Holds once, with so much confidence, the fitted curve gains less than ``min_gain`` up to the horizon.

    What it gains at most is the upper end of the interval that holds the share ``confidence`` of the bootstrap's
    curves (tasks/policy/curve.py). A one-sided bound is too tight after few rounds: in simulations of four rounds, that
    of 0.9 was passed by 2 gains in 10.
    """
    points = situation.curve
    if short := curve.missing(points):
        return Verdict(False, curve.too_short(points), {"rounds_missing": short})
    now = situation.attempt[-1].labels
    horizon = _left(situation) if settings.horizon is None else settings.horizon
    expected, _, most = curve.fit(points).gain(now, now + horizon, settings.confidence)
    reason = (
        f"{horizon} more labels are expected to gain {expected:.4f}, at most {most:.4f} with confidence "
        f"{settings.confidence:g}; worth it from {settings.min_gain:g}"
    )
    numbers = {
        "horizon": horizon,
        "gain": round(expected, 6),
        "at_most": round(most, 6),
        "min_gain": settings.min_gain,
    }
    return Verdict(most < settings.min_gain, reason, numbers)


def _left(situation: Situation) -> int:
    """Labels that the loop can still buy: as its bounds allow, and the rounds that are left at the next query size."""
    config, last = situation.config, situation.history[-1]
    budget = config.policy.stop.budget
    bounds = [config.loop.max_labels, budget.labels if budget is not None else None]
    rounds = config.loop.rounds - len(situation.attempt)
    size: int = query_size.choose(situation).value
    left = [bound - last.bought for bound in bounds if bound is not None]
    return max(min(situation.unlabeled, rounds * size, *left), 0)
