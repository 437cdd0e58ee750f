"""What was selected in each round, as people see it."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from tasks import files
from tasks.datasets.shown import Shown, shown
from tasks.datasets.store import load_task
from tasks.errors import DataError
from tasks.report import words
from tasks.report.contents import Contents, contents
from tasks.report.loop import Loop, Round
from tasks.task_type import TaskType
from tasks.task_type.classification import Classification

#: Items shown on the whole page, and of one round at most.
MOST, MOST_OF_ROUND = 600, 30


@dataclass(frozen=True)
class Item:
    """One selected item; what is not known is None."""

    id: str
    rank: int
    score: float | None
    origin: str
    #: The label that was given, in words; None where nobody answered.
    label: str | None
    #: The label that the model before would have given.
    proposal: str | None
    #: The same with how sure it was, and of a number how far it lies from the one that was given.
    said: str | None
    #: Whether a class was proposed that is not the one that was given.
    wrong: bool
    #: The data: address of what it looks like, if the item has one.
    address: str | None
    contents: Contents | None


@dataclass(frozen=True)
class Selected:
    """A round's selection: the first items by rank, and how many there are of each kind."""

    round: int
    aborted: bool
    #: All that were selected, of which ``items`` are the first.
    count: int
    #: How many by why they were selected.
    origins: dict[str, int]
    items: list[Item]


@dataclass(frozen=True)
class Selection:
    """What the rounds selected."""

    rounds: list[Selected]
    #: Why the items themselves cannot be shown, or None.
    missing: str | None


def selection(loop: Loop) -> Selection:
    """What each round selected; of hundreds of rounds fewer items each, and of still more only the last rounds.

    The items themselves may be elsewhere: a data set that cannot be read is told, and leaves them out.

    Raises:
        DataError: a file is missing or damaged.
    """
    chosen = [round_ for round_ in loop.rounds if "select" in round_.stages][-MOST:]
    most = min(MOST_OF_ROUND, max(MOST // max(len(chosen), 1), 1))
    tables = [_selected(loop, round_) for round_ in chosen]
    first = [table[:most] for table in tables]
    seen, missing = _seen(loop, list(dict.fromkeys(row["id"] for rows in first for row in rows)))
    task = load_task(loop.workspace)
    found = [
        Selected(
            round=round_.number,
            aborted=round_.aborted,
            count=len(table),
            origins=dict(Counter(row["origin"] for row in table).most_common()),
            items=_items(loop, round_, rows, seen, task),
        )
        for round_, table, rows in zip(chosen, tables, first, strict=True)
    ]
    return Selection(found, missing)


def _selected(loop: Loop, round_: Round) -> list[dict[str, Any]]:
    path = loop.workspace.round_dir(round_.number) / "selected.parquet"
    rows: list[dict[str, Any]] = files.read_table(path, ["id", "rank", "score", "origin"]).sort_by("rank").to_pylist()
    return rows


def _seen(loop: Loop, ids: Sequence[str]) -> tuple[dict[str, Shown], str | None]:
    """The items by id; and why there are none where the data set is not there."""
    try:
        return dict(zip(ids, shown(loop.workspace, ids), strict=True)), None
    except DataError as error:
        return {}, str(error)


def _items(loop: Loop, round_: Round, rows: list[dict[str, Any]], seen: dict[str, Shown], task: TaskType) -> list[Item]:
    labels = _labels(loop, round_, task)
    proposals = _proposals(loop.workspace.round_dir(round_.number) / "tasks.jsonl", len(rows))
    return [_item(row, labels.get(row["id"]), proposals.get(row["id"]), seen.get(row["id"]), task) for row in rows]


def _item(
    row: dict[str, Any],
    label: str | float | None,
    proposal: dict[str, Any] | None,
    seen: Shown | None,
    task: TaskType,
) -> Item:
    proposed = None if proposal is None else proposal["label"]
    return Item(
        **row,
        label=_told(label),
        proposal=_told(proposed),
        said=None if proposal is None else _said(proposal, label, task),
        wrong=isinstance(label, str) and proposed is not None and label != proposed,
        address=None if seen is None else seen.address,
        contents=None if seen is None else contents(seen),
    )


def _told(label: str | float | None) -> str | None:
    return label if label is None or isinstance(label, str) else words.number(label)


def _said(proposal: dict[str, Any], label: str | float | None, task: TaskType) -> str:
    proposed, sure = proposal["label"], proposal[task.certainty]
    if isinstance(task, Classification):
        return f"{proposed}, {words.percent(sure, 0)}"
    said = f"{words.number(proposed)} ± {words.number(sure)}"
    return said if label is None else f"{said}, off by {words.number(abs(float(label) - proposed))}"


def _labels(loop: Loop, round_: Round, task: TaskType) -> dict[str, str | float]:
    if "label" not in round_.stages:
        return {}
    table = files.read_table(loop.workspace.round_dir(round_.number) / "labels.parquet", ["id", "label"])
    given = zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True)
    return {id_: task.told(label) for id_, label in given}


def _proposals(path: Path, most: int) -> dict[str, dict[str, Any]]:
    """By id, the first proposal of the first tasks, which stand there by rank; none in a round without a model."""
    if not path.exists():
        return {}
    with path.open(encoding="utf-8") as stream:
        tasks = [json.loads(line) for line in islice(stream, most)]
    return {task["id"]: task["proposals"][0] for task in tasks if task["proposals"]}
