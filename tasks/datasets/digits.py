"""scikit-learn's 1,797 handwritten digits of 8x8 pixels; the one data set that needs no file."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from tasks.config import DatasetConfig
from tasks.datasets.holdout import stratified
from tasks.datasets.source import Source, Split
from tasks.task_type import Classification

_HELD_OUT = 500


def load(config: DatasetConfig, places: list[Path]) -> Source:
    """1,297 items for the pool and 500 held out, a fixed stratified choice; uint8 (1, 8, 8)."""
    from sklearn.datasets import load_digits

    published = load_digits()
    # Published as whole numbers from 0 to 16.
    images = np.rint(published.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = published.target.astype(np.int64)
    ids = [f"digits/{number:04d}" for number in range(len(labels))]
    pool, test = stratified(ids, labels, _HELD_OUT)
    return Source(
        task=Classification(tuple(str(digit) for digit in range(10))),
        shape=(1, 8, 8),
        pool=_split(ids, images[pool], labels[pool], pool),
        test=_split(ids, images[test], labels[test], test),
    )


def _split(
    ids: list[str], images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], positions: npt.NDArray[np.int64]
) -> Split:
    return Split(
        ids=[ids[position] for position in positions],
        uris=[f"load_digits#{position}" for position in positions],
        labels=labels,
        read=lambda rows: images[rows],
    )
