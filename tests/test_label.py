from pathlib import Path

import numpy as np
import pytest

from tasks.cost.ledger import Usage
from tasks.errors import AnswerError, DataError, UserError, WaitingForLabels
from tasks.label import oracle
from tasks.label.answers import Tasks, read
from tasks.label.run import run
from tasks.rounds import Workspace, load_config
from tasks.select.run import run as select
from tests.pools import CLASSIFICATION, column, make_workspace, snapshot, write_plan


def opened(workspace: Workspace) -> Workspace:
    """The workspace with round 0 selected."""
    write_plan(workspace, 0, query_size=9)
    select(workspace, 0, Usage())
    return workspace


def by_files(root: Path) -> Workspace:
    return opened(make_workspace(root, label={"labeler": "files"}))


def test_oracle_moves_items_between_pools_and_bills_them(workspace: Workspace) -> None:
    usage = Usage()
    run(opened(workspace), 0, usage)
    folder = workspace.round_dir(0)
    labeled, unlabeled = column(folder / "labeled.parquet", "id"), column(folder / "unlabeled.parquet", "id")
    assert sorted(labeled + unlabeled) == column(workspace.pool / "manifest.parquet", "id")
    assert column(folder / "labels.parquet", "label") == [int(id_[2:]) % 3 for id_ in labeled]
    assert column(folder / "labels.parquet", "price") == [0.05] * 9
    assert (usage.labels, usage.label_price) == (9, 0.45)


def test_second_round_adds_to_the_labelled_pool(workspace: Workspace) -> None:
    run(opened(workspace), 0, Usage())
    (workspace.round_dir(0) / "scores.parquet").write_bytes((workspace.pool / "start/scores.parquet").read_bytes())
    write_plan(workspace, 1, query_size=6)
    select(workspace, 1, Usage())
    run(workspace, 1, Usage())
    assert column(workspace.round_dir(1) / "labeled.parquet", "round") == [0] * 9 + [1] * 6
    assert len(column(workspace.round_dir(1) / "unlabeled.parquet", "id")) == 45


def test_noise_errs_as_often_as_told_and_never_by_chance_right(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "w", items=3000, label={"noise": 0.3})
    ids = column(workspace.pool / "manifest.parquet", "id")
    answers = oracle.answer(workspace, 0, ids, CLASSIFICATION, load_config(workspace))
    wrong = np.mean([label.label != int(label.id[2:]) % 3 for label in answers])
    assert 0.26 < wrong < 0.34


def test_errors_do_not_depend_on_the_order_of_ids(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "w", label={"noise": 0.5})
    ids = column(workspace.pool / "manifest.parquet", "id")
    ahead = oracle.answer(workspace, 0, ids, CLASSIFICATION, load_config(workspace))
    back = oracle.answer(workspace, 0, ids[::-1], CLASSIFICATION, load_config(workspace))
    assert ahead == back[::-1]


