"""Models away from their workspace: they say of items what INFER says of them."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flows.record.tracking_model import signature
from tasks import registry
from tasks.datasets.store import load_info, load_items
from tasks.errors import DataError
from tasks.infer.scoring import score_items
from tasks.models import device, encoded, predictor, stored
from tasks.models.predictor import Predictor
from tasks.rounds import Workspace, load_config
from tests.test_modalities import MODALITIES, begun, finish


@pytest.fixture(scope="module", params=MODALITIES, ids=lambda modality: modality.__name__)
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A finished loop of each modality, in which a proxy selects: there are two models in its last round."""
    made: Callable[[Path], dict[str, Any]] = request.param
    workspace = begun(tmp_path_factory.mktemp("modality"), made)
    finish(workspace)
    return workspace


def packed(workspace: Workspace, which: str, target: Path) -> Path:
    """All that a predictor needs of the last round's model, in a folder of its own."""
    settings, folder = load_config(workspace), workspace.round_dir(2)
    train = settings.train if which == "target" else settings.selecting
    for path in predictor.pack(workspace, folder / "target" if which == "target" else folder, train, target):
        if path.parent != target:
            shutil.copy(path, target)
    return target


@pytest.mark.parametrize("which", ["proxy", "target"])
def test_labels_and_their_certainty_are_those_of_infer(finished: Workspace, tmp_path: Path, which: str) -> None:
    settings, items = load_config(finished), load_items(finished, "pool")
    train = settings.train if which == "target" else settings.selecting
    folder = finished.round_dir(2) / "target" if which == "target" else finished.round_dir(2)
    models, view, _ = stored.read(folder, device.resolve("auto"))
    rows = np.arange(len(items.ids))
    plain = next(iter(registry.ACQUISITIONS_OF[view.task.name]))
    wanted = score_items(models, view, encoded.load(finished, "pool", train).items.array, rows, plain, 512)
    raw = items.array.tolist() if load_info(finished).kind == "texts" else np.array(items.array)
    found = Predictor(packed(finished, which, tmp_path)).predict(raw)
    assert found["label"] == [view.task.told(label) for label in wanted.proposal]
    np.testing.assert_array_equal(found[view.task.certainty], wanted.certainty)
    assert list(found)[1:] == predictor.numbers(view.task)
    assert [column.name for column in signature(load_info(finished)).outputs] == list(found)


def test_what_a_model_does_not_take_is_told(finished: Workspace, tmp_path: Path) -> None:
    model = Predictor(packed(finished, "target", tmp_path))
    for wrong in (np.zeros((2, 3, 5, 7, 1), np.uint8), pd.DataFrame({"a": [1], "b": [2]}), [1, 2]):
        with pytest.raises(DataError, match=r"^items are "):
            model.predict(wrong)


def test_no_items_have_no_labels(finished: Workspace, tmp_path: Path) -> None:
    info = load_info(finished)
    none = [] if info.kind == "texts" else np.zeros((0, *info.shape), info.dtype)
    assert Predictor(packed(finished, "target", tmp_path)).predict(none)["label"] == []


def test_a_vocabulary_that_is_damaged_is_told(tmp_path: Path) -> None:
    workspace = begun(tmp_path, MODALITIES[1])
    finish(workspace)
    folder = tmp_path / "model"
    folder.mkdir()
    (packed(workspace, "proxy", folder) / "vocabulary.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(DataError, match=r"vocabulary\.npz: no vocabulary that can be read"):
        Predictor(folder)
