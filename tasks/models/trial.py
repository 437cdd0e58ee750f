"""Items such as a data set holds, for whatever has to try a model before the data set is decoded."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tasks.config_train import TrainConfig
from tasks.datasets.source import Kind, Source
from tasks.datasets.store import load_info, load_items
from tasks.datasets.texts import Texts
from tasks.models.bags import BagEncoding
from tasks.models.encoded import check_kind, encode, encoding_of
from tasks.models.inputs import Inputs
from tasks.rounds import Workspace

#: Items of the pool that stand for all of them where random ones would not do.
_SAMPLE = 2000


@dataclass(frozen=True)
class Trial:
    """What is known of a data set's items."""

    kind: Kind
    #: Of one item as it is kept.
    shape: tuple[int, ...]
    #: Some of the pool where items are texts.
    sample: Texts | None = field(default=None, compare=False)

    @property
    def means(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Means and standard deviations such as a view has them."""
        channels = self.shape[0] if self.shape else 0
        middle, spread = (0.5, 0.25) if self.kind == "images" else (0.0, 1.0)
        return (middle,) * channels, (spread,) * channels

    def fed(self, train: TrainConfig, count: int) -> tuple[Inputs, tuple[int, ...]]:
        """So many items as the model of ``train`` takes them, and the shape of one.

        Raises:
            ConfigError: the model does not take items of this kind.
        """
        check_kind(train, self.kind)
        draw, encoding = np.random.default_rng(0), encoding_of(train)
        if encoding is not None and self.sample is not None:
            rows: npt.NDArray[np.int64] = np.arange(count) % len(self.sample)
            with tempfile.TemporaryDirectory() as folder:
                found = encode(self.sample, encoding, Path(folder))
                return found[rows], encoding.shape(found)
        if self.kind == "numbers":
            return draw.standard_normal((count, *self.shape), dtype=np.float32), self.shape
        return draw.integers(0, 256, (count, *self.shape), dtype=np.uint8), self.shape


def of_shape(shape: tuple[int, ...]) -> Trial:
    """Of images, of which no more is known."""
    return Trial("images", shape)


def of_source(source: Source) -> Trial:
    """Of a data set that has been opened."""
    if source.kind != "texts":
        return Trial(source.kind, source.shape)
    some: list[str] = source.pool.read(np.arange(min(_SAMPLE, len(source.pool.ids))))
    return Trial(source.kind, source.shape, Texts.of(some))


def of_workspace(workspace: Workspace) -> Trial:
    """Of a workspace's pool.

    Raises:
        DataError: it is missing or damaged.
    """
    info = load_info(workspace)
    if info.kind != "texts":
        return Trial(info.kind, info.shape)
    items = load_items(workspace, "pool")
    return Trial(info.kind, info.shape, items.array[np.arange(min(_SAMPLE, len(items.ids)))])


def check_pool(train: TrainConfig, source: Source) -> None:
    """Refuse a pool of which nothing would be left for the model of ``train``.

    Raises:
        DataError: nothing would.
    """
    encoding: object = encoding_of(train)
    # Whatever else there is, characters are left of every text.
    if isinstance(encoding, BagEncoding) and source.kind == "texts":
        encoding.check(Texts.of(source.pool.read(np.arange(len(source.pool.ids)))))
