"""SVHN: house numbers, cropped to one digit each."""

from pathlib import Path
from typing import Any

from tasks.config import DatasetConfig
from tasks.datasets import _torchvision
from tasks.datasets.source import Source, Split
from tasks.task_type import Classification


def load(config: DatasetConfig, places: list[Path]) -> Source:
    """73,257 items for the pool and 26,032 held out as published; uint8 (3, 32, 32).

    Raises:
        DataError: it is not found and cannot be downloaded.
    """
    # The published files are read as they are: there is nothing to unpack.
    published = _torchvision.Published("train_32x32.mat", (), _both)
    train, test = _torchvision.find(config, places, published)
    classes = tuple(str(digit) for digit in range(10))
    return Source(
        Classification(tuple(classes)), (3, 32, 32), _split(config, "train", train), _split(config, "test", test)
    )


def _both(datasets: Any, place: Path, download: bool) -> Any:
    return [datasets.SVHN(place, split=part, download=download) for part in ("train", "test")]


def _split(config: DatasetConfig, part: str, dataset: Any) -> Split:
    images = dataset.data
    return _torchvision.split(config.name, part, dataset.labels, lambda rows: images[rows])
