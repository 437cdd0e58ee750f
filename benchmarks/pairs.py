"""Figures of paired seeds, as the benchmarks tell them. Not a script."""

import statistics
from collections.abc import Mapping, Sequence
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


def told_mean(cell: Mapping[str, Any] | None, digits: int = 2) -> str:
    """A summary as a table has it."""
    if cell is None:
        return ""
    return f"{cell['mean']:.{digits}f}" + ("" if cell["std"] is None else f" ±{cell['std']:.{digits}f}")


def told_difference(cell: Mapping[str, Any] | None, digits: int = 2) -> str:
    """A difference as a table has it."""
    if cell is None:
        return ""
    return f"{cell['mean']:+.{digits}f}" + ("" if cell["ci95"] is None else f" ±{cell['ci95']:.{digits}f}")


def told_spread(cell: Mapping[str, Any] | None, digits: int = 2) -> str:
    """Ratios as a table has them."""
    if cell is None:
        return ""
    mean, least, most = (f"{cell[name]:.{digits}f}" for name in ("mean", "least", "most"))
    return f"{mean} ({least} to {most})"