def test_confusion_matrix_rules_the_answers(tmp_path: Path) -> None:
    matrix = [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
    workspace = make_workspace(tmp_path / "w", label={"confusion": matrix})
    ids = column(workspace.pool / "manifest.parquet", "id")
    answers = oracle.answer(workspace, 0, ids, CLASSIFICATION, load_config(workspace))
    assert [label.label for label in answers] == [[0, 2, 1][int(id_[2:]) % 3] for id_ in ids]


def test_oracle_without_an_answer_names_the_item(tmp_path: Path) -> None:
    workspace = opened(make_workspace(tmp_path / "w", known=1))
    with pytest.raises(DataError, match=r"x/00\d\d: the oracle has no label"):
        run(workspace, 0, Usage())


def write_answers(workspace: Workspace, lines: list[str]) -> Path:
    path = workspace.round_dir(0) / "labels.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_no_answers_yet_means_waiting(tmp_path: Path) -> None:
    workspace = by_files(tmp_path / "w")
    with pytest.raises(WaitingForLabels, match=r"waits for 9 labels.*tasks\.jsonl"):
        run(workspace, 0, Usage())


def test_partial_answers_mean_waiting_and_write_nothing(tmp_path: Path) -> None:
    workspace = by_files(tmp_path / "w")
    ids = column(workspace.round_dir(0) / "selected.parquet", "id")
    write_answers(workspace, ["id,label", f"{ids[0]},bee"])
    before = snapshot(workspace.root)
    with pytest.raises(
        WaitingForLabels, match=r"8 more labels: 1 of 9 tasks of data/rounds/000/tasks\.jsonl are answered"
    ):
        run(workspace, 0, Usage())
    assert snapshot(workspace.root) == before


def test_answers_are_taken_in_with_who_when_and_how_long(tmp_path: Path) -> None:
    workspace = by_files(tmp_path / "w")
    ids = column(workspace.round_dir(0) / "selected.parquet", "id")
    rows = [f"{id_},cat,ann,2026-01-31T09:30:00+00:00,2.5,done" for id_ in ids[:-1]] + [f"{ids[-1]},,,,,skipped"]
    write_answers(workspace, ["id,label,annotator,labeled_at,seconds,status", *reversed(rows)])
    usage = Usage()
    run(workspace, 0, usage)
    labels = workspace.round_dir(0) / "labels.parquet"
    assert column(labels, "id") == ids[:-1]
    assert set(column(labels, "annotator")) == {"ann"}
    assert set(column(labels, "seconds")) == {2.5}
    # Nobody is asked again about what nobody could label.
    assert ids[-1] not in column(workspace.round_dir(0) / "unlabeled.parquet", "id")
    assert usage.labels == 8


CSV_FAULTS = [
    ("", "first line must name the column 'id'"),
    ("id,class\na,bee\n", "must name the column 'label'"),
    ("id,id,label\na,a,bee\n", "must name the column 'id' once"),
    ("id,label\nz,bee\n", "row 1: unknown id 'z'"),
    ("id,label\n,bee\n", "row 1: no id"),
    ("id,label\na,bee\na,bee\n", "row 2: 'a' was answered before"),
    ("id,label\na,bird\n", "row 1: unknown class 'bird'; the classes are ant, bee, cat"),
    ("id,label\na,\n", "row 1: no label"),
    ("id,label\na,bee\n\nb,bee\n", "row 2: blank"),
    ("id,label\na,bee\n , \n", "row 2: blank"),
    ("id,label\na\n", "row 1: 1 fields where the first line names 2"),
    ('id,label\na,"bee\n', "not valid CSV"),
    ("id,label,seconds\na,bee,-1\n", "row 1: seconds '-1'"),
    ("id,label,seconds\na,bee,nan\n", "row 1: seconds 'nan'"),
    ("id,label,seconds\na,bee,fast\n", "row 1: seconds 'fast'"),
    ("id,label,labeled_at\na,bee,yesterday\n", "row 1: labeled_at 'yesterday'"),
    ("id,label,status\na,bee,maybe\n", "row 1: status 'maybe'"),
    ("id,label\na,b\xe9e\n", "cannot be read as UTF-8"),
]

JSONL_FAULTS = [
    ('{"id": "a", "label": "bee"\n', "row 1: not valid JSON"),
    ('["a", "bee"]\n', "row 1: must be a JSON object"),
    ('{"id": "a", "label": "bee"}\n\n{"id": "b", "label": "bee"}\n', "row 2: blank"),
    ("[" * 100_000 + "\n", "row 1: not valid JSON"),
    ('{"id": "a", "label": "bee", "annotator": "\\ud800"}\n', "row 1: holds a character that is not valid Unicode"),
    ('{"label": "bee"}\n', "row 1: no id"),
    ('{"id": "a", "label": null}\n', "row 1: no label"),
    ('{"id": "a", "label": "bee"}\n{"id": "a", "label": "cat"}\n', "row 2: 'a' was answered before"),
]


@pytest.mark.parametrize(
    ("suffix", "text", "message"), [(".csv", *f) for f in CSV_FAULTS] + [(".jsonl", *f) for f in JSONL_FAULTS]
)
def test_wrong_answers_are_named_with_their_row(tmp_path: Path, suffix: str, text: str, message: str) -> None:
    path = tmp_path / f"labels{suffix}"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(AnswerError, match=message):
        read(path, Tasks(["a", "b"], CLASSIFICATION))


def test_wrong_answers_change_nothing_on_disk(tmp_path: Path) -> None:
    workspace = by_files(tmp_path / "w")
    write_answers(workspace, ["id,label", "nobody,bee"])
    before = snapshot(workspace.root)
    with pytest.raises(UserError):
        run(workspace, 0, Usage())
    assert snapshot(workspace.root) == before


def test_two_answer_files_are_refused(tmp_path: Path) -> None:
    workspace = by_files(tmp_path / "w")
    write_answers(workspace, ["id,label"])
    (workspace.round_dir(0) / "labels.jsonl").write_text("")
    with pytest.raises(AnswerError, match="keep one"):
        run(workspace, 0, Usage())


def test_fields_may_hold_commas_quotes_and_line_breaks(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text('\ufeffid,label,note\n"a,1","bee","two\nlines"\n', encoding="utf-8")
    (answer,) = read(path, Tasks(["a,1"], CLASSIFICATION))
    assert (answer.id, answer.label) == ("a,1", 1)
