import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import files
from tasks.cost.ledger import Usage
from tasks.errors import ConfigError, DataError
from tasks.rounds import Workspace
from tasks.select import initial, top_k, uniform
from tasks.select.choice import Candidates
from tasks.select.run import run
from tests.pools import column, make_workspace, write_plan, write_scores

SEED = np.random.SeedSequence(7)


def candidates(scores: list[float], seed: np.random.SeedSequence = SEED) -> Candidates:
    ids = pa.array([f"i{number}" for number in range(len(scores))])
    return Candidates(ids, np.array(scores, dtype=np.float64), seed)


def test_highest_scores_come_first() -> None:
    chosen = top_k.select(candidates([0.1, 0.9, 0.5, -3.0]), 3)
    assert chosen.positions.tolist() == [1, 2, 0]
    assert chosen.origins == ["top-k"] * 3


def test_unscored_items_only_fill_what_is_missing() -> None:
    chosen = top_k.select(candidates([np.nan, 0.2, np.nan, 0.1]), 3)
    assert chosen.positions[:2].tolist() == [1, 3]
    assert chosen.origins == ["top-k", "top-k", "unscored"]


def test_ties_are_broken_by_the_seed_not_by_position() -> None:
    picks = {tuple(top_k.select(candidates([1.0] * 20, np.random.SeedSequence(s)), 3).positions) for s in range(20)}
    assert len(picks) > 10


scores = st.lists(
    st.one_of(st.just(np.nan), st.floats(-1e9, 1e9), st.sampled_from([0.0, 1.0])), min_size=1, max_size=40
)


@given(scores, st.data())
def test_selection_is_distinct_complete_and_the_best(values: list[float], data: st.DataObject) -> None:
    size = data.draw(st.integers(0, len(values)))
    chosen = top_k.select(candidates(values), size)
    assert len(set(chosen.positions.tolist())) == len(chosen.positions) == size == len(chosen.origins)
    ranked = sorted((value for value in values if not np.isnan(value)), reverse=True)
    got = [values[position] for position in chosen.positions if not np.isnan(values[position])]
    assert got == ranked[: len(got)]
    assert len(got) == min(size, len(ranked))


@given(scores, st.randoms(use_true_random=False), st.data())
def test_order_of_rows_does_not_matter(values: list[float], shuffle: object, data: st.DataObject) -> None:
    size = data.draw(st.integers(0, len(values)))
    rows = list(range(len(values)))
    shuffle.shuffle(rows)  # type: ignore[attr-defined]
    plain = candidates(values)
    mixed = Candidates(plain.ids.take(pa.array(rows, pa.int64())), plain.scores[rows], SEED)
    for select in (top_k.select, uniform.select):
        first = plain.ids.take(select(plain, size).positions)
        second = mixed.ids.take(select(mixed, size).positions)
        assert first.to_pylist() == second.to_pylist()


def test_random_selection_is_uniform() -> None:
    counts = np.zeros(10)
    for seed in range(2000):
        counts[uniform.select(candidates([0.0] * 10, np.random.SeedSequence(seed)), 3).positions] += 1
    expected = 2000 * 3 / 10
    # Chi-square with 9 degrees of freedom: 27.9 is the 0.1 % point.
    assert ((counts - expected) ** 2 / expected).sum() < 27.9


def test_initial_pool_is_what_random_selection_draws_and_ends_with_the_pool(workspace: Workspace) -> None:
    few = candidates([0.0] * 5)
    chosen = initial.uniform(workspace, few, 9)
    assert chosen.positions.tolist() == uniform.select(few, 9).positions.tolist()
    assert chosen.origins == ["initial"] * 5


def test_only_the_needed_columns_of_the_cache_are_read(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, list[str] | None] = {}
    read = files.read_table

    def spy(path: Path, columns: list[str] | None = None) -> pa.Table:
        asked[path.name] = columns
        return read(path, columns)

    monkeypatch.setattr(files, "read_table", spy)
    write_plan(workspace, 0, query_size=9, strategy="random")
    run(workspace, 0, Usage())
    assert asked["scores.parquet"] == ["id", "score", "scored_round", "proposal", "confidence"]


