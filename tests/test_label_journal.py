"""Answers come in parts, twice, late and corrected; none is lost, doubled, or paid twice."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks import files, loop
from tasks.cost.ledger import Usage
from tasks.errors import AnswerError, DataError, WaitingForLabels
from tasks.label import answers, journal
from tasks.label.labels import Answer
from tasks.label.run import run, waiting
from tasks.rounds import Workspace
from tasks.select.run import run as select
from tasks.status import status
from tests.people_helpers import asking, said, score_round, selected, tasks, write_csv
from tests.pools import column, snapshot, write_plan


@pytest.fixture
def open_round(tmp_path: Path) -> Workspace:
    return asking(tmp_path / "w")


def test_answers_come_in_parts_until_the_round_can_close(open_round: Workspace, tmp_path: Path) -> None:
    ids = selected(open_round)
    assert journal.take_in_file(open_round, 0, write_csv(tmp_path / "a.csv", [f"{ids[0]},bee,,,,"])).new == 1
    assert waiting(open_round, 0) == (
        "round 000 waits for 8 more labels: 1 of 9 tasks of data/rounds/000/tasks.jsonl are answered"
    )
    rest = write_csv(tmp_path / "b.csv", [f"{id_},cat,,,," for id_ in ids[1:]])
    assert journal.take_in_file(open_round, 0, rest) == journal.Taken(new=8)
    assert waiting(open_round, 0) is None
    run(open_round, 0, Usage())
    assert column(open_round.round_dir(0) / "labels.parquet", "label") == [1] + [2] * 8


def test_the_same_file_again_changes_nothing_whatever_came_in_between(open_round: Workspace, tmp_path: Path) -> None:
    id_ = selected(open_round)[0]
    first, second = (write_csv(tmp_path / f"{label}.csv", [f"{id_},{label},,,,"]) for label in ("bee", "cat"))
    journal.take_in_file(open_round, 0, first)
    assert journal.take_in_file(open_round, 0, second) == journal.Taken(revised=1)
    before = snapshot(open_round.root)
    assert journal.take_in_file(open_round, 0, first) == journal.Taken(same=1)
    assert journal.take_in_file(open_round, 0, second) == journal.Taken(same=1)
    assert snapshot(open_round.root) == before
    assert [answer.label for answer in journal.load(open_round, 0).answers] == [2]


def test_an_older_answer_does_not_replace_a_later_one(open_round: Workspace) -> None:
    id_ = selected(open_round)[0]
    journal.take_in(open_round, 0, [said(id_, 1, at="2026-01-31T10:00:00+00:00")])
    assert journal.take_in(open_round, 0, [said(id_, 2, at="2026-01-31T10:30:00+01:00")]).same == 1
    assert journal.take_in(open_round, 0, [said(id_, 0, at="2026-01-31T10:00:01")]).revised == 1
    assert [answer.label for answer in journal.load(open_round, 0).answers] == [0]


ANSWERS = st.builds(
    said,
    st.integers(0, 3),
    st.sampled_from([0, 1, 2, None]),
    st.sampled_from(["ann", "bob"]),
    st.integers(0, 50).map(lambda minute: f"2026-01-31T10:{minute:02d}:00+00:00"),
)


ONCE_A_MINUTE = st.lists(ANSWERS, max_size=12, unique_by=lambda one: (one.id, one.annotator, one.labeled_at))


@given(ONCE_A_MINUTE, st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
def test_whatever_the_order_and_the_parts_the_latest_answers_stay(
    open_round: Workspace, answers: list[Answer], data: st.DataObject
) -> None:
    ids = selected(open_round)
    given_ = [said(ids[answer.id], answer.label, answer.annotator, answer.labeled_at) for answer in answers]
    shuffled = data.draw(st.permutations(given_))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(given_)), max_size=3)))
    (open_round.round_dir(0) / "answers.json").unlink(missing_ok=True)
    for start, end in pairwise([0, *cuts, len(given_)]):
        journal.take_in(open_round, 0, shuffled[start:end])
    latest = {(answer.id, answer.annotator): answer for answer in sorted(given_, key=lambda each: str(each.labeled_at))}
    assert set(journal.load(open_round, 0).answers) == set(latest.values())


def test_a_file_in_the_rounds_folder_counts_without_being_taken_in(open_round: Workspace) -> None:
    ids = selected(open_round)
    path = write_csv(open_round.round_dir(0) / "labels.csv", [f"{id_},bee,,,," for id_ in ids[:4]])
    assert len(journal.load(open_round, 0).answers) == 4
    write_csv(path, [f"{id_},bee,,,," for id_ in ids])
    assert waiting(open_round, 0) is None
    assert not (open_round.round_dir(0) / "answers.json").exists()


def test_a_damaged_journal_is_named_with_its_remedy(open_round: Workspace) -> None:
    path = open_round.round_dir(0) / "answers.json"
    for content in ('{"sources": [], "answers": [{"id": "x"}]}', '{"sources": [], "answers": 3}', '{"sources"', "[]"):
        path.write_text(content)
        with pytest.raises(DataError, match=r"answers\.json: damaged .*`frugal answers add`"):
            journal.load(open_round, 0)


def test_a_quorum_closes_the_round_and_the_rest_goes_back_to_the_pool(tmp_path: Path) -> None:
    workspace = asking(tmp_path / "w", quorum=0.5)
    ids = selected(workspace)
    journal.take_in(workspace, 0, [*(said(id_, 1) for id_ in ids[:4]), said(ids[4], None)])
    usage = Usage()
    run(workspace, 0, usage)
    folder = workspace.round_dir(0)
    assert column(folder / "labeled.parquet", "id") == ids[:4]
    left = column(folder / "unlabeled.parquet", "id")
    assert set(ids[5:]) <= set(left)
    assert ids[4] not in left
    assert len(left) == 60 - 5
    assert usage.labels == 4


def test_a_skipped_item_is_suspended_and_never_selected_again(open_round: Workspace) -> None:
    ids = selected(open_round)
    journal.take_in(open_round, 0, [*(said(id_, 1) for id_ in ids[1:]), said(ids[0], None)])
    run(open_round, 0, Usage())
    score_round(open_round, 0)
    assert status(open_round)["suspended"] == 1
    write_plan(open_round, 1, query_size=51)
    select(open_round, 1, Usage())
    assert ids[0] not in selected(open_round, 1)


def test_every_answer_is_on_the_bill_and_in_the_table_of_answers(tmp_path: Path) -> None:
    workspace = asking(tmp_path / "w", annotators=2, quorum=0.1)
    one, two, three, *_ = selected(workspace)
    answers = [said(one, 1, "ann"), said(one, 1, "bob"), said(two, 1, "ann"), said(two, 2, "bob"), said(three, None)]
    journal.take_in(workspace, 0, answers)
    usage = Usage()
    run(workspace, 0, usage)
    (label,) = files.read_table(workspace.round_dir(0) / "labels.parquet").to_pylist()
    assert (label["id"], label["annotator"], label["seconds"]) == (one, "ann, bob", 4.0)
    assert label["price"] == pytest.approx(0.1)
    table = files.read_table(workspace.round_dir(0) / "answers.parquet")
    assert table["label"].to_pylist() == [1, 1, 1, 2, None]
    # Four answers, two of which became a label; a skip costs its time alone, which has no price here.
    assert (usage.labels, usage.label_price) == (1, pytest.approx(0.2))


def test_late_answers_to_a_closed_round_are_told_from_unknown_ids(open_round: Workspace, tmp_path: Path) -> None:
    ids = selected(open_round)
    journal.take_in(open_round, 0, [said(id_, 1) for id_ in ids])
    run(open_round, 0, Usage())
    score_round(open_round, 0)
    write_plan(open_round, 1, query_size=6)
    select(open_round, 1, Usage())
    late = write_csv(tmp_path / "late.csv", [f"{ids[0]},cat,,,,", "nobody,cat,,,,"])
    with pytest.raises(AnswerError, match="2 faults; nothing was taken in") as fault:
        journal.take_in_file(open_round, 1, late)
    assert fault.value.faults == (
        f"row 1: {ids[0]!r} was asked for in round 000, which is closed",
        "row 2: unknown id 'nobody'; ids must be those of tasks.jsonl",
    )


def test_checks_look_like_other_tasks_and_stand_anywhere_among_them(tmp_path: Path) -> None:
    workspace = asking(tmp_path / "w", select={"checks": 0.5})
    journal.take_in(workspace, 0, [said(id_, 1) for id_ in selected(workspace)])
    run(workspace, 0, Usage())
    for round_ in (1, 2):
        score_round(workspace, round_ - 1)
        write_plan(workspace, round_, query_size=20)
        select(workspace, round_, Usage())
        journal.take_in(workspace, round_, [said(task["id"], 1) for task in tasks(workspace, round_)])
        run(workspace, round_, Usage())
    lines = tasks(workspace, 2)
    places = [place for place, task in enumerate(lines) if task["id"] not in selected(workspace, 2)]
    assert len(places) == 10
    assert places != list(range(20, 30))
    assert [task["priority"] for task in lines] == list(range(30))
    assert {tuple(task) for task in lines} == {("id", "uri", "round", "priority", "why", "proposals")}
    assert {task["round"] for task in lines} == {2}


def test_a_selection_with_checks_is_the_same_each_time(tmp_path: Path) -> None:
    workspace = asking(tmp_path / "w", select={"checks": 0.3})
    journal.take_in(workspace, 0, [said(id_, 1) for id_ in selected(workspace)])
    run(workspace, 0, Usage())
    score_round(workspace, 0)
    write_plan(workspace, 1, query_size=12)
    select(workspace, 1, Usage())
    before = snapshot(workspace.round_dir(1))
    select(workspace, 1, Usage())
    assert snapshot(workspace.round_dir(1)) == before


def test_status_says_what_is_awaited_from_whom_and_since_when(tmp_path: Path) -> None:
    workspace = asking(tmp_path / "w", annotators=2, deadline=48.0)
    ids = selected(workspace)
    journal.take_in(workspace, 0, [said(ids[0], 1, "ann"), said(ids[0], 2, "bob"), said(ids[1], 1, "ann")])
    told = status(workspace)
    assert told["state"] == "waiting"
    assert told["waits_for"].startswith(
        "9 labels: 0 of 9 tasks of data/rounds/000/tasks.jsonl are answered, and annotators disagree on 1 "
        f"({ids[0]}), which need another answer; answers so far: ann 2, bob 1; open since 20"
    )
    assert "closes at 20" in told["waits_for"]
    assert told["next"] == "frugal close --answers FILE"
    people = told["hand_off"]
    assert (people["asked"], people["labelled"], people["disputed"], people["closes"]) == (9, 0, 1, False)
    assert people["disputes"] == [ids[0]]
    journal.take_in(workspace, 0, [said(id_, 1, name) for id_ in ids for name in ("ann", "bob")])
    told = status(workspace)
    assert told["waits_for"].startswith("`frugal close`: 9 of 9 tasks are answered")
    assert told["next"] == "frugal close"


def test_a_round_past_its_deadline_closes_with_what_is_there(tmp_path: Path) -> None:
    workspace = asking(tmp_path / "w", deadline=1.0)
    journal.take_in(workspace, 0, [said(selected(workspace)[0], 1)])
    with pytest.raises(WaitingForLabels, match="8 more labels"):
        run(workspace, 0, Usage())
    path = workspace.round_dir(0) / "cost.json"
    book = files.read_json(path)
    book["stages"]["select"]["at"] = "2026-01-31T09:00:00+00:00"
    files.write_json(path, book)
    assert status(workspace)["hand_off"]["closes"]
    run(workspace, 0, Usage())
    assert len(column(workspace.round_dir(0) / "labels.parquet", "id")) == 1
    assert loop.next_step(workspace) is not None


def test_once_the_time_is_over_a_single_label_is_waited_for(tmp_path: Path) -> None:
    workspace = asking(tmp_path / "w", deadline=1e-9)
    assert (waiting(workspace, 0) or "").endswith(
        "waits for a label: the time is over, and none of 9 tasks of data/rounds/000/tasks.jsonl has one"
    )


def test_what_is_added_is_later_than_a_file_that_lies_in_the_folder(open_round: Workspace, tmp_path: Path) -> None:
    ids = selected(open_round)
    write_csv(open_round.round_dir(0) / "labels.csv", [f"{id_},bee,,,," for id_ in ids])
    added = write_csv(tmp_path / "a.csv", [f"{ids[0]},cat,,,,"])
    assert journal.take_in_file(open_round, 0, added) == journal.Taken(revised=1)
    assert [answer.label for answer in journal.load(open_round, 0).answers] == [2] + [1] * 8
    run(open_round, 0, Usage())
    assert column(open_round.round_dir(0) / "labels.parquet", "label") == [2] + [1] * 8


def test_a_time_in_the_future_that_an_earlier_release_took_in_can_be_corrected(open_round: Workspace) -> None:
    id_ = selected(open_round)[0]
    journal.take_in(open_round, 0, [said(id_, 1, at="2999-01-31T10:00:00Z")])
    assert journal.take_in(open_round, 0, [said(id_, 2, at="2026-01-31T10:00:00Z")]).revised == 1
    assert [answer.label for answer in journal.load(open_round, 0).answers] == [2]


HUB = [("x", "ann"), ("x", "bob"), ("y", "ann")]


def told(open_round: Workspace) -> dict[tuple[str, str], Answer]:
    """Answers of a hub to two items."""
    names = dict(zip("xy", selected(open_round), strict=False))
    return {(names[item], who): said(names[item], 1, who, "2026-01-31T10:00:00Z") for item, who in HUB}


def exchanged(open_round: Workspace, there: dict[int, set[str]], *given: Answer) -> journal.Taken:
    """An exchange with a hub in which task 7 is of the first item and task 8 of the second one."""
    numbers = dict(zip(selected(open_round), (7, 8), strict=False))
    made = [(one, numbers[one.id], annotation(numbers[one.id], one.annotator)) for one in given]
    here = {task: [annotation(task, who) for who in people] for task, people in there.items()}
    return journal.exchange(open_round, 0, made, here)


def annotation(task: int, annotator: str) -> int:
    return 10 * task + ["ann", "bob"].index(annotator)


def test_what_is_deleted_in_a_hub_is_withdrawn_once(open_round: Workspace) -> None:
    given = told(open_round)
    assert exchanged(open_round, {7: {"ann", "bob"}, 8: {"ann"}}, *given.values()) == journal.Taken(new=3)
    assert exchanged(open_round, {7: {"bob"}, 8: {"ann"}}) == journal.Taken(withdrawn=1)
    before = snapshot(open_round.root)
    assert exchanged(open_round, {7: {"bob"}, 8: {"ann"}}) == journal.Taken()
    assert snapshot(open_round.root) == before
    assert [(one.id, one.annotator) for one in journal.load(open_round, 0).answers] == list(given)[1:]


def test_a_hub_without_its_tasks_has_withdrawn_nothing(open_round: Workspace) -> None:
    exchanged(open_round, {7: {"ann", "bob"}, 8: {"ann"}}, *told(open_round).values())
    assert exchanged(open_round, {}) == journal.Taken()
    # Made anew they may have the old numbers.
    journal.detach(open_round, 0, ())
    assert exchanged(open_round, {7: set(), 8: set()}) == journal.Taken()
    assert len(journal.load(open_round, 0).answers) == 3


@pytest.mark.parametrize(("time", "taken"), [("", {"revised": 1}), ("2026-02-01T10:00:00Z", {"revised": 1})])
def test_what_a_file_gives_stays_whatever_is_deleted_in_a_hub(
    open_round: Workspace, tmp_path: Path, time: str, taken: dict[str, int]
) -> None:
    exchanged(open_round, {7: {"ann", "bob"}, 8: {"ann"}}, *told(open_round).values())
    id_ = selected(open_round)[0]
    path = write_csv(tmp_path / "a.csv", [f"{id_},cat,ann,{time},,"])
    assert journal.take_in_file(open_round, 0, path) == journal.Taken(**taken)
    # The annotation that is older than the file comes again, and is no later for that.
    again = [told(open_round)[id_, "ann"]] if time else []
    exchanged(open_round, {7: {"ann", "bob"}, 8: {"ann"}}, *again)
    assert exchanged(open_round, {7: {"bob"}, 8: {"ann"}}) == journal.Taken()
    assert {(one.annotator, one.label) for one in journal.load(open_round, 0).answers if one.id == id_} == {
        ("ann", 2),
        ("bob", 1),
    }


def test_answers_that_an_earlier_release_took_in_stay(open_round: Workspace) -> None:
    exchanged(open_round, {7: {"ann", "bob"}, 8: {"ann"}}, *told(open_round).values())
    path = open_round.round_dir(0) / "answers.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    del stored["hub"]
    path.write_text(json.dumps(stored), encoding="utf-8")
    assert exchanged(open_round, {7: set(), 8: set()}) == journal.Taken()
    assert len(journal.load(open_round, 0).answers) == 3


def test_an_answer_that_is_deleted_and_given_again_is_new(open_round: Workspace) -> None:
    given = list(told(open_round).values())
    exchanged(open_round, {7: {"ann", "bob"}, 8: {"ann"}}, *given)
    exchanged(open_round, {7: {"ann", "bob"}, 8: set()})
    assert exchanged(open_round, {7: {"ann", "bob"}, 8: {"ann"}}, given[2]) == journal.Taken(new=1)
    assert exchanged(open_round, {7: {"ann", "bob"}, 8: set()}) == journal.Taken(withdrawn=1)


def test_adding_the_file_that_lies_in_the_folder_keeps_it(open_round: Workspace) -> None:
    path = write_csv(open_round.round_dir(0) / "labels.csv", [f"{id_},bee,,,," for id_ in selected(open_round)])
    journal.take_in_file(open_round, 0, path)
    path.unlink()
    assert len(journal.load(open_round, 0).answers) == 9


def test_what_is_written_to_a_file_while_it_is_read_is_new_the_next_time(
    open_round: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = selected(open_round)
    path = write_csv(tmp_path / "a.csv", [f"{ids[0]},bee,,,,"])
    read = answers.read

    def written_to(path: Path, tasks: answers.Tasks) -> list[Answer]:
        found = read(path, tasks)
        write_csv(path, [f"{id_},bee,,,," for id_ in ids])
        return found

    with monkeypatch.context() as patched:
        patched.setattr(answers, "read", written_to)
        assert journal.take_in_file(open_round, 0, path).new == 1
    assert journal.take_in_file(open_round, 0, path) == journal.Taken(new=8, same=1)


def test_status_tells_of_a_round_whose_labels_were_cut_off_between_two_files(open_round: Workspace) -> None:
    journal.take_in(open_round, 0, [said(id_, 1) for id_ in selected(open_round)])
    run(open_round, 0, Usage())
    for name in ("labeled", "unlabeled"):
        (open_round.round_dir(0) / f"{name}.parquet").unlink()
    assert (status(open_round)["next"], status(open_round)["suspended"]) == ("frugal close", 0)


def test_nobody_is_asked_again_what_was_skipped_before_the_loop_began_anew(open_round: Workspace) -> None:
    ids = selected(open_round)
    journal.take_in(open_round, 0, [said(id_, None if id_ in ids[:3] else 1) for id_ in ids])
    run(open_round, 0, Usage())
    made = {"action": "restart", "reason": "test", "policy": "test", "numbers": {}}
    files.write_json(open_round.round_dir(0) / "decision.json", made)
    write_plan(open_round, 1, query_size=60, strategy="random")
    select(open_round, 1, Usage())
    asked = [task["id"] for task in tasks(open_round, 1)]
    assert len(asked) == 51
    assert not set(asked) & set(ids)
    assert status(open_round)["suspended"] == 3
    journal.take_in(open_round, 1, [said(id_, 1) for id_ in asked])
    usage = Usage()
    run(open_round, 1, usage)
    assert usage.labels == 51
    assert len(column(open_round.round_dir(1) / "labeled.parquet", "id")) == 57
    assert column(open_round.round_dir(1) / "unlabeled.parquet", "id") == []
    assert status(open_round)["suspended"] == 3


def test_a_later_round_in_which_nobody_can_label_anything_closes(open_round: Workspace) -> None:
    journal.take_in(open_round, 0, [said(id_, 1) for id_ in selected(open_round)])
    run(open_round, 0, Usage())
    score_round(open_round, 0)
    write_plan(open_round, 1)
    select(open_round, 1, Usage())
    journal.take_in(open_round, 1, [said(id_, None) for id_ in selected(open_round, 1)])
    usage = Usage()
    run(open_round, 1, usage)
    assert (usage.labels, usage.label_price, status(open_round)["suspended"]) == (0, 0.0, 6)
    assert len(column(open_round.round_dir(1) / "labeled.parquet", "id")) == 9


@pytest.mark.parametrize("damaged", [None, '{"id": 3\n', "[]\n"])
def test_tasks_of_an_earlier_round_that_are_gone_or_damaged_are_told_of(tmp_path: Path, damaged: str | None) -> None:
    workspace = asking(tmp_path / "w", select={"checks": 0.5})
    journal.take_in(workspace, 0, [said(id_, 1) for id_ in selected(workspace)])
    run(workspace, 0, Usage())
    score_round(workspace, 0)
    write_plan(workspace, 1)
    path = workspace.round_dir(0) / "tasks.jsonl"
    path.unlink()
    if damaged is not None:
        path.write_text(damaged, encoding="utf-8")
    with pytest.raises(DataError, match=r"000/tasks\.jsonl: (missing|damaged); restore it with `dvc checkout`"):
        select(workspace, 1, Usage())
