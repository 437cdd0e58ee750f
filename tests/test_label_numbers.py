"""Labels that are numbers: what people may write, what is refused, and what becomes of them on disk."""

import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import files
from tasks.cost.ledger import Usage
from tasks.drawer import drawer, unpaid
from tasks.errors import AnswerError, DataError, WaitingForLabels
from tasks.label import oracle
from tasks.label.answers import Tasks, read
from tasks.label.run import run
from tasks.rounds import Workspace, load_config
from tasks.select.run import run as select
from tasks.task_type import TaskType
from tasks.task_type.regression import Regression
from tests.pools import PRICE, column, make_workspace, snapshot, write_plan

ANY = Regression("price")


def opened(workspace: Workspace, round_: int = 0) -> Workspace:
    """The workspace with a round selected."""
    write_plan(workspace, round_, query_size=9)
    select(workspace, round_, Usage())
    return workspace


def by_files(root: Path) -> Workspace:
    return opened(make_workspace(root, numbers=True, label={"labeler": "files"}))


def written(folder: Path, label: str, suffix: str = ".csv") -> Path:
    """An answer file of two rows, of which the second holds ``label``."""
    path = folder / f"labels{suffix}"
    if suffix == ".csv":
        path.write_text(f'id,label\na,1\nb,"{label}"\n', encoding="utf-8")
    else:
        path.write_text(f'{{"id": "a", "label": 1}}\n{{"id": "b", "label": {label}}}\n', encoding="utf-8")
    return path


def answered(path: Path, task: TaskType = PRICE) -> float:
    _, answer = read(path, Tasks(["a", "b"], task))
    assert answer.label is not None
    return answer.label


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0.0), ("100", 100.0), ("12.5", 12.5), (" 7 ", 7.0), ("1e1", 10.0), ("+3", 3.0), (".5", 0.5), ("-0", 0.0)],
)
def test_numbers_within_the_bounds_are_taken(tmp_path: Path, text: str, value: float) -> None:
    assert answered(written(tmp_path, text)) == value


def test_a_number_with_an_exponent_is_one_like_all_others(tmp_path: Path) -> None:
    assert answered(written(tmp_path, "1e3"), ANY) == 1000.0


FAULTS = [
    ("", "no label; price is a number from 0 to 100"),
    ("abc", "label 'abc' is not a number; price is a number from 0 to 100"),
    ("1,5", "label '1,5' is not a number"),
    ("1 5", "label '1 5' is not a number"),
    ("0x10", "label '0x10' is not a number"),
    ("12 USD", "label '12 USD' is not a number"),
    ("nan", "label 'nan' cannot be"),
    ("inf", "label 'inf' cannot be"),
    ("-inf", "label '-inf' cannot be"),
    ("1e999", "label '1e999' cannot be"),
    ("1_0", "label '1_0' cannot be"),
    ("-0.001", "label '-0.001' cannot be"),
    ("100.0001", "label '100.0001' cannot be"),
]


@pytest.mark.parametrize(("text", "told"), FAULTS)
def test_what_is_no_possible_number_is_refused_with_its_row(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(AnswerError, match=rf"labels\.csv, row 2: {told}") as fault:
        read(written(tmp_path, text), Tasks(["a", "b"], PRICE))
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize("text", ["nan", "inf", "1_000", "", "abc"])
def test_without_bounds_a_label_has_to_be_a_finite_number_all_the_same(tmp_path: Path, text: str) -> None:
    with pytest.raises(AnswerError, match=r"row 2: .*; price is a finite number, such as 12\.5"):
        read(written(tmp_path, text), Tasks(["a", "b"], ANY))


@pytest.mark.parametrize(("text", "value"), [("12.5", 12.5), ('"12.5"', 12.5), ("7", 7.0), ("1E1", 10.0)])
def test_json_may_hold_a_number_or_its_text(tmp_path: Path, text: str, value: float) -> None:
    assert answered(written(tmp_path, text, ".jsonl")) == value


@pytest.mark.parametrize("text", ["null", "true", "NaN", "Infinity", "1e400", "[1]", '{"price": 1}', "101"])
def test_json_that_is_no_possible_number_is_refused_with_its_row(tmp_path: Path, text: str) -> None:
    with pytest.raises(AnswerError, match=r"labels\.jsonl, row 2: "):
        read(written(tmp_path, text, ".jsonl"), Tasks(["a", "b"], PRICE))


#: How far a label may be from 0, and how near if it is not 0.
FURTHEST, NEAREST = 1e100, 1e-100
SIZES = st.floats(NEAREST, FURTHEST) | st.just(0.0)


@given(SIZES, st.sampled_from([1, -1]))
def test_every_number_of_a_possible_size_is_read_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, size: float, sign: int
) -> None:
    folder = tmp_path_factory.mktemp("any")
    for suffix in (".csv", ".jsonl"):
        assert answered(written(folder, repr(sign * size), suffix), ANY) == sign * size


