"""What an exchange with Label Studio makes of tasks, users and annotations that come and go there."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import HubError
from tasks.label import exchange, journal
from tasks.label.label_studio import project, sync
from tasks.label.run import waiting
from tasks.rounds import Workspace
from tests.people_helpers import asking, selected, write_csv

ANN, BOB, CARL = 1, 2, 3
CLASSES = ("ant", "bee", "cat")


@dataclass
class Hub:
    """A server in memory, as far as an exchange asks it."""

    users: dict[int, str] = field(default_factory=lambda: {ANN: "ann", BOB: "bob", CARL: "carl"})
    there: dict[int, dict[str, Any]] = field(default_factory=dict)
    #: None is given twice.
    numbers: Iterator[int] = field(default_factory=lambda: count(101))
    refuses: bool = False

    def publish(self, item: str) -> int:
        number = max(self.there, default=0) + 1
        meta = {"frugal_item": item, "frugal_round": 0}
        self.there[number] = {"id": number, "meta": meta, "is_labeled": False, "overlap": 2, "annotations": []}
        return number

    def annotate(self, task: int, user: int, label: str, minute: int) -> int:
        """The number of a new annotation."""
        number = next(self.numbers)
        value = {"from_name": "label", "value": {"choices": [label]}}
        made = {"id": number, "result": [value], "was_cancelled": False, "lead_time": 2.0, "completed_by": user}
        self.there[task]["annotations"].append(made | {"updated_at": f"2026-01-31T10:{minute:02d}:00.000000Z"})
        return number

    def withdraw(self, task: int, annotation: int) -> None:
        kept = [one for one in self.there[task]["annotations"] if one["id"] != annotation]
        self.there[task]["annotations"] = kept

    def remove(self, user: int) -> None:
        """As the server does: what somebody has annotated stays, and is nobody's."""
        del self.users[user]
        for task in self.there.values():
            for one in task["annotations"]:
                one["completed_by"] = None if one["completed_by"] == user else one["completed_by"]

    def get(self, path: str) -> Any:
        assert path == "/api/users/"
        return [{"id": id_, "email": name} for id_, name in self.users.items()]

    def tasks(self, number: int, fields: Sequence[str], conditions: Sequence[Any]) -> list[dict[str, Any]]:
        return list(self.there.values()) if conditions[0]["operator"] == "equal" else []

    def chosen(self, number: int, fields: Sequence[str], ids: Sequence[int]) -> list[dict[str, Any]]:
        return [self.there[id_] for id_ in ids]

    def delete(self, path: str) -> None:
        del self.there[int(path.split("/")[3])]

    def patch(self, path: str, value: Any) -> None:
        self.there[int(path.split("/")[3])].update(value)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    found = Hub()

    @contextmanager
    def connect(config: Any) -> Iterator[Hub]:
        yield found

    def publish(client: Hub, workspace: Workspace, round_: int, number: int | None, lines: Sequence[Any]) -> int:
        if client.refuses:
            raise HubError("refused")
        for line in lines:
            client.publish(line["id"])
        return 1

    monkeypatch.setattr(sync, "connect", connect)
    monkeypatch.setattr(sync, "loop_id", lambda workspace: "x")
    monkeypatch.setattr(project, "find", lambda client, loop: 1)
    monkeypatch.setattr(sync, "_publish", publish)
    return found


@pytest.fixture
def open_round(tmp_path: Path, hub: Hub) -> Workspace:
    """Published as tasks 1 to 9."""
    workspace = asking(tmp_path / "w", labeler="label_studio", annotators=2)
    exchange.sync(workspace, 0)
    return workspace


def answers(workspace: Workspace, rank: int = 0) -> dict[str, str]:
    """What is known of an item, by annotator."""
    id_ = selected(workspace)[rank]
    found = [one for one in journal.load(workspace, 0).answers if one.id == id_]
    return {one.annotator: CLASSES[int(one.label)] for one in found if one.label is not None}


def test_an_annotator_who_is_removed_takes_no_answer_along_and_gives_none_twice(
    open_round: Workspace, hub: Hub
) -> None:
    hub.annotate(1, ANN, "ant", 0)
    hub.annotate(1, BOB, "bee", 1)
    exchange.sync(open_round, 0)
    hub.remove(ANN)
    exchange.sync(open_round, 0)
    hub.remove(BOB)
    exchange.sync(open_round, 0)
    assert answers(open_round) == {"ann": "ant", "bob": "bee"}
    hub.there[1]["annotations"].pop()
    exchange.sync(open_round, 0)
    assert answers(open_round) == {"ann": "ant"}


def test_an_annotator_whose_address_changes_has_not_answered_twice(open_round: Workspace, hub: Hub) -> None:
    hub.annotate(1, ANN, "ant", 0)
    exchange.sync(open_round, 0)
    hub.users[ANN] = "anna"
    assert "0 new answers, 0 revised" in str(exchange.sync(open_round, 0))
    assert answers(open_round) == {"ann": "ant"}


def test_of_two_annotations_by_one_person_the_one_that_is_left_counts(open_round: Workspace, hub: Hub) -> None:
    first = hub.annotate(1, ANN, "ant", 0)
    second = hub.annotate(1, ANN, "bee", 1)
    exchange.sync(open_round, 0)
    assert answers(open_round) == {"ann": "bee"}
    hub.withdraw(1, second)
    exchange.sync(open_round, 0)
    assert answers(open_round) == {"ann": "ant"}
    hub.withdraw(1, first)
    exchange.sync(open_round, 0)
    assert answers(open_round) == {}


