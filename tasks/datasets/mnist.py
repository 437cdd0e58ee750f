"""MNIST: handwritten digits."""

from pathlib import Path

from tasks.config import DatasetConfig
from tasks.datasets import _mnist_like
from tasks.datasets.source import Source


def load(config: DatasetConfig, places: list[Path]) -> Source:
    """60,000 items for the pool and 10,000 held out as published; uint8 (1, 28, 28).

    Raises:
        DataError: it is not found and cannot be downloaded.
    """
    return _mnist_like.load(config, places, "MNIST", tuple(str(digit) for digit in range(10)))
