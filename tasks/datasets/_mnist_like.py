"""MNIST and the data sets published in its format."""

from pathlib import Path
from typing import Any

from tasks.config import DatasetConfig
from tasks.datasets import _torchvision
from tasks.datasets.source import Source, Split
from tasks.errors import DataError
from tasks.task_type import Classification

_PARTS = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")


def load(config: DatasetConfig, places: list[Path], title: str, classes: tuple[str, ...]) -> Source:
    """60,000 items for the pool and 10,000 held out as published; uint8 (1, 28, 28).

    Args:
        config: the data set's part of the configuration.
        places: folders to look in; downloads go to the last one.
        title: torchvision's name of it, and of its folder.
        classes: in the order of the published labels.

    Raises:
        DataError: it is not found and cannot be downloaded, or its parts do not fit together.
    """

    def both(datasets: Any, folder: Path, download: bool) -> Any:
        kind = getattr(datasets, title)
        return [kind(folder, train=train, download=download) for train in (True, False)]

    archives = tuple(f"{title}/raw/{part}-ubyte.gz" for part in _PARTS)
    marker = f"{title}/raw/{_PARTS[0]}-ubyte"
    train, test = _torchvision.find(config, places, _torchvision.Published(marker, archives, both))
    shape = (1, *train.data.shape[1:])
    return Source(Classification(tuple(classes)), shape, _split(config, "train", train), _split(config, "test", test))


def _split(config: DatasetConfig, part: str, dataset: Any) -> Split:
    images = dataset.data.numpy()[:, None]
    labels = dataset.targets.numpy()
    if len(images) != len(labels):
        raise DataError(f"{config.name}: {len(images)} images but {len(labels)} labels in {part}; fetch the data anew")
    return _torchvision.split(config.name, part, labels, lambda rows: images[rows])
