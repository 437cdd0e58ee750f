"""Mean and standard deviation of each channel or column of a pool, from chunks of it."""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


class Moments(Protocol):
    """Takes items in, (n, channels, …)."""

    def add(self, items: npt.NDArray[Any]) -> None:
        """Take in more of them."""

    def found(self) -> tuple[list[float], list[float]]:
        """Mean and population standard deviation of each channel."""


def moments_of(dtype: np.dtype[Any], channels: int) -> Moments:
    """Of bytes on the scale 0..1, rounded to 6 digits; of floats as they are."""
    return _OfBytes(channels) if dtype == np.uint8 else _OfFloats(channels)


class _OfBytes:
    """Counts how often each value occurs, so that the statistics do not depend on the size of a chunk."""

    def __init__(self, channels: int) -> None:
        self._counts = np.zeros((channels, 256), np.int64)

    def add(self, items: npt.NDArray[Any]) -> None:
        for channel, counts in enumerate(self._counts):
            counts += np.bincount(items[:, channel].reshape(-1), minlength=256)

    def found(self) -> tuple[list[float], list[float]]:
        values = np.arange(256) / 255
        total = self._counts.sum(axis=1)
        mean = self._counts @ values / total
        variance = (self._counts * (values - mean[:, None]) ** 2).sum(axis=1) / total
        return mean.round(6).tolist(), np.sqrt(variance).round(6).tolist()


class _OfFloats:
    """Chan, Golub & LeVeque, Algorithms for Computing the Sample Variance, The American Statistician 37 (1983)."""

    def __init__(self, columns: int) -> None:
        self._count, self._mean, self._squares = 0, np.zeros(columns), np.zeros(columns)

    def add(self, items: npt.NDArray[Any]) -> None:
        values = items.astype(np.float64)
        mean, added = values.mean(axis=0), len(values)
        total, shift = self._count + added, mean - self._mean
        self._squares += ((values - mean) ** 2).sum(axis=0) + shift**2 * (self._count * added / total)
        self._mean += shift * (added / total)
        self._count = total

    def found(self) -> tuple[list[float], list[float]]:
        return self._mean.tolist(), np.sqrt(self._squares / self._count).tolist()
