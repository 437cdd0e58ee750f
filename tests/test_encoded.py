"""Items as a model takes them, where that is not as they are kept: encoded once, and never mistaken for others."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.config_train import TrainConfig
from tasks.datasets.store import load_items
from tasks.errors import DiskFullError
from tasks.models import encoded
from tasks.models.bags import BagEncoding, Bags
from tasks.models.characters import CharacterEncoding
from tasks.rounds import Workspace
from tests.datasets_helpers import built, names, table, tree
from tests.model_helpers import digits_workspace

POOL = [("a good day", "pos"), ("a bad day", "neg"), ("day after day", "pos"), ("bad", "neg")]
TEST = [("a good night", "pos"), ("night", "neg")]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A pool of four texts, and two held out, one of which has no word of the pool."""
    table(tmp_path / "train.csv", ("text", "label"), *POOL)
    table(tmp_path / "test.csv", ("text", "label"), *TEST)
    return built(tmp_path / "w", name="texts", root=str(tmp_path))


def fasttext(**settings: Any) -> TrainConfig:
    return TrainConfig(model="fasttext", fasttext={"buckets": 50} | settings)


def vdcnn(length: int = 60) -> TrainConfig:
    return TrainConfig(model="vdcnn9", vdcnn={"length": length})


def folder(workspace: Workspace) -> Path:
    return workspace.raw / "encoded"


def only_file(workspace: Workspace) -> Path:
    [path] = folder(workspace).glob("pool-*")
    return path


def bag(bags: Bags, row: int) -> list[int]:
    return bags.features[bags.offsets[row] : bags.offsets[row + 1]].tolist()


def fed(workspace: Workspace, split: Any, settings: TrainConfig) -> Any:
    return encoded.load(workspace, split, settings).items.array


def test_characters_are_those_of_the_texts_by_their_ids(workspace: Workspace, tmp_path: Path) -> None:
    found, items = encoded.load(workspace, "pool", vdcnn()), load_items(workspace, "pool")
    assert found.shape == (60,)
    assert found.items.ids.equals(items.ids)
    CharacterEncoding(60).write(tmp_path / "expected.npy", items.array, items.array)
    assert np.array_equal(found.items.array, np.load(tmp_path / "expected.npy"))


def test_bags_have_the_shape_of_all_features(workspace: Workspace) -> None:
    found = encoded.load(workspace, "pool", fasttext())
    assert isinstance(found.items.array, Bags)
    assert found.shape == (found.items.array.width,)
    assert len(found.items.array) == 4


