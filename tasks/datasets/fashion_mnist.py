"""Fashion-MNIST: articles of clothing."""

from pathlib import Path

from tasks.config import DatasetConfig
from tasks.datasets import _mnist_like
from tasks.datasets.source import Source

_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def load(config: DatasetConfig, places: list[Path]) -> Source:
    """60,000 items for the pool and 10,000 held out as published; uint8 (1, 28, 28).

    Raises:
        DataError: it is not found and cannot be downloaded.
    """
    return _mnist_like.load(config, places, "FashionMNIST", _CLASSES)
