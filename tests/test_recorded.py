"""A selection that was made before, and made again."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks import files, loop
from tasks.config import override
from tasks.datasets.source import Source, Split
from tasks.errors import ConfigError, DataError
from tasks.history import history
from tasks.loop import Step
from tasks.rounds import Workspace, load_config
from tasks.select import recorded
from tasks.select.choice import Candidates
from tasks.task_type import Classification
from tests.pools import CLASSES, column, make_workspace, write_plan
from tests.test_loop import begin, finish

SEED = np.random.SeedSequence(3)


def ids(*numbers: int) -> list[str]:
    return [f"x/{number:04d}" for number in numbers]


def candidates(names: list[str]) -> Candidates:
    return Candidates(pa.array(names, pa.string()), np.full(len(names), np.nan), SEED)


def write_loop(root: Path, *batches: list[str], restart_after: int | None = None, **pool: Any) -> Workspace:
    """A loop that has selected the batches, its rows in another order than their ranks."""
    workspace = Workspace(root)
    info = {"classes": CLASSES, "dataset": "digits", "digest": "d"} | pool
    files.write_json(workspace.pool / "pool.json", info)
    for number, batch in enumerate(batches):
        write_plan(workspace, number)
        table = pa.table({"id": batch, "rank": pa.array(range(len(batch)), pa.int32())})
        files.write_table(
            workspace.round_dir(number) / "selected.parquet", table.take(pa.array(range(len(batch)))[::-1])
        )
        action = "restart" if number == restart_after else "continue"
        decision = {"action": action, "reason": "test", "policy": "test", "numbers": {}}
        files.write_json(workspace.round_dir(number) / "decision.json", decision)
    return workspace


def repeating(root: Path, recording: str, **changes: Any) -> Workspace:
    """A loop of 60 items that repeats a recording."""
    select = {"initial": "recorded", "strategy": "recorded", "recorded": recording}
    return make_workspace(root, select=select, **changes)


def chosen(workspace: Workspace, names: list[str], size: int) -> list[str]:
    found = recorded.select(workspace, candidates(names), size)
    assert found.origins == ["recorded"] * size
    return [names[position] for position in found.positions]


def source(names: list[str], classes: tuple[str, ...] = tuple(CLASSES)) -> Source:
    split = Split(names, names, np.zeros(len(names), np.int64), lambda rows: np.zeros((len(rows), 1, 8, 8), np.uint8))
    return Source(Classification(classes), (1, 8, 8), split, split)


# What is taken


def test_a_loop_is_repeated_in_the_order_of_its_rounds_and_ranks(tmp_path: Path) -> None:
    write_loop(tmp_path / "proxy", ids(5, 3), ids(9, 1, 7))
    workspace = repeating(tmp_path / "loop", "../proxy")
    assert chosen(workspace, ids(*range(60)), 5) == ids(5, 3, 9, 1, 7)


def test_rounds_need_not_be_of_the_recorded_sizes(tmp_path: Path) -> None:
    write_loop(tmp_path / "proxy", ids(5, 3), ids(9, 1, 7))
    workspace = repeating(tmp_path / "loop", str(tmp_path / "proxy"))
    left = ids(*range(60))
    batches = []
    for size in (1, 3, 1):
        batches.append(chosen(workspace, left, size))
        left = [name for name in left if name not in batches[-1]]
    assert batches == [ids(5), ids(3, 9, 1), ids(7)]


def test_of_a_loop_that_began_anew_the_last_attempt_counts(tmp_path: Path) -> None:
    write_loop(tmp_path / "proxy", ids(5, 3), ids(9), ids(5, 8), ids(2), restart_after=1)
    workspace = repeating(tmp_path / "loop", "../proxy")
    assert chosen(workspace, ids(*range(60)), 3) == ids(5, 8, 2)


def test_a_round_of_the_recording_that_has_just_been_opened_is_left_out(tmp_path: Path) -> None:
    proxy = write_loop(tmp_path / "proxy", ids(5, 3))
    write_plan(proxy, 1)
    assert recorded.read("proxy", tmp_path).ids.to_pylist() == ids(5, 3)


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_table_is_repeated_in_the_order_of_its_rows(tmp_path: Path, suffix: str) -> None:
    table, path = pa.table({"why": [1, 2, 3], "id": ids(4, 0, 2)}), tmp_path / f"chosen.{suffix}"
    if suffix == "csv":
        pyarrow.csv.write_csv(table, path)
    else:
        files.write_table(path, table)
    workspace = repeating(tmp_path / "loop", f"../chosen.{suffix}")
    assert chosen(workspace, ids(*range(60)), 3) == ids(4, 0, 2)


def test_ids_of_digits_alone_stay_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "chosen.csv").write_text("id\n0012\n7\n")
    assert recorded.read("chosen.csv", tmp_path).ids.to_pylist() == ["0012", "7"]


@settings(max_examples=25)
@given(st.permutations(range(12)), st.permutations(range(12)), st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_any_sizes_take_the_recording_from_its_beginning_whatever_the_order_of_the_candidates(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], rows: list[int], sizes: list[int]
) -> None:
    root = tmp_path_factory.mktemp("any")
    files.write_table(root / "chosen.parquet", pa.table({"id": ids(*order)}))
    workspace = repeating(root / "loop", "../chosen.parquet")
    left, taken = ids(*rows), []
    for size in sizes:
        batch = chosen(workspace, left, size)
        left = [name for name in left if name not in batch]
        taken += batch
    assert taken == ids(*order)[: sum(sizes)]


# What is refused


def refused(tmp_path: Path, recording: str, kind: type[Exception], *parts: str) -> None:
    """Both before the loop begins and in its first round."""
    workspace = repeating(tmp_path / "loop", recording)
    for attempt in (
        lambda: recorded.check_recording(load_config(workspace), workspace.root, source(ids(*range(60)))),
        lambda: recorded.initial(workspace, candidates(ids(*range(60))), 30),
    ):
        with pytest.raises(kind) as fault:
            attempt()
        assert "\n" not in str(fault.value)
        assert all(part in str(fault.value) for part in parts), str(fault.value)


@pytest.mark.parametrize("name", ["../nowhere", "../nowhere.csv", "../notes.txt"])
def test_a_recording_that_is_not_there(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").write_text("id\nx/0001\n")
    refused(tmp_path, name, ConfigError, "select.recorded", name.strip("./"))


def test_a_folder_without_rounds(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(tmp_path, "../empty", ConfigError, "empty is not the folder of a loop that has selected anything")


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_table_without_ids(tmp_path: Path, suffix: str) -> None:
    table, path = pa.table({"item": ids(4)}), tmp_path / f"chosen.{suffix}"
    if suffix == "csv":
        pyarrow.csv.write_csv(table, path)
    else:
        files.write_table(path, table)
    refused(tmp_path, f"../chosen.{suffix}", DataError, f"chosen.{suffix}")


@pytest.mark.parametrize("values", [[1, 2], ["x/0001", None]])
def test_a_table_whose_ids_are_no_texts(tmp_path: Path, values: list[Any]) -> None:
    files.write_table(tmp_path / "chosen.parquet", pa.table({"id": values}))
    refused(tmp_path, "../chosen.parquet", DataError, "its column id must hold texts")


def test_a_table_of_no_rows(tmp_path: Path) -> None:
    files.write_table(tmp_path / "chosen.parquet", pa.table({"id": pa.array([], pa.string())}))
    refused(tmp_path, "../chosen.parquet", DataError, "holds no ids")


def test_an_id_that_stands_twice(tmp_path: Path) -> None:
    files.write_table(tmp_path / "chosen.parquet", pa.table({"id": ids(4, 2, 4)}))
    refused(tmp_path, "../chosen.parquet", DataError, "'x/0004' stands 2 times")


def test_ids_that_the_pool_does_not_know(tmp_path: Path) -> None:
    write_loop(tmp_path / "proxy", ids(5, 3, 61, 62))
    refused(tmp_path, "../proxy", DataError, "of another pool", "2 of its 4 ids", "'x/0061'")


def test_a_proxy_with_other_classes(tmp_path: Path) -> None:
    write_loop(tmp_path / "proxy", ids(5, 3), classes=["ant", "bee"])
    refused(
        tmp_path, "../proxy", DataError, "a proxy with other classes than the target (ant, bee beside ant, bee, cat)"
    )


def of_numbers(root: Path, target: str = "price", bounds: list[int] | None = None) -> Workspace:
    """A loop whose labels are numbers, and which has selected 30 items."""
    workspace = write_loop(root, ids(*range(30)))
    described = {"task": "regression", "target": target, "bounds": bounds, "dataset": "digits", "digest": "d"}
    files.write_json(workspace.pool / "pool.json", described)
    return workspace


def test_a_proxy_that_learnt_a_number_where_classes_are_wanted(tmp_path: Path) -> None:
    of_numbers(tmp_path / "proxy")
    told = "learns something else than the target (a number: price beside classes: ant, bee, cat)"
    refused(tmp_path, "../proxy", DataError, told)


@pytest.mark.parametrize(
    ("target", "told"), [("weight", "a number: weight beside a number: price"), (None, "classes: ant")]
)
def test_a_proxy_that_learnt_something_else_than_the_number(tmp_path: Path, target: str | None, told: str) -> None:
    if target is None:
        write_loop(tmp_path / "proxy", ids(*range(30)))
    else:
        of_numbers(tmp_path / "proxy", target)
    workspace = repeating(tmp_path / "loop", "../proxy", numbers=True)
    with pytest.raises(DataError, match=told):
        recorded.select(workspace, candidates(ids(*range(60))), 5)


def test_a_pool_that_says_nothing_of_its_labels(tmp_path: Path) -> None:
    proxy = write_loop(tmp_path / "proxy", ids(*range(30)))
    files.write_json(proxy.pool / "pool.json", {"items": 30})
    refused(tmp_path, "../proxy", DataError, "pool.json: does not say what a label is")


def test_a_recording_that_is_too_short(tmp_path: Path) -> None:
    write_loop(tmp_path / "proxy", ids(*range(20)))
    refused(tmp_path, "../proxy", ConfigError, "has 20 ")


def test_a_recording_of_another_data_set_with_the_same_classes_and_ids(tmp_path: Path) -> None:
    write_loop(tmp_path / "proxy", ids(*range(30)), dataset="mnist")
    workspace = repeating(tmp_path / "loop", "../proxy")
    with pytest.raises(DataError, match=r"another pool \(mnist, not digits\)"):
        recorded.check_recording(load_config(workspace), workspace.root, source(ids(*range(60))))


# What is not


def test_the_same_items_in_another_resolution_are_no_other_pool(tmp_path: Path) -> None:
    write_loop(tmp_path / "proxy", ids(*range(30)), digest="another", shape=[1, 4, 4])
    workspace = repeating(tmp_path / "loop", "../proxy")
    recorded.check_recording(load_config(workspace), workspace.root, source(ids(*range(60))))


@pytest.mark.parametrize("bounds", [None, [0, 100], [0, 50]])
def test_a_selection_for_the_same_number_is_repeated_whatever_its_bounds(
    tmp_path: Path, bounds: list[int] | None
) -> None:
    of_numbers(tmp_path / "proxy", bounds=bounds)
    workspace = repeating(tmp_path / "loop", "../proxy", numbers=True)
    assert chosen(workspace, ids(*range(60)), 5) == ids(*range(5))


@pytest.mark.parametrize(
    ("changes", "enough"),
    [
        ({}, 21),
        ({"loop.max_labels": 15}, 15),
        ({"loop.rounds": 1}, 9),
        ({"policy.query_size": "geometric"}, 9),
        ({"policy.query_size": "schedule"}, 1),
    ],
)
def test_a_recording_has_to_last_for_the_labels_that_are_sure_to_be_asked_for(
    tmp_path: Path, changes: dict[str, Any], enough: int
) -> None:
    workspace = repeating(tmp_path / "loop", "../chosen.parquet")
    overrides = tuple(f"{key}={value}" for key, value in changes.items())
    config, everything = override(load_config(workspace), overrides, "test"), source(ids(*range(60)))
    files.write_table(tmp_path / "chosen.parquet", pa.table({"id": ids(*range(enough))}))
    recorded.check_recording(config, workspace.root, everything)
    if enough > 1:
        files.write_table(tmp_path / "chosen.parquet", pa.table({"id": ids(*range(enough - 1))}))
        with pytest.raises(ConfigError, match=f"has {enough - 1} ids, fewer than the {enough} labels"):
            recorded.check_recording(config, workspace.root, everything)


def test_a_loop_that_repeats_nothing_is_left_alone(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "loop")
    recorded.check_recording(load_config(workspace), workspace.root, source(ids(0)))


# A whole loop


def test_one_round_trains_another_model_on_what_a_loop_chose_in_two(tmp_path: Path) -> None:
    proxy = finish(begin(tmp_path / "proxy", "loop.rounds=2"))
    repeats = ("select.initial=recorded", "select.strategy=recorded", "select.recorded=../proxy")
    target = finish(begin(tmp_path / "target", *repeats, "loop.rounds=1", "loop.initial=20", "train.epochs=3"))
    in_order = [id_ for number in range(2) for id_ in column(proxy.round_dir(number) / "selected.parquet", "id")]
    assert column(target.round_dir(0) / "selected.parquet", "id") == in_order
    (outcome,) = history(target)
    assert (outcome.labels, outcome.items_scored) == (20, 0)


def test_a_recording_that_changes_under_a_loop_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "chosen.csv"
    names = begun_ids(tmp_path)
    table.write_text("\n".join(["id", *names]))
    repeat = ("select.initial=recorded", "select.strategy=recorded", f"select.recorded={table}")
    workspace = begin(tmp_path / "w", *repeat)
    while (step := loop.next_step(workspace)) is not None and step != Step("select", 1):
        loop.run(workspace, step)
    before = table.read_bytes()
    table.write_text("\n".join(["id", *reversed(names)]))
    with pytest.raises(DataError, match=r"select\.recorded: changed since the loop began"):
        loop.run(workspace, Step("select", 1))
    assert not (workspace.round_dir(1) / "selected.parquet").exists()
    table.unlink()
    with pytest.raises(ConfigError, match="no such file or folder"):
        loop.run(workspace, Step("select", 1))
    table.write_bytes(before)
    taken = [
        name for number in (0, 1) for name in column(finish(workspace).round_dir(number) / "selected.parquet", "id")
    ]
    assert taken == names[: len(taken)]


def begun_ids(tmp_path: Path) -> list[str]:
    """The ids of the digits that small loops have."""
    return column(begin(tmp_path / "ids").pool / "manifest.parquet", "id")
