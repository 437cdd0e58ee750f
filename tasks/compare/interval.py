"""Means and how sure they are."""

import math
import statistics
from collections.abc import Sequence


def half_width(values: Sequence[float]) -> float | None:
    """Half the width of the mean's two-sided 95 % interval, t(0.975; n - 1) s / sqrt(n); None for one value.

    By Student's t distribution, for values that are independent and roughly normal (Student, "The probable error of a
    mean", Biometrika 6, 1908); s is the sample standard deviation with n - 1 in the denominator.
    """
    if len(values) < 2:
        return None
    # The quantile alone; scipy.stats takes a second to load.
    from scipy.special import stdtrit

    quantile = float(stdtrit(len(values) - 1, 0.975))
    return quantile * statistics.stdev(values) / math.sqrt(len(values))
