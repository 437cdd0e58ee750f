"""Loops as their files tell them, without a training: what a report reads."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tasks import files
from tasks.datasets.store import array_path
from tasks.rounds import Workspace
from tests.pools import make_workspace

HELD_OUT = 30
_MONEY = {"labels": 0.0, "compute": 0.01, "overhead": 0.001}


def used(**values: Any) -> dict[str, Any]:
    """What a stage used, as cost.json has it."""
    usage: dict[str, Any] = {
        "labels": 0,
        "label_price": 0.0,
        "record_epochs": 0,
        "items_scored": 0,
        "forward_passes": 0,
        "wall_s": 1.5,
        "cpu_s": 1.5,
        "device_s": {},
        "peak_memory_mb": 100.0,
        "money": _MONEY,
    }
    return usage | values


def stages(labels: int = 6, scored: bool = True) -> dict[str, Any]:
    """The ledger of one round whose labels cost 0.05 each."""
    made = {
        "select": used(),
        "label": used(labels=labels, money={**_MONEY, "labels": 0.05 * labels}),
        "train": used(record_epochs=100, forward_passes=130, device_s={"cpu": 1.25}),
    }
    if scored:
        made["infer"] = used(items_scored=40, forward_passes=40, device_s={"cpu": 0.5})
    return {name: {"used": one, "inputs": {}, "outputs": {}} for name, one in made.items()}


def write_loop(
    root: Path, accuracies: list[float], classes: list[str] | None = None, aborted: int = 0, **settings: Any
) -> Workspace:
    """A workspace with one trained round for each accuracy, the first ``aborted`` of which were a false start."""
    workspace = make_workspace(root, **settings)
    names = classes or ["ant", "bee", "cat"]
    write_pool(workspace, names)
    last = len(accuracies) - 1
    for number, accuracy in enumerate(accuracies):
        action = "stop" if number == last else "restart" if number == aborted - 1 else "continue"
        write_round(workspace, number, accuracy, 6 * (number - (aborted if number >= aborted else 0) + 1), action)
    return workspace


def write_pool(workspace: Workspace, classes: list[str]) -> None:
    """pool.json of 60 colour images of 8x8, the images themselves, and a held-out set of 30."""
    info = {
        "dataset": "test",
        "classes": classes,
        "shape": [3, 8, 8],
        "dtype": "uint8",
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
        "items": 60,
        "held_out": HELD_OUT,
        "known_labels": 60,
        "digest": "d",
    }
    files.write_json(workspace.pool / "pool.json", info)
    path = array_path(workspace, "pool", "d")
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.random.default_rng(0).integers(0, 255, (60, 3, 8, 8), dtype=np.uint8))
    ids = [f"t/{number:04d}" for number in range(HELD_OUT)]
    labels = [number % len(classes) for number in range(HELD_OUT)]
    files.write_table(workspace.pool / "test.parquet", pa.table({"id": ids, "label": labels}))


def write_round(workspace: Workspace, number: int, accuracy: float, labels: int, action: str) -> None:
    """A finished round on the files that a report reads; its selection begins with item 6 x number."""
    folder = workspace.round_dir(number)
    classes = files.read_json(workspace.pool / "pool.json")["classes"]
    choices = {"query_size": (6, "loop.query_size"), "infer_scope": ("full", "infer.scope"), "seed": (0, "seed")}
    plan = {name: {"value": value, "reason": reason, "numbers": {}} for name, (value, reason) in choices.items()}
    files.write_json(folder / "plan.json", {"round": number, **plan})
    files.write_json(
        folder / "decision.json",
        {"round": number, "action": action, "policy": "rounds", "reason": f"round {number}", "numbers": {}},
    )
    write_ledger(workspace, number, stages(scored=action == "continue"))
    files.write_json(folder / "metrics.json", metrics(accuracy, labels, classes))
    ids = [f"x/{(6 * number + rank) % 60:04d}" for rank in range(6)]
    write_selected(folder, ids, classes)


def write_ledger(workspace: Workspace, number: int, made: dict[str, Any]) -> None:
    """cost.json of a round."""
    files.write_json(workspace.round_dir(number) / "cost.json", {"currency": "USD", "stages": made})


def metrics(accuracy: float, labels: int, classes: list[str]) -> dict[str, Any]:
    """metrics.json of a model with this accuracy on 30 items, all mistakes being made in the first class."""
    each = HELD_OUT // len(classes)
    confusion = np.diag([each] * len(classes))
    wrong = round(HELD_OUT * (1 - accuracy))
    confusion[0, 0] -= wrong
    confusion[0, -1] += wrong
    return {"labels": labels, "accuracy": accuracy, "nll": 0.5, "ece": 0.05, "confusion": confusion.tolist()}


def write_selected(folder: Path, ids: list[str], classes: list[str]) -> None:
    """selected.parquet, labels.parquet and tasks.jsonl; the model proposes the last class for all."""
    count = len(ids)
    columns = {"id": ids, "rank": list(range(count)), "score": [0.9] * count, "origin": ["top-k"] * count}
    files.write_table(folder / "selected.parquet", pa.table(columns))
    files.write_table(folder / "labels.parquet", pa.table({"id": ids, "label": [0] * count}))
    tasks = [{"id": id_, "proposals": [{"label": classes[-1], "confidence": 0.4}]} for id_ in ids]
    files.write_bytes(folder / "tasks.jsonl", "".join(json.dumps(task) + "\n" for task in tasks).encode())


def write_predictions(workspace: Workspace, number: int, labels: list[int], confidence: list[float]) -> None:
    """predictions.parquet of the held-out items, in their order, with some of a stop set below."""
    count = len(labels)
    table = {
        "id": [f"t/{item:04d}" for item in range(count)] + ["x/0000"],
        "set": ["held_out"] * count + ["stop"],
        "label": pa.array([*labels, 0], pa.int64()),
        "confidence": pa.array([*confidence, 1.0], pa.float32()),
        "entropy": pa.array([0.1] * (count + 1), pa.float32()),
    }
    files.write_table(workspace.round_dir(number) / "predictions.parquet", pa.table(table))
