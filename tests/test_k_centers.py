import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks import registry
from tasks.errors import FrugalError
from tasks.select import farthest_first as module
from tasks.select.choice import Candidates, Chosen, Embedded
from tasks.select.farthest_first import farthest_first, squared_distances

Features = npt.NDArray[np.float32]


def picks(points: Features, centers: Features, size: int) -> list[int]:
    return farthest_first(torch.from_numpy(points), torch.from_numpy(centers), size).tolist()


def textbook(points: Features, centers: Features, size: int) -> list[int]:
    """One pick at a time, every distance in float64, nothing skipped."""

    def to(center: Features) -> npt.NDArray[np.float64]:
        return squared_distances(torch.from_numpy(points), torch.from_numpy(center[None])).numpy()

    nearest, order = np.full(len(points), np.inf), []
    for center in centers:
        nearest = np.minimum(nearest, to(center))
    while len(order) < size:
        mean = points.astype(np.float64).mean(axis=0)
        best = int((nearest if order or len(centers) else to(mean)).argmax())
        order.append(best)
        nearest = np.minimum(nearest, to(points[best]))
        nearest[order] = -1
    return order


def pool(seed: int) -> tuple[Features, Features, int]:
    """Points, centers and a size; clustered, integer-valued with many ties, far from 0, or with one far outlier."""
    rng = np.random.default_rng(seed)
    count, width, labeled = int(rng.integers(1, 48)), int(rng.integers(1, 20)), int(rng.integers(0, 8))
    rows = (
        rng.standard_normal((count + labeled, width))
        + 3 * rng.standard_normal((4, width))[rng.integers(0, 4, count + labeled)]
    )
    kind = seed % 5
    if kind == 1:
        rows = rng.integers(0, 3, rows.shape)
    elif kind == 2:
        rows += 1e4
    elif kind == 3:
        rows[0] *= 1e6
    elif kind == 4:
        rows = rows[rng.integers(0, max(1, count // 3), len(rows))]
    rows = rows.astype(np.float32)
    return rows[:count], rows[count:], count if seed % 3 == 0 else int(rng.integers(0, count + 1))


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that small pools too take many rounds and steps."""
    monkeypatch.setattr(module, "_STEP", 3)
    monkeypatch.setattr(module, "_SLICE", {"cpu": 7})
    monkeypatch.setattr(module, "_SMALLEST_BLOCK", 2)
    monkeypatch.setattr(module, "_LARGEST_BLOCK", {"cpu": 8})
    monkeypatch.setattr(module, "_AHEAD", 9)
    monkeypatch.setattr(module, "_PAIRS", {"cpu": 4})


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("first", range(0, 200, 50))
def test_picks_in_small_blocks_are_those_of_the_textbook(first: int) -> None:
    for seed in range(first, first + 50):
        points, centers, size = pool(seed)
        assert picks(points, centers, size) == textbook(points, centers, size), seed


@settings(max_examples=30, deadline=None)
@given(st.integers(200, 10**9))
def test_picks_are_those_of_the_textbook(seed: int) -> None:
    points, centers, size = pool(seed)
    assert picks(points, centers, size) == textbook(points, centers, size)


@pytest.mark.parametrize("labeled", [0, 300])
def test_a_pool_of_several_steps_and_blocks(labeled: int) -> None:
    rng = np.random.default_rng(0)
    rows = (rng.standard_normal((3000 + labeled, 16)) + rng.integers(0, 9, (3000 + labeled, 1))).astype(np.float32)
    assert picks(rows[labeled:], rows[:labeled], 500) == textbook(rows[labeled:], rows[:labeled], 500)


def test_picks_in_half_precision_are_those_of_the_rounded_features() -> None:
    points, centers, size = pool(5)
    halves = [torch.from_numpy(part).to(torch.float16) for part in (points, centers)]
    rounded = [part.to(torch.float32).numpy() for part in halves]
    assert farthest_first(*halves, size).tolist() == textbook(*rounded, size)


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e18, 1e30])
def test_features_whose_squares_leave_float32(scale: float) -> None:
    points, centers, size = pool(0)
    points, centers = points * np.float32(scale), centers * np.float32(scale)
    assert picks(points, centers, size) == textbook(points, centers, size)


def test_permuted_points_give_the_same_picks() -> None:
    points, centers, _ = pool(0)
    order = np.random.default_rng(1).permutation(len(points))
    again = picks(points[order], centers, len(points))
    assert order[again].tolist() == picks(points, centers, len(points))


def test_points_that_are_all_equal_are_picked_in_order() -> None:
    points = np.full((1000, 2), 0.1, dtype=np.float32)
    assert picks(points, points[:1], 1000) == list(range(1000))
    assert picks(points, points[:0], 1000) == list(range(1000))


def test_points_that_equal_a_center_come_last() -> None:
    points = np.array([[1], [0], [5], [0], [1]], dtype=np.float32)
    assert picks(points, np.zeros((1, 1), dtype=np.float32), 5) == [2, 0, 1, 3, 4]


def test_first_pick_without_centers_is_farthest_from_the_mean() -> None:
    assert picks(np.array([[0], [1], [2], [9]], dtype=np.float32), np.empty((0, 1), dtype=np.float32), 2) == [3, 0]


@pytest.mark.parametrize("size", [-1, 4])
def test_a_size_that_the_points_do_not_allow_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"size is {size}, but there are 3 points"):
        picks(np.zeros((3, 2), dtype=np.float32), np.zeros((0, 2), dtype=np.float32), size)


def test_centers_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in dtype, device or number of features"):
        picks(np.zeros((3, 2), dtype=np.float32), np.zeros((1, 3), dtype=np.float32), 1)


def test_a_distance_does_not_depend_on_the_pairs_beside_it() -> None:
    left, right = torch.randn(2, 40, 77, generator=torch.Generator().manual_seed(0))
    together = squared_distances(left, right)
    assert torch.equal(together, squared_distances(right, left))
    assert together.tolist() == [float(squared_distances(left[i : i + 1], right[i : i + 1])) for i in range(40)]
    np.testing.assert_allclose(together, (left.double() - right.double()).square().sum(dim=1), rtol=1e-14)


def test_rounding_error_bound_holds_beside_exact_distances() -> None:
    rng = np.random.default_rng(2)
    points = torch.from_numpy(
        (rng.standard_normal((400, 96)) * 10.0 ** rng.integers(-6, 6, (400, 1)) + 50).astype("f4")
    )
    cover = module._Cover(points, points, points.mean(dim=0), 0)
    bounds = cover._lift(points) @ cover._lifted.T
    exact = torch.stack([squared_distances(points, point.unsqueeze(0)) for point in points])
    assert (bounds.double() <= exact).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_picks_on_cuda_are_those_on_the_cpu() -> None:
    for seed in range(20):
        points, centers, size = pool(seed)
        on_gpu = farthest_first(torch.from_numpy(points).cuda(), torch.from_numpy(centers).cuda(), size)
        assert on_gpu.tolist() == picks(points, centers, size), seed


def chosen(ids: list[str], unlabeled: Features, labeled: Features, size: int) -> Chosen:
    select = registry.resolve(registry.FEATURE_STRATEGIES, "k_centers")
    candidates = Candidates(pa.array(ids, pa.string()), np.full(len(ids), np.nan), np.random.SeedSequence(0))
    result: Chosen = select(
        candidates, Embedded(unlabeled, np.empty((len(ids), 2), dtype=np.float32), labeled, torch.device("cpu")), size
    )
    return result


def test_chosen_items_do_not_depend_on_the_order_of_rows() -> None:
    rows = np.random.default_rng(3).integers(0, 3, (60, 3)).astype(np.float32)
    ids = [f"i{number:02}" for number in range(60)]
    order = np.random.default_rng(4).permutation(60)
    straight = chosen(ids, rows, rows[:2], 30)
    mixed = chosen([ids[at] for at in order], rows[order], rows[:2], 30)
    assert order[mixed.positions].tolist() == straight.positions.tolist() == textbook(rows, rows[:2], 30)
    assert mixed.origins == ["k-centers"] * 30
    assert mixed.positions.dtype == np.int64


def test_features_that_cannot_be_written_to_are_left_alone() -> None:
    rows = np.eye(3, dtype=np.float32)
    rows.setflags(write=False)
    assert chosen(["a", "b", "c"], rows, rows[:1], 2).positions.tolist() == [1, 2]


def test_no_labelled_items_and_none_wanted() -> None:
    assert chosen(["a"], np.ones((1, 2), dtype=np.float32), np.empty((0, 2), dtype=np.float32), 1).positions == [0]
    assert not len(chosen([], *np.empty((2, 0, 2), dtype=np.float32), 0).positions)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_item_without_finite_features_is_named(value: float) -> None:
    rows = np.ones((2, 2), dtype=np.float32)
    rows[1, 0] = value
    with pytest.raises(FrugalError, match=r"item 'b': its features are not finite; .* lower train\.lr"):
        chosen(["a", "b"], rows, rows[:1], 1)
    with pytest.raises(FrugalError, match="labelled item number 2 in the order of ids"):
        chosen(["a", "b"], rows[:1].repeat(2, axis=0), rows, 1)