@given(
    st.floats(FURTHEST, exclude_min=True, allow_infinity=False)
    | st.floats(0, NEAREST, exclude_min=True, exclude_max=True),
    st.sampled_from([1, -1]),
)
def test_numbers_whose_squares_would_be_lost_are_refused(
    tmp_path_factory: pytest.TempPathFactory, size: float, sign: int
) -> None:
    folder = tmp_path_factory.mktemp("any")
    for suffix in (".csv", ".jsonl"):
        with pytest.raises(AnswerError, match=r"row 2: label .* cannot be"):
            answered(written(folder, repr(sign * size), suffix), ANY)


def test_a_second_answer_to_an_item_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("id,label\na,1\na,1\n")
    with pytest.raises(AnswerError, match="row 2: 'a' was answered before"):
        read(path, Tasks(["a", "b"], PRICE))


def write_answers(workspace: Workspace, lines: list[str]) -> None:
    path = workspace.round_dir(0) / "labels.csv"
    path.write_text("\n".join(["id,label,status", *lines]) + "\n")


def test_answers_become_numbers_in_all_tables_and_skipped_items_leave_the_pool(tmp_path: Path) -> None:
    workspace, usage = by_files(tmp_path / "w"), Usage()
    folder = workspace.round_dir(0)
    ids = column(folder / "selected.parquet", "id")
    rows = [f"{id_},{place + 0.25},done" for place, id_ in enumerate(ids[:-1])]
    write_answers(workspace, [*rows, f"{ids[-1]},,skipped"])
    run(workspace, 0, usage)
    for name in ("labels", "labeled"):
        table = files.read_table(folder / f"{name}.parquet")
        assert table.schema.field("label").type == pa.float64()
        assert dict(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True)) == {
            id_: place + 0.25 for place, id_ in enumerate(ids[:-1])
        }
    assert ids[-1] not in column(folder / "unlabeled.parquet", "id")
    assert (usage.labels, usage.label_price) == (8, 0.4)


@pytest.mark.parametrize("text", [text for text, _ in FAULTS])
def test_bad_answers_change_nothing_on_disk(tmp_path: Path, text: str) -> None:
    workspace = by_files(tmp_path / "w")
    ids = column(workspace.round_dir(0) / "selected.parquet", "id")
    write_answers(workspace, [*(f"{id_},1,done" for id_ in ids[:-1]), f'{ids[-1]},"{text}",done'])
    before = snapshot(workspace.root)
    with pytest.raises(AnswerError, match="row 9: "):
        run(workspace, 0, Usage())
    assert snapshot(workspace.root) == before


def test_partial_answers_mean_waiting(tmp_path: Path) -> None:
    workspace = by_files(tmp_path / "w")
    ids = column(workspace.round_dir(0) / "selected.parquet", "id")
    write_answers(workspace, [f"{ids[0]},12.5,done"])
    with pytest.raises(WaitingForLabels, match="1 of 9 tasks"):
        run(workspace, 0, Usage())


def test_a_round_of_skipped_items_alone_waits_for_a_label(tmp_path: Path) -> None:
    workspace = by_files(tmp_path / "w")
    ids = column(workspace.round_dir(0) / "selected.parquet", "id")
    write_answers(workspace, [f"{id_},,skipped" for id_ in ids])
    with pytest.raises(WaitingForLabels, match=r"9 of 9 .* were skipped; label at least one"):
        run(workspace, 0, Usage())


