"""CIFAR-10 and CIFAR-100."""

from pathlib import Path
from typing import Any

from tasks.config import DatasetConfig
from tasks.datasets import _torchvision
from tasks.datasets.source import Source, Split
from tasks.task_type import Classification


def load(config: DatasetConfig, places: list[Path], title: str, folder: str, archive: str) -> Source:
    """50,000 items for the pool and 10,000 held out as published; uint8 (3, 32, 32).

    Args:
        config: the data set's part of the configuration.
        places: folders to look in; downloads go to the last one.
        title: torchvision's name of it.
        folder: where it lies once unpacked.
        archive: the published file.

    Raises:
        DataError: it is not found and cannot be downloaded.
    """

    def both(datasets: Any, place: Path, download: bool) -> Any:
        kind = getattr(datasets, title)
        return [kind(place, train=train, download=download) for train in (True, False)]

    train, test = _torchvision.find(config, places, _torchvision.Published(folder, (archive,), both))
    return Source(
        Classification(tuple(train.classes)), (3, 32, 32), _split(config, "train", train), _split(config, "test", test)
    )


def _split(config: DatasetConfig, part: str, dataset: Any) -> Split:
    images = dataset.data.transpose(0, 3, 1, 2)
    return _torchvision.split(config.name, part, dataset.targets, lambda rows: images[rows])
