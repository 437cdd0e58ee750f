"""What models are fed: arrays, and items that are none."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from tasks.datasets import numbers
from tasks.datasets.texts import Texts
from tasks.models.bags import BagEncoding, Bags
from tasks.models.inputs import resident, tensor

CPU = torch.device("cpu")
ARRAYS = [
    np.random.default_rng(0).integers(0, 256, (9, 2, 3, 3)).astype(np.uint8),
    np.random.default_rng(0).standard_normal((9, 4), dtype=np.float32),
    np.arange(9, dtype=np.int64)[:, None],
]


class Counted:
    """Items that are no array, and a record of which were asked for."""

    def __init__(self, rows: npt.NDArray[np.int64], asked: list[list[int]]) -> None:
        self.rows, self.asked = rows, asked

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: npt.NDArray[np.int64]) -> "Counted":
        assert rows.dtype == np.int64
        self.asked.append(rows.tolist())
        return Counted(self.rows[rows], self.asked)

    def tensor(self) -> Tensor:
        return torch.from_numpy(self.rows * 10.0)


@pytest.fixture
def bags(tmp_path: Path) -> Bags:
    texts = Texts.of(["a b c", "", "c c", "b a d e", "e"])
    encoding = BagEncoding(buckets=50)
    encoding.write(tmp_path / "bags.arrow", texts, texts)
    found = encoding.open(tmp_path / "bags.arrow")
    assert found is not None
    return found


@pytest.mark.parametrize("items", ARRAYS, ids=lambda items: str(items.dtype))
def test_arrays_become_tensors_of_their_type(items: npt.NDArray[np.generic]) -> None:
    batch = tensor(items[np.array([4, 0, 4])])
    assert batch.numpy().dtype == items.dtype
    assert np.array_equal(batch.numpy(), items[[4, 0, 4]])


def test_other_items_make_their_tensors_themselves() -> None:
    assert tensor(Counted(np.array([3, 1]), [])).tolist() == [30.0, 10.0]


@pytest.mark.parametrize("items", ARRAYS, ids=lambda items: str(items.dtype))
def test_batches_of_resident_arrays_are_their_rows(items: npt.NDArray[np.generic]) -> None:
    batch = resident(items, CPU)(torch.tensor([8, 2, 2, 0]))
    assert batch.numpy().dtype == items.dtype
    assert np.array_equal(batch.numpy(), items[[8, 2, 2, 0]])


def test_resident_arrays_are_copies_even_of_what_is_mapped_read_only(tmp_path: Path) -> None:
    np.save(tmp_path / "items.npy", ARRAYS[1])
    mapped = np.load(tmp_path / "items.npy", mmap_mode="r")
    held = resident(mapped, CPU)
    with (tmp_path / "items.npy").open("r+b") as stream:
        stream.write(bytes((tmp_path / "items.npy").stat().st_size))
    assert not mapped.any()
    assert np.array_equal(held(torch.arange(9)).numpy(), ARRAYS[1])


def test_of_other_items_only_those_of_a_batch_are_asked_for() -> None:
    asked: list[list[int]] = []
    batches = resident(Counted(np.arange(100), asked), CPU)
    assert asked == []
    assert batches(torch.tensor([7, 3])).tolist() == [70.0, 30.0]
    assert batches(torch.tensor([99])).tolist() == [990.0]
    assert asked == [[7, 3], [99]]


def test_batches_of_bags_hold_each_row_s_features(bags: Bags) -> None:
    batch = resident(bags, CPU)(torch.tensor([3, 1, 0]))
    assert batch.shape == (3, bags.width)
    offsets, features = batch.crow_indices().tolist(), batch.col_indices().tolist()
    for place, row in enumerate((3, 1, 0)):
        expected = bags.features[bags.offsets[row] : bags.offsets[row + 1]].tolist()
        assert features[offsets[place] : offsets[place + 1]] == expected


# Numbers on their way


def test_numbers_are_standardised_and_clipped_smoothly() -> None:
    rows = np.array([[1.0, 5.0, 7.0], [3.0, -1.0, 7.0], [1e6, 2.0, 8.0]], np.float32)
    mean, std = (2.0, 2.0, 7.0), (1.0, 4.0, 0.0)
    found = numbers.normalise(torch.from_numpy(rows), mean, std)
    standard = np.array([[-1.0, 0.75, 0.0], [1.0, -0.75, 0.0], [1e6 - 2, 0.0, 0.0]])
    np.testing.assert_allclose(found.numpy(), standard / np.sqrt(1 + (standard / 3) ** 2), rtol=1e-5)
    assert found.dtype == torch.float32
    assert found.abs().max() <= 3
    # A column in which all of the pool is alike says nothing, whatever another item has there.
    assert (found[:, 2] == 0).all()
    assert rows[2, 0] == 1e6


def test_statistics_first_used_without_gradients_serve_with_them() -> None:
    mean, std = (0.25, 0.5), (3.0, 7.0)
    with torch.inference_mode():
        numbers.normalise(torch.ones(1, 2), mean, std)
    leaf = torch.ones(1, 2, requires_grad=True)
    numbers.normalise(leaf, mean, std).sum().backward()
    assert leaf.grad is not None
    assert (leaf.grad > 0).all()
