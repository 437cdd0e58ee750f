"""A share of some items, and how sure it is."""

import math
from statistics import NormalDist


def wilson(share: float, items: float, confidence: float) -> tuple[float, float]:
    """The central interval of so much confidence for the share behind an observed one; ``items`` above 0.

    Source: Wilson, Probable Inference, the Law of Succession, and Statistical Inference, JASA 22, 1927.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    middle, scale = share + z**2 / (2 * items), 1 + z**2 / items
    half = z * math.sqrt(share * (1 - share) / items + (z / (2 * items)) ** 2)
    return (middle - half) / scale, (middle + half) / scale
