from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.cost.ledger import Usage
from tasks.datasets.store import Items, load_items
from tasks.errors import ConfigError, UserError
from tasks.order import random_keys
from tasks.rounds import Workspace
from tasks.select import cold_start, typiclust
from tasks.select.choice import Candidates, Chosen
from tasks.select.max_herding import herded
from tasks.select.run import run
from tasks.select.typiclust import mean_distance, typical
from tests.datasets_helpers import built
from tests.pools import column, make_workspace, write_plan

SEED = np.random.SeedSequence(7)
LISTS = pa.list_(pa.float32())
METHODS = [cold_start.typiclust, cold_start.max_herding]
Singles = npt.NDArray[np.float32]
Method = Callable[[Workspace, Candidates, int], Chosen]


def candidates(ids: Any, seed: np.random.SeedSequence = SEED) -> Candidates:
    ids = pa.array(ids, pa.string())
    return Candidates(ids, np.full(len(ids), np.nan), seed)


def pool_ids(count: int) -> list[str]:
    return [f"x/{number:04d}" for number in range(count)]


def points(count: int, width: int, seed: int = 0) -> Singles:
    return np.random.default_rng(seed).standard_normal((count, width), dtype=np.float32)


def blobs(sizes: list[int], width: int = 3) -> tuple[Singles, npt.NDArray[np.int64]]:
    """Far groups of these sizes, and the group of each item."""
    group = np.repeat(np.arange(len(sizes)), sizes)
    centres = np.eye(len(sizes), width, dtype=np.float32) * 100
    return (centres[group] + points(len(group), width)).astype(np.float32), group


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A loop on 60 items whose configuration names a file of features, which is not there."""
    return make_workspace(tmp_path / "w", select={"initial": "typiclust", "features": "embedding.parquet"})


def write_features(workspace: Workspace, ids: list[Any], features: Any, kind: pa.DataType | None = None) -> None:
    column = pa.array(list(features), kind or pa.list_(pa.float32()))
    pq.write_table(
        pa.table({"id": pa.array(ids, pa.string()), "features": column}), workspace.root / "embedding.parquet"
    )


@pytest.fixture
def pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Workspace]:
    """Make a workspace whose pool has these images."""
    workspace = make_workspace(tmp_path / "w")

    def make(array: npt.NDArray[np.uint8]) -> Workspace:
        items = Items(pa.array(pool_ids(len(array)), pa.string()), array)
        monkeypatch.setattr(cold_start, "load_items", lambda workspace, split: items)
        monkeypatch.setattr(
            cold_start,
            "load_info",
            lambda workspace: SimpleNamespace(kind="images", mean=(0.0,), std=(0.3,) * array.shape[1]),
        )
        return workspace

    return make


def test_mean_distance_is_that_of_the_nearest_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typiclust, "_HELD", 200)
    features = points(60, 4)
    distances = np.sort(np.linalg.norm(features[:, None] - features[None], axis=2), axis=1)[:, 1:]
    np.testing.assert_allclose(mean_distance(features, 20), distances[:, :20].mean(axis=1), rtol=1e-4)
    np.testing.assert_allclose(mean_distance(features[:2], 20), [np.linalg.norm(np.diff(features[:2], axis=0))] * 2)
    assert mean_distance(features[:1], 20).tolist() == [0]


def test_typiclust_takes_the_most_typical_of_each_cluster_largest_first() -> None:
    features, group = blobs([40, 70, 25])
    keys = random_keys(pa.array(pool_ids(len(group))), SEED)
    chosen = typical(features, keys, 3, SEED)
    assert group[chosen].tolist() == [1, 0, 2]
    for item in chosen:
        members = features[group == group[item]]
        spread = np.sort(np.linalg.norm(members[:, None] - members[None], axis=2), axis=1)[:, 1:21].mean(axis=1)
        assert np.abs(members[spread.argmin()] - features[item]).max() == 0


def test_more_labels_than_clusters_go_round_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typiclust, "_MOST_CLUSTERS", 3)
    features, group = blobs([10, 6, 8])
    keys = random_keys(pa.array(pool_ids(len(group))), SEED)
    chosen = typical(features, keys, 24, SEED)
    assert group[chosen].tolist() == [0, 2, 1] * 6 + [0, 2] * 2 + [0] * 2
    assert len(np.unique(chosen)) == 24


def test_small_clusters_come_when_the_others_are_used_up() -> None:
    features, group = blobs([4, 9, 7])
    keys = random_keys(pa.array(pool_ids(len(group))), SEED)
    chosen = group[typical(features, keys, 3, SEED)]
    assert chosen.tolist() == [1, 2, 1]


def test_many_clusters_are_found_by_mini_batches() -> None:
    features = points(400, 5)
    chosen = typical(features, random_keys(pa.array(pool_ids(400)), SEED), 80, SEED)
    assert len(np.unique(chosen)) == 80


def coverage(similarities: npt.NDArray[np.float64], chosen: list[int]) -> float:
    return float(similarities[:, chosen].max(axis=1).sum())


def greedy(features: Singles, size: int) -> tuple[npt.NDArray[np.float64], list[int]]:
    """Similarities, and the greedy choice by looking at everything in every step."""
    wide = features.astype(np.float64)
    similarities = np.exp(-((wide[:, None] - wide[None]) ** 2).sum(axis=2))
    chosen: list[int] = []
    for _ in range(size):
        others = [item for item in range(len(features)) if item not in chosen]
        chosen.append(max(others, key=lambda item: coverage(similarities, [*chosen, item])))
    return similarities, chosen


@pytest.mark.parametrize("spread", [0.2, 1.0, 4.0])
def test_max_herding_is_the_greedy_choice(spread: float) -> None:
    features = points(120, 3) * np.float32(spread)
    similarities, expected = greedy(features, 25)
    chosen = herded(features, 25).tolist()
    for count in range(1, 26):
        best = coverage(similarities, expected[:count])
        assert coverage(similarities, chosen[:count]) == pytest.approx(best, rel=1e-6)


def test_max_herding_of_three_is_near_the_best_three() -> None:
    from itertools import combinations

    features = points(15, 2)
    similarities, _ = greedy(features, 0)
    best = max(coverage(similarities, list(three)) for three in combinations(range(15), 3))
    assert coverage(similarities, herded(features, 3).tolist()) >= (1 - 1 / np.e) * best


def test_copies_are_herded_last_and_in_order() -> None:
    features = points(6, 3).repeat(3, axis=0)
    chosen = herded(features, 18)
    assert sorted((chosen[:6] // 3).tolist()) == list(range(6))
    assert len(np.unique(chosen)) == 18


@pytest.mark.parametrize("method", METHODS)
def test_pools_by_stored_features_do_not_depend_on_the_order_of_rows(method: Method, workspace: Workspace) -> None:
    ids, features = pool_ids(60), points(60, 4)
    write_features(workspace, ids, features)
    plain = method(workspace, candidates(ids), 12)
    mixed = np.random.default_rng(1).permutation(60)
    write_features(workspace, [ids[row] for row in reversed(mixed)], features[mixed[::-1]], pa.large_list(pa.float64()))
    again = method(workspace, candidates([ids[row] for row in mixed]), 12)
    assert [ids[position] for position in plain.positions] == [ids[mixed[position]] for position in again.positions]


@given(st.integers(1, 80), st.integers(1, 80), st.data())
def test_pools_are_distinct_and_complete(count: int, different: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, count))
    features = points(different, 3)[np.arange(count) % different]
    keys = random_keys(pa.array(pool_ids(count)), SEED)
    for chosen in (typical(features, keys, size, SEED), herded(features, size)):
        assert len(np.unique(chosen)) == size == len(chosen)


@pytest.mark.parametrize("method", METHODS)
def test_large_pools_are_sampled_and_the_sample_grows_with_the_batch(
    method: Method, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cold_start, "_CLUSTERED", 20)
    monkeypatch.setattr(cold_start, "_HERDED", 20)
    ids = pool_ids(60)
    write_features(workspace, ids, points(60, 4))
    allowed = set(np.argsort(random_keys(pa.array(ids), SEED))[:20].tolist())
    assert set(method(workspace, candidates(ids), 8).positions.tolist()) <= allowed
    assert len(np.unique(method(workspace, candidates(ids), 45).positions)) == 45


@pytest.mark.parametrize("method", METHODS)
def test_only_the_candidates_are_chosen_from_and_always_alike(method: Method, workspace: Workspace) -> None:
    write_features(workspace, pool_ids(60), points(60, 4))
    few = pool_ids(60)[::2]
    first = method(workspace, candidates(few), 30)
    assert sorted(first.positions.tolist()) == list(range(30))
    assert first.positions.tolist() == method(workspace, candidates(few), 30).positions.tolist()


@pytest.mark.parametrize("method", METHODS)
def test_groups_of_images_are_all_represented(method: Method, pixels: Callable[..., Workspace]) -> None:
    group = np.arange(90) % 3
    images = np.random.default_rng(0).integers(0, 60, (90, 1, 6, 6), dtype=np.uint8)
    for number in range(3):
        images[group == number, :, 2 * number : 2 * number + 2] += 180
    workspace = pixels(images)
    chosen = method(workspace, candidates(pool_ids(90)), 3)
    assert sorted(group[chosen.positions].tolist()) == [0, 1, 2]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (40, 1, 2, 2), (5, 3, 40, 33), (70, 3, 8, 8)])
def test_images_of_any_shape_will_do_even_if_all_are_black(
    method: Method, shape: tuple[int, ...], pixels: Callable[..., Workspace]
) -> None:
    size = (shape[0] + 1) // 2
    for array in (np.zeros(shape, np.uint8), np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)):
        chosen = method(pixels(array), candidates(pool_ids(shape[0])), size)
        assert len(np.unique(chosen.positions)) == size


def test_pixel_features_keep_distances_where_there_are_few_pixels(pixels: Callable[..., Workspace]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 2, 3, 3), dtype=np.uint8)
    features = cold_start._plain(pixels(images), pa.array(pool_ids(50)), SEED)
    flat = images.reshape(50, -1) / 255 / 0.3
    expected = np.linalg.norm(flat[:, None] - flat[None], axis=2)
    np.testing.assert_allclose(np.linalg.norm(features[:, None] - features[None], axis=2), expected, atol=1e-3)
    np.testing.assert_allclose(features.mean(axis=0), 0, atol=1e-4)


def test_large_images_are_averaged_down(pixels: Callable[..., Workspace]) -> None:
    small = np.random.default_rng(0).integers(0, 256, (12, 1, 32, 32), dtype=np.uint8)
    features = cold_start._plain(pixels(small.repeat(2, axis=2).repeat(2, axis=3)), pa.array(pool_ids(12)), SEED)
    assert features.shape == (12, 12)
    flat = small.reshape(12, -1) / 255 / 0.3
    expected = np.linalg.norm(flat[:, None] - flat[None], axis=2)
    np.testing.assert_allclose(np.linalg.norm(features[:, None] - features[None], axis=2), expected, rtol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_digits_begin_with_more_classes_than_chance_gives(method: Method, tmp_path: Path) -> None:
    workspace = built(tmp_path / "w", name="digits")
    ids = load_items(workspace, "pool").ids
    oracle = pq.read_table(workspace.pool / "oracle.parquet")
    labels = dict(zip(oracle["id"].to_pylist(), oracle["label"].to_pylist(), strict=True))
    chosen = method(workspace, candidates(ids), 20)
    assert len({labels[id_] for id_ in ids.take(chosen.positions).to_pylist()}) >= 9


@pytest.mark.parametrize("name", ["typiclust", "max_herding"])
def test_the_first_round_buys_what_was_chosen(name: str, workspace: Workspace) -> None:
    write_features(workspace, pool_ids(60), points(60, 4))
    write_plan(workspace, 0, query_size=9, strategy=name)
    run(workspace, 0, Usage())
    selected = workspace.round_dir(0) / "selected.parquet"
    assert column(selected, "origin") == [name.replace("_", "-")] * 9
    assert len(set(column(selected, "id"))) == 9


def refused(workspace: Workspace) -> str:
    with pytest.raises(ConfigError) as caught:
        cold_start.typiclust(workspace, candidates(pool_ids(60)), 5)
    assert isinstance(caught.value, UserError)
    message = str(caught.value)
    assert message.startswith(f"select.features: {workspace.root / 'embedding.parquet'}: ")
    assert "\n" not in message
    return message


def test_a_file_of_features_that_is_missing_or_no_table_is_refused(workspace: Workspace) -> None:
    path = workspace.root / "embedding.parquet"
    assert "no such file" in refused(workspace)
    path.write_bytes(b"not a table")
    assert "cannot be read" in refused(workspace)
    path.unlink()
    path.mkdir()
    assert "no such file" in refused(workspace)


def test_a_file_without_the_columns_is_refused(workspace: Workspace) -> None:
    path = workspace.root / "embedding.parquet"
    pq.write_table(pa.table({"id": pool_ids(60)}), path)
    assert "has no column features" in refused(workspace)
    pq.write_table(pa.table({"name": pool_ids(60)}), path)
    assert "has no column id and no column features" in refused(workspace)
    pq.write_table(pa.table({"id": pool_ids(60), "features": [1.0] * 60}), path)
    assert "cannot be read" in refused(workspace)
    pq.write_table(pa.table({"id": pool_ids(60), "features": [["a"]] * 60}), path)
    assert "cannot be read" in refused(workspace)


def test_items_that_are_missing_or_named_twice_are_named(workspace: Workspace) -> None:
    ids = pool_ids(60)
    write_features(workspace, ids[:20] + ids[22:], points(58, 2))
    assert "lacks 2 of the 60 items that are needed, 'x/0020' for one" in refused(workspace)
    write_features(workspace, [*ids, "x/0007"], points(61, 2))
    assert "names the item 'x/0007' more than once" in refused(workspace)


@pytest.mark.parametrize("fault", [[1.0], [], None, [1.0, 2.0, 3.0]])
def test_features_of_another_length_are_named(
    workspace: Workspace, fault: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cold_start, "_SLICE", 16)
    features = points(60, 2).tolist()
    features[33] = fault
    write_features(workspace, pool_ids(60), features)
    assert "the features of 'x/0033' are not of 2 numbers" in refused(workspace)


def test_features_without_numbers_are_refused(workspace: Workspace) -> None:
    write_features(workspace, pool_ids(60), [[]] * 60)
    assert "the features of 'x/0000' are empty" in refused(workspace)


@pytest.mark.parametrize("fault", [np.nan, np.inf, 1e300, None])
def test_features_that_are_not_finite_are_named(workspace: Workspace, fault: Any) -> None:
    features = points(60, 2).tolist()
    features[41][1] = fault
    write_features(workspace, pool_ids(60), features, pa.list_(pa.float64()))
    assert "the features of 'x/0041' are not finite" in refused(workspace)


def test_features_of_fixed_length_and_of_other_items_are_welcome(workspace: Workspace) -> None:
    ids = [f"a/{number}" for number in range(10)] + pool_ids(60)
    features = points(70, 2)
    write_features(workspace, ids, features, pa.list_(pa.float32(), 2))
    plain = cold_start.max_herding(workspace, candidates(pool_ids(60)), 7)
    write_features(workspace, ids[10:], features[10:])
    assert plain.positions.tolist() == cold_start.max_herding(workspace, candidates(pool_ids(60)), 7).positions.tolist()


def test_parts_of_the_file_without_a_wanted_item_are_passed_over(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cold_start, "_SLICE", 16)
    ids, features = pool_ids(60), points(60, 2)
    write_features(workspace, ids, features)
    plain = cold_start.max_herding(workspace, candidates(ids), 7).positions.tolist()
    others = [f"a/{number}" for number in range(40)]
    write_features(workspace, others + ids, np.concatenate([points(40, 3)[:, :2], features]))
    assert cold_start.max_herding(workspace, candidates(ids), 7).positions.tolist() == plain


def test_a_row_without_an_id_is_refused(workspace: Workspace) -> None:
    write_features(workspace, [*pool_ids(60), None], points(61, 2))
    assert "has 1 rows without an id" in refused(workspace)
