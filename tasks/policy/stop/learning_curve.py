"""Extrapolation: the learning curve, at its most hopeful, has too little left to give."""

from tasks.config_policy import LearningCurveRule
from tasks.policy import ahead, curve
from tasks.policy.decision import Verdict
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
    horizon = ahead.labels_left(situation) if settings.horizon is None else settings.horizon
    expected, _, most = situation.fitted.gain(now, now + horizon, settings.confidence)
    labels = "1 more label is" if horizon == 1 else f"{horizon} more labels are"
    reason = (
        f"{labels} expected to gain {expected:.4f}, at most {most:.4f} with confidence {settings.confidence:g}; worth "
        f"it from {settings.min_gain:g}"
    )
    if not horizon:
        reason = "the loop is at its end: no labels are left to buy, so there is nothing left to gain"
    numbers = {
        "horizon": horizon,
        "gain": round(expected, 6),
        "at_most": round(most, 6),
        "min_gain": settings.min_gain,
    }
    return Verdict(most < settings.min_gain, reason, numbers)
