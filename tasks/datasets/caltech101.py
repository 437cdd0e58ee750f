"""Caltech-101: photographs of 101 classes, in sizes of their own."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.config import DatasetConfig
from tasks.datasets import _torchvision, decode
from tasks.datasets.holdout import stratified
from tasks.datasets.source import Source, Split
from tasks.task_type import Classification

_HELD_OUT = 0.3
_IMAGES = "caltech101/101_ObjectCategories"


def load(config: DatasetConfig, places: list[Path]) -> Source:
    """All but 30 % for the pool, a fixed stratified choice; uint8 (channels, image_size, image_size).

    Raises:
        DataError: it is not found and cannot be downloaded.
    """
    published = _torchvision.Published(_IMAGES, ("caltech101/caltech-101.zip",), _open)
    dataset = _torchvision.find(config, places, published)
    labels = np.array(dataset.y, np.int64)
    width = len(str(len(labels) - 1))
    ids = [f"caltech101/{number:0{width}d}" for number in range(len(labels))]
    names = [
        f"{dataset.categories[label]}/image_{number:04d}.jpg"
        for label, number in zip(dataset.y, dataset.index, strict=True)
    ]
    pool, test = stratified(ids, labels, round(_HELD_OUT * len(ids)))
    shape = (config.channels, config.image_size, config.image_size)
    kept, held_out = [_split(config, Path(dataset.root), ids, names, labels, positions) for positions in (pool, test)]
    return Source(Classification(tuple(dataset.categories)), shape, kept, held_out)


def _open(datasets: Any, place: Path, download: bool) -> Any:
    return datasets.Caltech101(place, download=download)


def _split(
    config: DatasetConfig,
    root: Path,
    ids: list[str],
    names: list[str],
    labels: npt.NDArray[np.int64],
    positions: npt.NDArray[np.int64],
) -> Split:
    kept = [names[position] for position in positions]
    paths = [str(root / "101_ObjectCategories" / name) for name in kept]
    return Split(
        ids=[ids[position] for position in positions],
        uris=[f"{_IMAGES}/{name}" for name in kept],
        labels=labels[positions],
        read=decode.reader(paths, lambda row: paths[row], config),
    )
