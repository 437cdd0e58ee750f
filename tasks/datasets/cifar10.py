"""CIFAR-10: small photographs of ten classes."""

from pathlib import Path

from tasks.config import DatasetConfig
from tasks.datasets import _cifar
from tasks.datasets.source import Source


def load(config: DatasetConfig, places: list[Path]) -> Source:
    """50,000 items for the pool and 10,000 held out as published; uint8 (3, 32, 32).

    Raises:
        DataError: it is not found and cannot be downloaded.
    """
    return _cifar.load(config, places, "CIFAR10", "cifar-10-batches-py", "cifar-10-python.tar.gz")
