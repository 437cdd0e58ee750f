"""The published data sets: found, unpacked, or missed with one clear line."""

import os
import pickle
import shutil
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tasks import files, registry
from tasks.datasets import opening, store
from tasks.datasets.holdout import stratified
from tests.datasets_helpers import begun, built, configuration, names, refused, tree

DATA = os.environ.get("FRUGAL_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="FRUGAL_DATA is not set")


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """No test downloads anything, whatever the machine could reach."""

    def refuse(*args, **options):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.delenv("FRUGAL_DATA", raising=False)


@pytest.fixture
def workspace(tmp_path: Path):
    """A workspace whose loop has begun."""
    return begun(tmp_path / "w")


def idx(path: Path, array) -> None:
    """Write an array in MNIST's format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(header + array.tobytes())


def fashion(folder: Path, train: int = 20, test: int = 12) -> Path:
    """A tiny Fashion-MNIST as torchvision leaves it."""
    raw = folder / "FashionMNIST" / "raw"
    for part, count in (("train", train), ("t10k", test)):
        images = np.arange(count, dtype=np.uint8)[:, None, None].repeat(28, 1).repeat(28, 2)
        idx(raw / f"{part}-images-idx3-ubyte", images)
        idx(raw / f"{part}-labels-idx1-ubyte", (np.arange(count) % 10).astype(np.uint8))
    return folder


def test_fashion_mnist_is_read_where_it_lies(tmp_path):
    workspace = built(tmp_path / "w", name="fashion_mnist", root=str(fashion(tmp_path / "shared")))
    items = store.load_items(workspace, "pool")

    assert items.ids.to_pylist()[:2] == ["train/00", "train/01"]
    assert items.array.shape == (20, 1, 28, 28)
    assert (items.array[7] == 7).all()
    assert store.load_info(workspace).task.classes[9] == "Ankle boot"
    assert pq.read_table(workspace.pool / "test.parquet")["label"].to_pylist() == [*range(10), 0, 1]
    assert names(workspace.raw) == ["arrays"]


def test_labels_that_do_not_fit_the_images_are_refused(workspace, tmp_path):
    folder = fashion(tmp_path / "shared")
    idx(folder / "FashionMNIST" / "raw" / "train-labels-idx1-ubyte", np.zeros(3, np.uint8))
    refused(workspace, "20 images but 3 labels in train", name="fashion_mnist", root=str(folder))


def test_truncated_file_is_refused(workspace, tmp_path):
    folder = fashion(tmp_path / "shared")
    path = folder / "FashionMNIST" / "raw" / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-100])
    refused(workspace, "holds it incomplete or damaged: ", name="fashion_mnist", root=str(folder))


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "cifar100", "svhn", "caltech101"])
def test_absent_set_without_a_network_is_one_line_and_leaves_nothing(workspace, tmp_path, name, capfd):
    (tmp_path / "shared").mkdir()
    raw = workspace.raw
    refused(
        workspace,
        rf"^{name}: not found in {tmp_path}/shared, {raw} \(download failed: .*no network.*set dataset\.root or FRUGAL",
        name=name,
        root=str(tmp_path / "shared"),
    )

    assert capfd.readouterr() == ("", "")
    assert tree(tmp_path / "shared") == {}


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("cifar10", "cifar-10-batches-py/data_batch_1"),
        ("cifar100", "cifar-100-python/train"),
        ("svhn", "train_32x32.mat"),
    ],
)
def test_damaged_set_is_told_from_an_absent_one(workspace, tmp_path, name, file):
    path = tmp_path / "shared" / file
    path.parent.mkdir(parents=True)
    path.write_bytes(b"damaged")
    refused(workspace, rf"{tmp_path}/shared holds it incomplete or damaged", name=name, root=str(tmp_path / "shared"))


def test_damaged_archives_are_named(workspace, tmp_path):
    raw = tmp_path / "shared" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (raw / f"{part}-ubyte.gz").write_bytes(b"damaged")
    refused(workspace, "the archives in .*shared are damaged", name="mnist", root=str(tmp_path / "shared"))


def test_svhn_is_read_where_it_lies(tmp_path, monkeypatch):
    import scipy.io
    from torchvision.datasets import SVHN

    shared = tmp_path / "shared"
    shared.mkdir()
    unchecked = {}
    for part, count in (("train", 12), ("test", 5)):
        images = np.arange(count, dtype=np.uint8) + np.zeros((32, 32, 3, count), np.uint8)
        scipy.io.savemat(shared / f"{part}_32x32.mat", {"X": images, "y": np.arange(count)[:, None] % 10 + 1})
        unchecked[part] = [None, f"{part}_32x32.mat", None]
    monkeypatch.setattr(SVHN, "split_list", unchecked)

    workspace = built(tmp_path / "w", name="svhn", root=str(shared))

    assert (store.load_items(workspace, "pool").array[7] == 7).all()
    # Published class 10 is the digit 0.
    assert pq.read_table(workspace.pool / "oracle.parquet")["label"].to_pylist() == [*range(1, 10), 0, 1, 2]


def test_cifar100_is_unpacked_from_its_archive(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR100

    shared, folder = tmp_path / "shared", tmp_path / "cifar-100-python"
    shared.mkdir()
    folder.mkdir()
    for part, count in (("train", 30), ("test", 10)):
        images = np.arange(count, dtype=np.uint8)[:, None].repeat(3072, 1)
        (folder / part).write_bytes(pickle.dumps({"data": images, "fine_labels": list(range(count))}))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": [f"c{label:02d}" for label in range(100)]}))
    with tarfile.open(shared / "cifar-100-python.tar.gz", "w:gz") as archive:
        archive.add(folder, folder.name)
    monkeypatch.setattr(CIFAR100, "tgz_md5", None)
    monkeypatch.setattr(CIFAR100, "train_list", [["train", None]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", None]])
    monkeypatch.setattr(CIFAR100, "meta", {**CIFAR100.meta, "md5": None})

    workspace = built(tmp_path / "w", name="cifar100", root=str(shared))

    assert store.load_items(workspace, "pool").array.shape == (30, 3, 32, 32)
    assert store.load_info(workspace).task.classes[99] == "c99"
    assert names(workspace.raw) == ["arrays", "cifar-100-python"]
    assert names(shared) == ["cifar-100-python.tar.gz"]


@needs_data
def test_mnist_is_unpacked_from_archives_on_a_read_only_disk(tmp_path, monkeypatch, capfd):
    shared = tmp_path / "shared"
    shutil.copytree(Path(DATA or "") / "MNIST", shared / "MNIST")
    before = set(tree(shared))
    monkeypatch.setenv("FRUGAL_DATA", str(shared))

    workspace = built(tmp_path / "w", name="mnist")

    info = store.load_info(workspace)
    assert (info.items, info.held_out, info.shape) == (60000, 10000, (1, 28, 28))
    assert (info.mean, info.std) == ((0.130660,), (0.308108,))
    assert pq.read_table(workspace.pool / "test.parquet")["label"].to_pylist()[:5] == [7, 2, 1, 0, 4]
    assert store.load_items(workspace, "pool").ids[12].as_py() == "train/00012"
    assert set(tree(shared)) == before
    assert names(workspace.raw) == ["MNIST", "arrays"]
    assert not list((workspace.raw / "MNIST" / "raw").glob("*.gz"))
    assert capfd.readouterr() == ("", "")
    # A second look takes the unpacked files, without the archives.
    shutil.rmtree(shared)
    assert len(opening.open_source(workspace, configuration(name="mnist")).pool.ids) == 60000


@needs_data
def test_cifar10_is_read_where_it_lies(tmp_path):
    unpack = Path(DATA or "") / "cifar10-webp" / "unpack.py"
    subprocess.run([sys.executable, unpack, tmp_path / "shared"], check=True, capture_output=True)

    workspace = built(tmp_path / "w", name="cifar10", root=str(tmp_path / "shared"), limit=1000)

    info = store.load_info(workspace)
    assert info.task.classes[:2] == ("airplane", "automobile")
    assert (info.items, info.held_out, info.shape) == (1000, 10000, (3, 32, 32))
    items = store.load_items(workspace, "test").array
    # The first held-out image, a cat: its first pixel as published.
    assert items[0, :, 0, 0].tolist() == [158, 112, 49]
    assert files.read_table(workspace.pool / "test.parquet")["label"][0].as_py() == 3


@needs_data
def test_caltech101_is_split_by_class(tmp_path):
    kept = ("ant", "wheelchair", "accordion")
    objects = tmp_path / "shared" / "caltech101" / "101_ObjectCategories"
    (objects / "BACKGROUND_Google").mkdir(parents=True)
    counts = dict.fromkeys(kept, 0)
    for row in pq.read_table(next((Path(DATA or "") / "caltech101-small").glob("*.parquet"))).to_pylist():
        if (name := row["name"].split("/")[0]) in counts:
            counts[name] += 1
            image_file = objects / row["name"]
            image_file.parent.mkdir(exist_ok=True)
            image_file.write_bytes(row["image"])

    workspace = built(tmp_path / "w", name="caltech101", root=str(tmp_path / "shared"), image_size=32)

    info = store.load_info(workspace)
    held_out = np.bincount(pq.read_table(workspace.pool / "test.parquet")["label"])
    assert info.task.classes == tuple(sorted(kept))
    assert info.shape == (3, 32, 32)
    assert held_out.sum() == info.held_out == round(0.3 * sum(counts.values()))
    assert np.abs(held_out - [0.3 * counts[name] for name in sorted(kept)]).max() < 1


def test_held_out_choice_is_fixed_for_ever():
    ids = [f"digits/{number:04d}" for number in range(8)]
    pool, test = stratified(ids, np.array([0, 0, 0, 0, 1, 1, 1, 1]), 4)

    assert pool.tolist() == [0, 1, 6, 7]
    assert test.tolist() == [2, 3, 4, 5]


def test_every_registered_data_set_has_its_loader():
    for name in registry.DATASETS:
        assert callable(registry.resolve(registry.DATASETS, name))


def test_loaders_do_not_import_torchvision_by_themselves():
    code = (
        "import sys; from tasks import registry; "
        "[registry.resolve(registry.DATASETS, name) for name in registry.DATASETS]; "
        "assert not {'torch', 'torchvision', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
