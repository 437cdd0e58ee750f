"""A stored model away from its workspace: from items as users have them to labels, as INFER proposes them."""

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tasks import files, registry
from tasks.config_train import TrainConfig
from tasks.datasets.store import load_items
from tasks.datasets.texts import Texts
from tasks.errors import DataError
from tasks.models import device, encoded, stored
from tasks.models.bags import BagEncoding
from tasks.models.forward import predict
from tasks.models.inputs import Inputs
from tasks.models.vocabulary import Vocabulary
from tasks.rounds import Workspace
from tasks.task_type import Classification, TaskType

#: How texts are encoded, and the features of the pool where a model goes by them.
_ENCODING, _VOCABULARY = "encoding.json", "vocabulary.npz"


def pack(workspace: Workspace, folder: Path, train: TrainConfig, target: Path) -> list[Path]:
    """All files that a ``Predictor`` needs of the model in ``folder``; what is not there yet is made in ``target``.

    Raises:
        DataError: a file of the model is missing or damaged, or the pool's texts are.
    """
    stored.read_card(folder)
    paths = [folder / name for name in stored.FILES]
    encoding: Any = encoded.encoding_of(train)
    if encoding is not None:
        files.write_json(target / _ENCODING, dataclasses.asdict(encoding))
        paths.append(target / _ENCODING)
    if isinstance(encoding, BagEncoding):
        encoding.vocabulary(load_items(workspace, "pool").array).write(target / _VOCABULARY)
        paths.append(target / _VOCABULARY)
    return paths


def numbers(task: TaskType) -> list[str]:
    """The numbers that are predicted beside a label, by their names, in order."""
    each = [f"p({name})" for name in task.classes] if isinstance(task, Classification) else []
    return [task.certainty, *each]


class Predictor:
    """A model that has been read, on the device that this machine has."""

    def __init__(self, folder: Path) -> None:
        """Read the files that ``pack`` named, from one folder.

        Raises:
            DataError: one is missing or damaged.
        """
        self._models, self._view, card = stored.read(folder, device.resolve("auto"))
        self._shape = tuple(card["shape"])
        self._encode = _encoder(folder, card)

    def predict(self, items: Any) -> dict[str, Any]:
        """Columns by name, a row for each item: ``label``, then ``numbers``. Several models predict as their mixture.

        Args:
            items: texts as strings, in a list or in one column of a frame; images as uint8 (n, channels, height,
                width), and rows as float32 (n, columns), as the data set keeps them.

        Raises:
            DataError: these are no items that the model takes.
        """
        task = self._view.task
        taken = self._encode(_strings(items)) if self._encode else self._array(items)
        if not len(taken):
            return {name: [] for name in ("label", *numbers(task))}
        each = [predict(model, taken, self._view) for model in self._models]
        predictions = each[0] if len(each) == 1 else task.mixed(each)
        labels, certainty = task.proposed(predictions)
        columns = [certainty]
        if isinstance(task, Classification):
            columns += list(task.probabilities(predictions).astype(np.float64).T)
        return {"label": [task.told(label) for label in labels], **dict(zip(numbers(task), columns, strict=True))}

    def _array(self, items: Any) -> Inputs:
        array = np.asarray(items)
        # Images may be larger than the model sees them; the view averages them down.
        if array.ndim != len(self._shape) + 1 or array.shape[1] != self._shape[0] or array.dtype.kind not in "uif":
            wanted = ", ".join(map(str, ("n", *self._shape)))
            raise DataError(f"items are {array.dtype} of the shape {array.shape}; the model takes ({wanted})")
        return np.ascontiguousarray(array, np.uint8 if len(self._shape) == 3 else np.float32)


def _encoder(folder: Path, card: dict[str, Any]) -> Callable[[Texts], Inputs] | None:
    if card["model"] not in registry.ENCODINGS:
        return None
    kind = registry.resolve(registry.ENCODINGS, card["model"])
    encoding: Any = kind(**files.read_json(folder / _ENCODING))
    if isinstance(encoding, BagEncoding):
        known = Vocabulary.read(folder / _VOCABULARY)
        return lambda texts: encoding.bags(texts, known)

    def encode(texts: Texts) -> Inputs:
        with tempfile.TemporaryDirectory() as place:
            return encoded.encode(texts, encoding, Path(place))

    return encode


def _strings(items: Any) -> Texts:
    if isinstance(items, pd.DataFrame) and len(items.columns) == 1:
        items = items.iloc[:, 0]
    found = [items] if isinstance(items, str) else list(items)
    if isinstance(items, pd.DataFrame) or not all(isinstance(item, str) for item in found):
        raise DataError("items are no texts; the model takes strings, in a list or in one column of a frame")
    return Texts.of(found)
