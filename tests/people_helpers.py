"""A loop whose labels people give."""

import json
from pathlib import Path
from typing import Any

from tasks import loop
from tasks.label.labels import Answer
from tasks.rounds import Workspace
from tests.pools import column, make_workspace, write_scores

RECORD = {"git": "off", "dvc": False, "mlflow": False}


def asking(root: Path, numbers: bool = False, select: dict[str, Any] | None = None, **label: Any) -> Workspace:
    """A workspace whose round 000 waits for people to label 9 of 60 items."""
    settings = {"label": {"labeler": "files"} | label, "select": select or {}, "record": RECORD}
    workspace = make_workspace(root, numbers=numbers, **settings)
    while (step := loop.next_step(workspace)) is not None and step.name != "label":
        loop.run(workspace, step)
    return workspace


def tasks(workspace: Workspace, round_: int = 0) -> list[dict[str, Any]]:
    """The lines of a round's tasks.jsonl."""
    text = (workspace.round_dir(round_) / "tasks.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


def selected(workspace: Workspace, round_: int = 0) -> list[str]:
    """The ids of a round's selected items, by rank."""
    return column(workspace.round_dir(round_) / "selected.parquet", "id")


def said(id_: str, label: int | float | None, annotator: str = "ann", at: str | None = None) -> Answer:
    """An answer that took two seconds."""
    return Answer(id_, label, annotator, at, 2.0)


def write_csv(path: Path, rows: list[str], header: str = "id,label,annotator,labeled_at,seconds,status") -> Path:
    """A file of answers."""
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def score_round(workspace: Workspace, round_: int) -> None:
    """An acquisition cache and the decision to go on, without a training."""
    from tasks import files

    left = column(workspace.round_dir(round_) / "unlabeled.parquet", "id")
    write_scores(workspace.round_dir(round_) / "scores.parquet", {id_: float(n) for n, id_ in enumerate(left)})
    made = {"action": "continue", "reason": "test", "policy": "test", "numbers": {}}
    files.write_json(workspace.round_dir(round_) / "decision.json", made)
