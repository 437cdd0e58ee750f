"""Numbers and JSON values as a reader meets them; what is missing or not finite is a dash."""

import json
import math
from typing import Any, TypeGuard

from tasks.task_type.headline import Headline

NOTHING = "\N{EN DASH}"
#: Between a number and its unit no line may break.
_GAP = "\N{NO-BREAK SPACE}"
_MINUS = "\N{MINUS SIGN}"
#: Characters of a value; what policies write of their own is shorter.
_LONGEST = 400


def percent(value: float | None, digits: int = 1) -> str:
    """A share as a percentage, such as "98.4 %"; what would be rounded to nothing is "< 0.1 %"."""
    if not _is_number(value):
        return NOTHING
    least = 10.0**-digits
    return f"<{_GAP}{least:.{digits}f}{_GAP}%" if 0 < 100 * value < least / 2 else f"{100 * value:.{digits}f}{_GAP}%"


def score(value: float | None, digits: int = 1, *, of: Headline) -> str:
    """A headline metric: a share in per cent, an R² with two digits more."""
    return percent(value, digits) if of.share else decimal(value, digits + 2)


def gain(value: float | None, *, of: Headline) -> str:
    """A difference of headline metrics, with its sign: percentage points of a share, and a plain number of an R²."""
    if of.share or not _is_number(value):
        return points(value)
    return f"{value:+z.4f}".replace("-", _MINUS)


def points(value: float | None) -> str:
    """A difference of shares in percentage points, with its sign."""
    return NOTHING if not _is_number(value) else f"{100 * value:+z.1f}".replace("-", _MINUS)


def count(value: float | None) -> str:
    """A number of things."""
    return NOTHING if not _is_number(value) else f"{value:,.0f}"


def amount(value: float | None) -> str:
    """An amount of money: cents, and below ten of them two digits that tell something, to the millionth."""
    if not _is_number(value):
        return NOTHING
    if abs(value) >= 0.0995 or abs(value) < 5e-7:
        return f"{value:z,.2f}"
    return f"{float(f'{value:.2g}'):.7f}".rstrip("0")


def duration(seconds: float | None) -> str:
    """Seconds, minutes or hours, whichever reads best."""
    if not _is_number(seconds):
        return NOTHING
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f}{_GAP}{unit}"
    if 0 < seconds < 0.05:
        return f"<{_GAP}0.1{_GAP}s"
    return f"{seconds:z.1f}{_GAP}s"


def decimal(value: float | None, digits: int = 3) -> str:
    """A plain number."""
    return NOTHING if not _is_number(value) else f"{value:.{digits}f}"


def number(value: float | None) -> str:
    """A number in somebody's unit, with four digits that tell something, and all of a larger one's whole part."""
    if not _is_number(value):
        return NOTHING
    if value and not 1e-6 <= abs(value) < 1e15:
        return f"{value:.3e}".replace("-", _MINUS)
    digits = max(3 - math.floor(math.log10(abs(value))), 0) if value else 0
    # A year has no comma.
    text = f"{value:z,.{digits}f}" if abs(value) >= 1e4 else f"{value:z.{digits}f}"
    return text.replace("-", _MINUS)


def change(actual: float | None, forecast: float | None) -> str:
    """How far an actual number lies from its forecast, in per cent of the forecast."""
    if not _is_number(actual) or not _is_number(forecast) or not forecast:
        return NOTHING
    percent_ = 100 * (actual / forecast - 1)
    return f"{percent_:+z.{0 if abs(percent_) >= 1 else 1}f}{_GAP}%".replace("-", _MINUS)


def value(of: Any) -> str:
    """A JSON value in words; a long one is cut."""
    if of is None:
        return "none"
    if isinstance(of, bool):
        return "yes" if of else "no"
    if isinstance(of, float):
        return f"{of:.6g}" if math.isfinite(of) else NOTHING
    if isinstance(of, list):
        text = ", ".join(value(item) for item in of) or "none"
    elif isinstance(of, dict):
        text = ", ".join(f"{key} {value(item)}" for key, item in of.items()) or "none"
    else:
        text = of if isinstance(of, str) else json.dumps(of)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _is_number(of: Any) -> TypeGuard[float]:
    return isinstance(of, int | float) and math.isfinite(of)
