"""The items of a data set as a model takes them, kept on disk where that is not as they are."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Protocol

from tasks import files, registry
from tasks.config_train import TrainConfig
from tasks.datasets.scratch import scratch
from tasks.datasets.store import Items, SplitName, load_info, load_items
from tasks.datasets.texts import Texts
from tasks.errors import ConfigError, DataError
from tasks.models.building import settings_of
from tasks.models.inputs import Inputs
from tasks.rounds import Workspace


class Encoding(Protocol):
    """How a model wants items that are no numbers yet."""

    @property
    def key(self) -> str:
        """Names in a file's name all that the encoding depends on besides the items."""

    @property
    def suffix(self) -> str:
        """Ending of its files."""

    def write(self, target: Path, items: Texts, pool: Texts) -> None:
        """Encode ``items`` into a file; ``pool``: all items that a vocabulary is made of."""

    def open(self, path: Path) -> Inputs | None:
        """Map a file, or None if it is absent, cut short or something else."""

    def shape(self, inputs: Inputs) -> tuple[int, ...]:
        """Of one item, as the model's ``build`` asks for it."""


def encoding_of(train: TrainConfig) -> Encoding | None:
    """The encoding that a model needs, or None if it takes items as they are kept."""
    if train.model not in registry.ENCODINGS:
        return None
    kind, settings = registry.resolve(registry.ENCODINGS, train.model), settings_of(train)
    found: Encoding = kind(**{field.name: getattr(settings, field.name) for field in dataclasses.fields(kind)})
    return found


def check_kind(train: TrainConfig, kind: str) -> None:
    """Refuse a model that does not take items of this kind.

    Raises:
        ConfigError: it does not.
    """
    takes = registry.KINDS.get(train.model, ("images",))
    if kind not in takes:
        fitting = [name for name in registry.MODELS if kind in registry.KINDS.get(name, ("images",))]
        raise ConfigError(
            f"train.model: {train.model} takes {' or '.join(takes)}, and the items are {kind}; choose one of "
            f"{', '.join(fitting)}"
        )


@dataclasses.dataclass(frozen=True)
class Fed:
    """A split as a model takes it."""

    items: Items
    #: Of one item.
    shape: tuple[int, ...]


def load(workspace: Workspace, split: SplitName, train: TrainConfig) -> Fed:
    """The items of a split as the model of ``train`` takes them, encoded anew where the kept file is not whole.

    Raises:
        DataError: the data set is missing, damaged, or not the one that the manifest describes.
    """
    items, info, encoding = load_items(workspace, split), load_info(workspace), encoding_of(train)
    if encoding is None:
        return Fed(items, info.shape)
    path = _path(workspace, split, encoding, info.digest)
    inputs = encoding.open(path)
    if inputs is None or len(inputs) != len(items.ids):
        _write(workspace, encoding, info.digest)
        inputs = encoding.open(path)
        if inputs is None:
            raise DataError(f"{path}: changed while it was written; run the same command again")
    return Fed(Items(items.ids, inputs), encoding.shape(inputs))


def _path(workspace: Workspace, split: SplitName, encoding: Encoding, digest: str) -> Path:
    return workspace.raw / "encoded" / f"{split}-{encoding.key}-{digest}{encoding.suffix}"


def _write(workspace: Workspace, encoding: Encoding, digest: str) -> None:
    """Encode both splits, so that what is found in the pool is found once."""
    pool = load_items(workspace, "pool").array
    splits: dict[SplitName, Texts] = {"pool": pool, "test": load_items(workspace, "test").array}
    for split, items in splits.items():
        path = _path(workspace, split, encoding, digest)
        with scratch(path.parent, ".encoding-") as folder:
            built = folder / path.name
            files.write_atomic(built, partial(encoding.write, items=items, pool=pool))
            built.replace(path)


def encode(texts: Texts, encoding: Encoding, folder: Path) -> Inputs:
    """Some items by themselves, as a pool of their own, in a file of ``folder``."""
    path = folder / f"some{encoding.suffix}"
    encoding.write(path, texts, texts)
    inputs = encoding.open(path)
    assert inputs is not None
    return inputs