@pytest.mark.parametrize("settings", [fasttext(), vdcnn()], ids=["fasttext", "vdcnn9"])
def test_a_file_that_is_whole_is_not_written_again(
    workspace: Workspace, settings: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed(workspace, "pool", settings)
    for kind in (BagEncoding, CharacterEncoding):
        monkeypatch.setattr(kind, "write", lambda *arguments: pytest.fail("encoded again"))
    assert len(fed(workspace, "pool", settings)) == 4


@pytest.mark.parametrize("settings", [fasttext(), vdcnn()], ids=["fasttext", "vdcnn9"])
@pytest.mark.parametrize("damage", ["absent", "cut", "half", "empty", "foreign", "of others"])
def test_a_file_that_is_not_whole_is_written_again(workspace: Workspace, settings: TrainConfig, damage: str) -> None:
    fed(workspace, "pool", settings)
    path = only_file(workspace)
    before = path.read_bytes()
    path.unlink()
    match damage:
        case "cut":
            path.write_bytes(before[:-1])
        case "half":
            path.write_bytes(before[: len(before) // 2])
        case "empty":
            path.touch()
        case "foreign":
            path.write_text("neither of the two")
        case "of others":
            # The held-out set's, which has fewer items.
            [other] = [found for found in folder(workspace).iterdir() if found.name.startswith("test-")]
            other.replace(path)
    assert len(fed(workspace, "pool", settings)) == 4
    assert path.read_bytes() == before
    assert names(folder(workspace)) == sorted([path.name, path.name.replace("pool-", "test-")])


def test_other_settings_and_splits_have_files_of_their_own(workspace: Workspace) -> None:
    for settings in (fasttext(), fasttext(min_count=2), fasttext(ngrams=1), fasttext(buckets=51), vdcnn(), vdcnn(70)):
        fed(workspace, "pool", settings)
    # Each for the pool and the held-out set.
    assert len(names(folder(workspace))) == 12
    fed(workspace, "test", fasttext())
    # Of these the encoded texts do not depend.
    fed(workspace, "pool", fasttext(dim=3))
    fed(workspace, "pool", TrainConfig(model="vdcnn29", vdcnn={"length": 60}))
    assert len(names(folder(workspace))) == 12


def test_another_pool_has_files_of_its_own(workspace: Workspace, tmp_path: Path) -> None:
    fed(workspace, "pool", fasttext())
    table(tmp_path / "train.csv", ("text", "label"), *POOL[:3], ("worse", "neg"))
    other = built(tmp_path / "other", name="texts", root=str(tmp_path))
    fed(other, "pool", fasttext())
    assert only_file(other).name != only_file(workspace).name


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(28, "No space left on device")])
@pytest.mark.parametrize("kind", [BagEncoding, CharacterEncoding])
def test_encoding_that_is_killed_in_the_middle_leaves_nothing(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, kind: Any, failure: BaseException
) -> None:
    def die(self: Any, target: Path, items: Any, pool: Any) -> None:
        target.write_bytes(b"the first half")
        raise failure

    before = tree(workspace.root)
    with monkeypatch.context() as patch:
        patch.setattr(kind, "write", die)
        with pytest.raises(KeyboardInterrupt if isinstance(failure, KeyboardInterrupt) else DiskFullError):
            fed(workspace, "pool", fasttext() if kind is BagEncoding else vdcnn())
    assert tree(workspace.root) == before


def test_leavings_of_killed_encodings_are_removed(workspace: Workspace) -> None:
    stale = folder(workspace) / ".encoding-dead"
    stale.mkdir(parents=True)
    (stale / "part").write_bytes(b"x")
    fed(workspace, "pool", vdcnn())
    assert [name for name in names(folder(workspace)) if name.startswith(".")] == []


def test_held_out_texts_are_encoded_by_what_the_pool_has(workspace: Workspace) -> None:
    settings = fasttext(ngrams=1)
    pool, test = fed(workspace, "pool", settings), fed(workspace, "test", settings)
    assert test.width == pool.width
    a, good, _, end = bag(pool, 0)
    # The pool has no night.
    assert bag(test, 0) == [a, good, end]
    assert bag(test, 1) == [end]


def test_held_out_texts_may_be_encoded_first(workspace: Workspace) -> None:
    test = fed(workspace, "test", fasttext())
    pool = fed(workspace, "pool", fasttext())
    assert test.width == pool.width
    assert bag(test, 0)[:2] == bag(pool, 0)[:2]


def test_models_without_an_encoding_take_items_as_they_are_kept(tmp_path: Path) -> None:
    workspace = digits_workspace(tmp_path)
    found, items = encoded.load(workspace, "pool", TrainConfig(model="linear")), load_items(workspace, "pool")
    assert found.shape == (1, 8, 8)
    assert found.items.ids.equals(items.ids)
    assert np.array_equal(found.items.array, items.array)
    assert not folder(workspace).exists()


def test_the_encoding_of_a_model_has_its_settings() -> None:
    assert encoded.encoding_of(fasttext(min_count=3, ngrams=4)) == BagEncoding(3, 4, 50)
    assert encoded.encoding_of(vdcnn(77)) == CharacterEncoding(77)
    assert encoded.encoding_of(TrainConfig(model="mlp")) is None
