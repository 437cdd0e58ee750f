"""A target accuracy, or R², and how far off it still is."""

import math
from typing import Any

from tasks.config_policy import TargetRule
from tasks.policy import curve
from tasks.policy.decision import Verdict
from tasks.policy.situation import Situation

#: Of the intervals that are told while the target is not reached; nothing is decided by them.
_CONFIDENCE = 0.9


def verdict(situation: Situation, settings: TargetRule) -> Verdict:
    """Holds once policy.metric is at least ``accuracy`` in the last ``patience`` rounds; until then it extrapolates."""
    values = [value for _, value in situation.curve]
    metric, wanted = situation.config.policy.metric, settings.accuracy
    reached = next((run for run, value in enumerate(reversed(values)) if value < wanted), len(values))
    numbers = {
        situation.headline.name: round(values[-1], 6) if values else None,
        "target": wanted,
        "rounds": min(reached, settings.patience),
        "patience": settings.patience,
    }
    if reached >= settings.patience:
        return Verdict(True, f"{metric} {values[-1]:.4f} has reached {wanted:g}{_for(settings.patience)}", numbers)
    if not values:
        return Verdict(False, f"{metric} was not measured yet; 1 round is missing", numbers)
    if reached:
        short = settings.patience - reached
        return Verdict(False, f"{metric} has reached {wanted:g}{_for(reached)}; {short} more to go", numbers)
    way, forecast = _way(situation, wanted)
    return Verdict(False, f"{metric} {values[-1]:.4f} is below {wanted:g}; {way}", {**numbers, **forecast})


def _for(rounds: int) -> str:
    return "" if rounds == 1 else f" in {rounds} rounds one after the other"


def _way(situation: Situation, wanted: float) -> tuple[str, dict[str, Any]]:
    """How many labels the fitted curve needs to the target, or where it levels off below."""
    points = situation.curve
    if short := curve.missing(points):
        return curve.too_short(points), {"rounds_missing": short}
    fitted = situation.fitted
    level, (low, high) = fitted.at(math.inf), fitted.interval(math.inf, _CONFIDENCE)
    numbers: dict[str, Any] = {"levels_off": round(level, 6), "levels_off_interval": [round(low, 6), round(high, 6)]}
    labels, ends = fitted.labels_for(wanted), fitted.labels_interval(wanted, _CONFIDENCE)
    needed = [_whole(value) for value in (labels, *ends)]
    numbers |= {"labels_needed": needed[0], "labels_needed_interval": needed[1:]}
    numbers["out_of_reach"] = labels > situation.pool
    if needed[0] is None:
        return f"out of reach: the fitted curve levels off at {level:.3f} ({low:.3f} to {high:.3f})", numbers
    way = f"the fitted curve gets there with {needed[0]} labels ({_text(needed[1])} to {_text(needed[2])})"
    if labels > situation.pool:
        way += f", and the pool has {situation.pool}"
    return way, numbers


def _whole(labels: float) -> int | None:
    """Labels as a whole number, None for more than anybody will ever have."""
    return math.ceil(labels) if labels < 1e12 else None


def _text(labels: int | None) -> str:
    return "never" if labels is None else str(labels)
