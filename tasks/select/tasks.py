"""tasks.jsonl: what people are asked to label in a round, the most wanted first.

Known items may be among the tasks, to measure how often annotators err. Nothing in the file tells them from the others:
each says why it was selected, and what a model proposed, in the round in which it was.
"""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tasks import files
from tasks.datasets.shown import described
from tasks.datasets.store import load_task
from tasks.drawer import unpaid
from tasks.errors import DataError
from tasks.rounds import Workspace, load_config
from tasks.seeds import generator
from tasks.task_type import TaskType
from tasks.task_type.classification import Classification


def write(workspace: Workspace, round_: int, ids: pa.Array, known: pa.Table) -> None:
    """Write the round's tasks.jsonl, from ``ids`` by rank and their rows of the acquisition cache before.

    Raises:
        DataError: the cache proposes a label that cannot be.
    """
    wanted = set(unpaid(workspace, round_))
    lines = [line for line in _lines(workspace, round_, ids, known) if line["id"] in wanted]
    lines = _mixed(workspace, round_, lines)
    ordered = (line | {"round": round_, "priority": priority} for priority, line in enumerate(lines))
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in ordered)
    files.write_bytes(workspace.round_dir(round_) / "tasks.jsonl", text.encode())


def _lines(workspace: Workspace, round_: int, ids: pa.Array, known: pa.Table) -> list[dict[str, Any]]:
    selected = files.read_table(workspace.round_dir(round_) / "selected.parquet")
    why = selected.select(["origin", "score"]).to_pylist()
    proposals = _proposals(workspace, round_, known)
    return [
        {"id": id_, **item, "round": round_, "priority": rank, "why": reason, "proposals": proposed}
        for rank, (id_, item, reason, proposed) in enumerate(
            zip(ids.to_pylist(), described(workspace, ids), why, proposals, strict=True)
        )
    ]


def _mixed(workspace: Workspace, round_: int, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The tasks with known items between them, at random places."""
    config = load_config(workspace)
    count = round(config.select.checks * len(lines))
    if not config.select.checks or not lines:
        return lines
    rng = generator(config.seed, round_, "checks")
    earlier = _earlier(workspace, round_)
    drawn = rng.choice(len(earlier), min(max(count, 1), len(earlier)), replace=False)
    mixed = list(lines)
    for line in (earlier[place] for place in drawn.tolist()):
        mixed.insert(int(rng.integers(len(mixed) + 1)), line)
    return mixed


def _earlier(workspace: Workspace, round_: int) -> list[dict[str, Any]]:
    """The tasks of earlier rounds whose items have a label by now, in the order of their ids."""
    labeled = files.read_table(workspace.previous_dir(round_) / "labeled.parquet", ["id", "round"])
    found: dict[str, dict[str, Any]] = {}
    for number in pc.unique(labeled["round"]).to_pylist():
        for task in files.read_objects(workspace.round_dir(number) / "tasks.jsonl", "id"):
            found.setdefault(task["id"], task)
    known = set(labeled["id"].to_pylist())
    return [found[id_] for id_ in sorted(found) if id_ in known]


def _proposals(workspace: Workspace, round_: int, known: pa.Table) -> list[list[dict[str, Any]]]:
    """What the model before says of each item, in rows of the cache; nothing of one that it never saw."""
    task, path = load_task(workspace), workspace.previous_dir(round_) / "scores.parquet"
    labels, certainties = known["proposal"].to_pylist(), known[task.certainty].to_pylist()
    _check_classes(path, labels, task)
    return [
        [] if label is None or sure is None else [{"label": task.told(label), task.certainty: _rounded(sure, task)}]
        for label, sure in zip(labels, certainties, strict=True)
    ]


def _rounded(sure: float, task: TaskType) -> float:
    # A standard deviation is of any size, so its digits are counted from the first that is not 0.
    return round(sure, 6) if isinstance(task, Classification) else float(f"{sure:.6g}")


def _check_classes(path: Path, labels: list[Any], task: TaskType) -> None:
    if not isinstance(task, Classification):
        return
    if (wrong := max((label for label in labels if label is not None), default=0)) >= task.outputs:
        raise DataError(
            f"{path}: proposes class {wrong}, but there are {task.outputs}, numbered from 0; restore it with "
            "`dvc checkout`"
        )