def test_of_copies_that_one_person_has_annotated_the_one_that_is_left_counts(open_round: Workspace, hub: Hub) -> None:
    copy = hub.publish(selected(open_round)[0])
    first, second = hub.annotate(1, ANN, "ant", 0), hub.annotate(copy, ANN, "bee", 1)
    for _ in range(2):
        exchange.sync(open_round, 0)
        assert answers(open_round) == {"ann": "bee"}
    hub.withdraw(copy, second)
    exchange.sync(open_round, 0)
    assert answers(open_round) == {"ann": "ant"}
    hub.withdraw(1, first)
    exchange.sync(open_round, 0)
    assert answers(open_round) == {}


def test_a_copy_is_removed_after_its_answer_was_taken_back(open_round: Workspace, hub: Hub) -> None:
    copy = hub.publish(selected(open_round)[0])
    hub.annotate(1, BOB, "ant", 0)
    made = hub.annotate(copy, ANN, "bee", 1)
    exchange.sync(open_round, 0)
    hub.withdraw(copy, made)
    exchange.sync(open_round, 0)
    assert copy not in hub.there
    assert answers(open_round) == {"bob": "ant"}


@pytest.mark.parametrize("refuses", [False, True])
def test_a_task_that_is_lost_leaves_the_others_as_they_are(open_round: Workspace, hub: Hub, refuses: bool) -> None:
    hub.annotate(1, ANN, "ant", 0)
    made = hub.annotate(2, ANN, "ant", 0)
    exchange.sync(open_round, 0)
    del hub.there[1]
    hub.refuses = refuses
    if refuses:
        with pytest.raises(HubError):
            exchange.sync(open_round, 0)
    hub.refuses = False
    hub.withdraw(2, made)
    exchange.sync(open_round, 0)
    assert (answers(open_round, 0), answers(open_round, 1)) == ({"ann": "ant"}, {})


@pytest.mark.parametrize("time", ["", "2026-01-31T09:00:00Z", "2026-01-31T11:00:00Z"])
@pytest.mark.parametrize("first", ["file", "hub"])
def test_what_a_file_says_counts_again_without_the_annotation(
    open_round: Workspace, hub: Hub, tmp_path: Path, time: str, first: str
) -> None:
    path = write_csv(tmp_path / "a.csv", [f"{selected(open_round)[0]},cat,ann,{time},,"])
    if first == "file":
        journal.take_in_file(open_round, 0, path)
    made = hub.annotate(1, ANN, "bee", 0)
    exchange.sync(open_round, 0)
    if first == "hub":
        journal.take_in_file(open_round, 0, path)
    # Without a time the later of the two counts, however often one looks.
    latest = "cat" if "T11" in time or (not time and first == "hub") else "bee"
    for _ in range(2):
        exchange.sync(open_round, 0)
        assert answers(open_round) == {"ann": latest}
    hub.withdraw(1, made)
    exchange.sync(open_round, 0)
    assert answers(open_round) == {"ann": "cat"}


def test_a_disputed_task_is_opened_for_one_more_than_have_annotated_it(open_round: Workspace, hub: Hub) -> None:
    hub.annotate(1, ANN, "cat", 0)
    hub.annotate(1, ANN, "ant", 1)
    hub.annotate(1, BOB, "bee", 1)
    hub.there[1]["is_labeled"] = True
    assert "1 tasks opened" in str(exchange.sync(open_round, 0))
    # The server offers a task by its annotations, and takes it for done by those who made them.
    assert (hub.there[1]["overlap"], hub.there[1]["is_labeled"]) == (4, False)
    assert "tasks opened" not in str(exchange.sync(open_round, 0))
    hub.annotate(1, CARL, "cat", 2)
    assert "1 tasks opened" in str(exchange.sync(open_round, 0))
    assert hub.there[1]["overlap"] == 5


def test_a_task_that_one_person_has_annotated_twice_is_opened_for_another(open_round: Workspace, hub: Hub) -> None:
    hub.annotate(1, ANN, "cat", 0)
    assert "tasks opened" not in str(exchange.sync(open_round, 0))
    hub.annotate(1, ANN, "cat", 1)
    # It has as many annotations as were asked for, and so is offered to nobody.
    assert "1 tasks opened" in str(exchange.sync(open_round, 0))
    assert hub.there[1]["overlap"] == 3
    assert "tasks opened" not in str(exchange.sync(open_round, 0))


def test_a_round_that_closes_opens_no_disputed_tasks(tmp_path: Path, hub: Hub) -> None:
    workspace = asking(tmp_path / "w", labeler="label_studio", annotators=2, quorum=0.5)
    exchange.sync(workspace, 0)
    for task in hub.there:
        hub.annotate(task, ANN, "ant", 0)
        hub.annotate(task, BOB, "bee" if task == 1 else "ant", 1)
        hub.there[task]["is_labeled"] = True
    assert "tasks opened" not in str(exchange.sync(workspace, 0))
    assert waiting(workspace, 0) is None
    assert {task["overlap"] for task in hub.there.values()} == {2}
