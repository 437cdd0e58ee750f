"""Figures of paired seeds, as the benchmarks tell them. Not a script."""

import statistics
from collections.abc import Sequence
from typing import Any

from tasks.compare.interval import half_width


def summary(values: Sequence[float], digits: int = 4) -> dict[str, Any]:
    """Mean, sample standard deviation (None of a single value) and the values."""
    deviation = round(statistics.stdev(values), digits) if len(values) > 1 else None
    rounded = [round(value, digits) for value in values]
    return {"mean": round(statistics.mean(values), digits), "std": deviation, "values": rounded}


def difference(mine: Sequence[float], theirs: Sequence[float], digits: int = 4) -> dict[str, Any]:
    """The mean of mine minus theirs, seed by seed, and half the width of its 95 % interval (None of a single pair)."""
    gaps = [one - other for one, other in zip(mine, theirs, strict=True)]
    half = half_width(gaps)
    return {"mean": round(statistics.mean(gaps), digits), "ci95": None if half is None else round(half, digits)}


def spread(ratios: Sequence[float], digits: int = 3) -> dict[str, float]:
    """The mean of the seeds' ratios, the least and the greatest."""
    ends = {"mean": statistics.mean(ratios), "least": min(ratios), "most": max(ratios)}
    return {name: round(value, digits) for name, value in ends.items()}