def test_the_oracle_tells_the_numbers_as_they_are(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "w", numbers=True)
    ids = column(workspace.pool / "manifest.parquet", "id")[::-1]
    answers = oracle.answer(workspace, 0, ids, PRICE, load_config(workspace))
    assert [answer.id for answer in answers] == ids
    assert [answer.label for answer in answers] == [int(id_[2:]) / 2 for id_ in ids]
    assert all(isinstance(answer.label, float) for answer in answers)


def test_the_oracle_names_the_item_whose_number_it_does_not_know(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "w", numbers=True, known=1)
    with pytest.raises(DataError, match="x/0001: the oracle has no label"):
        oracle.answer(workspace, 0, ["x/0000", "x/0001"], PRICE, load_config(workspace))


def test_rounds_add_up_to_one_labelled_pool_of_numbers(tmp_path: Path) -> None:
    workspace = opened(make_workspace(tmp_path / "w", numbers=True))
    run(workspace, 0, Usage())
    (workspace.round_dir(0) / "scores.parquet").write_bytes((workspace.pool / "start/scores.parquet").read_bytes())
    run(opened(workspace, 1), 1, Usage())
    table = files.read_table(workspace.round_dir(1) / "labeled.parquet")
    assert table["round"].to_pylist() == [0] * 9 + [1] * 9
    assert table["label"].to_pylist() == [int(id_[2:]) / 2 for id_ in table["id"].to_pylist()]


def test_numbers_bought_before_a_restart_lie_in_the_drawer(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "w", items=12, numbers=True)
    assert drawer(workspace, 0).schema.field("label").type == pa.float64()
    run(opened(workspace), 0, Usage())
    decision = {"action": "restart", "reason": "test", "policy": "test", "numbers": {}}
    files.write_json(workspace.round_dir(0) / "decision.json", decision)
    kept = drawer(workspace, 1)
    assert kept["label"].to_pylist() == [int(id_[2:]) / 2 for id_ in kept["id"].to_pylist()]
    opened(workspace, 1)
    wanted, usage = unpaid(workspace, 1), Usage()
    # Nine of twelve items were bought before, so at least six of nine lie there.
    assert len(wanted) <= 3
    run(workspace, 1, usage)
    table = files.read_table(workspace.round_dir(1) / "labels.parquet")
    assert usage.labels == len(wanted)
    assert table["label"].to_pylist() == [int(id_[2:]) / 2 for id_ in table["id"].to_pylist()]
    assert sum(price > 0 for price in table["price"].to_pylist()) == len(wanted)


def test_what_the_model_says_is_a_number_with_its_standard_deviation(tmp_path: Path) -> None:
    workspace = opened(make_workspace(tmp_path / "w", numbers=True))
    run(workspace, 0, Usage())
    left = column(workspace.round_dir(0) / "unlabeled.parquet", "id")
    table = pa.table(
        {
            "id": left,
            "score": np.arange(len(left), dtype=np.float64),
            "scored_round": pa.array([0] * len(left), pa.int32()),
            "model": ["m"] * len(left),
            "times_scored": pa.array([1] * len(left), pa.int32()),
            "proposal": [math.pi] * len(left),
            "std": [1 / 3_000_000] * len(left),
        }
    )
    files.write_table(workspace.round_dir(0) / "scores.parquet", table)
    write_plan(workspace, 1, query_size=2, strategy="top_k")
    select(workspace, 1, Usage())
    first, second = map(json.loads, (workspace.round_dir(1) / "tasks.jsonl").read_text().splitlines())
    assert first == {
        "id": left[-1],
        "uri": f"{left[-1]}.png",
        "round": 1,
        "priority": 0,
        "why": {"origin": "top-k", "score": len(left) - 1.0},
        "proposals": [{"label": math.pi, "std": 3.33333e-07}],
    }
    assert second["id"] == left[-2]