def test_uris_of_the_chosen_are_found_without_hashing_the_whole_manifest(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[int] = []
    index_in = pc.index_in

    def spy(values: pa.Array, *, value_set: pa.Array) -> pa.Array:
        hashed.append(len(value_set))
        return index_in(values, value_set=value_set)

    monkeypatch.setattr(pc, "index_in", spy)
    write_plan(workspace, 0, query_size=9, strategy="random")
    run(workspace, 0, Usage())
    assert hashed == [0, 9]
    tasks = [json.loads(line) for line in (workspace.round_dir(0) / "tasks.jsonl").read_text().splitlines()]
    assert [task["uri"] for task in tasks] == [f"{task['id']}.png" for task in tasks]


def test_first_round_draws_the_initial_pool(workspace: Workspace) -> None:
    write_plan(workspace, 0, query_size=9, strategy="random")
    run(workspace, 0, Usage())
    folder = workspace.round_dir(0)
    assert column(folder / "selected.parquet", "origin") == ["initial"] * 9
    assert column(folder / "selected.parquet", "score") == [None] * 9
    assert len(set(column(folder / "selected.parquet", "id"))) == 9


def test_class_balanced_pool_has_every_class_and_says_what_it_is(workspace: Workspace) -> None:
    write_plan(workspace, 0, query_size=9, strategy="class_balanced")
    run(workspace, 0, Usage())
    selected = workspace.round_dir(0) / "selected.parquet"
    classes = sorted(int(id_[2:]) % 3 for id_ in column(selected, "id"))
    assert classes == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert "simulation only" in column(selected, "origin")[0]


def test_class_balanced_without_answers_is_refused(tmp_path: object) -> None:
    workspace = make_workspace(tmp_path / "w", known=10)  # type: ignore[operator]
    write_plan(workspace, 0, query_size=9, strategy="class_balanced")
    with pytest.raises(ConfigError, match="does not know 50 of them"):
        run(workspace, 0, Usage())
    assert not (workspace.round_dir(0) / "selected.parquet").exists()


def test_random_selection_takes_no_notice_of_a_cache(workspace: Workspace) -> None:
    files.write_table(workspace.round_dir(0) / "unlabeled.parquet", pa.table({"id": [f"x/{n:04d}" for n in range(60)]}))
    write_plan(workspace, 1, query_size=6, strategy="random")
    chosen = []
    for scores in ({}, {f"x/{n:04d}": float(n) for n in range(9)}):
        write_scores(workspace.round_dir(0) / "scores.parquet", scores)
        run(workspace, 1, Usage())
        chosen.append(column(workspace.round_dir(1) / "selected.parquet", "id"))
    assert chosen[0] == chosen[1]


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        ({"query_size": -3}, r"query_size is -3; it must be 1 to 60"),
        ({"query_size": 61}, r"query_size is 61; it must be 1 to 60"),
        ({"query_size": "x"}, r"query_size is 'x'"),
        ({"strategy": "best"}, r"strategy is 'best'; known: random, top_k"),
    ],
)
def test_a_plan_that_cannot_be_followed_is_refused(workspace: Workspace, plan: dict[str, Any], told: str) -> None:
    files.write_table(workspace.round_dir(0) / "unlabeled.parquet", pa.table({"id": [f"x/{n:04d}" for n in range(60)]}))
    write_scores(workspace.round_dir(0) / "scores.parquet", {"x/0000": 0.5})
    write_plan(workspace, 1, **plan)
    with pytest.raises(ConfigError, match=told):
        run(workspace, 1, Usage())
    assert not (workspace.round_dir(1) / "selected.parquet").exists()


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("scored_round", 99, "values of round 99"),
        ("proposal", 99, "proposes class 99"),
        (None, None, "holds no values"),
    ],
)
def test_a_cache_that_the_round_cannot_have_found_is_refused(
    workspace: Workspace, name: str | None, value: int | None, told: str
) -> None:
    files.write_table(workspace.round_dir(0) / "unlabeled.parquet", pa.table({"id": [f"x/{n:04d}" for n in range(60)]}))
    path = workspace.round_dir(0) / "scores.parquet"
    write_scores(path, {"x/0000": 0.5} if name else {})
    if name:
        table = files.read_table(path)
        files.write_table(path, table.set_column(table.column_names.index(name), name, pa.array([value])))
    write_plan(workspace, 1, query_size=1, strategy="top_k")
    with pytest.raises(DataError, match=told):
        run(workspace, 1, Usage())


def test_later_round_selects_by_the_cache_and_proposes(workspace: Workspace) -> None:
    files.write_table(workspace.round_dir(0) / "unlabeled.parquet", pa.table({"id": [f"x/{n:04d}" for n in range(60)]}))
    write_scores(workspace.round_dir(0) / "scores.parquet", {f"x/{n:04d}": float(n) for n in reversed(range(60))})
    write_plan(workspace, 1, query_size=2, strategy="top_k")
    run(workspace, 1, Usage())
    folder = workspace.round_dir(1)
    assert column(folder / "selected.parquet", "id") == ["x/0059", "x/0058"]
    tasks = [json.loads(line) for line in (folder / "tasks.jsonl").read_text().splitlines()]
    assert tasks[0] == {
        "id": "x/0059",
        "uri": "x/0059.png",
        "round": 1,
        "priority": 0,
        "why": {"origin": "top-k", "score": 59.0},
        "proposals": [{"label": "bee", "confidence": 0.5}],
    }
