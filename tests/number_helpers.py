"""Loops of a regression as their files tell them, without a training."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tasks import files
from tasks.rounds import Workspace
from tests.pools import make_workspace
from tests.report_helpers import stages, write_ledger

HELD_OUT = 40


def write_loop(root: Path, values: list[float], **settings: Any) -> Workspace:
    """A workspace with one trained round for each R², of six labels more than the one before."""
    workspace = make_workspace(root, task="regression", **settings)
    write_pool(workspace)
    for number, value in enumerate(values):
        write_round(workspace, number, value, "stop" if number == len(values) - 1 else "continue")
    return workspace


def write_pool(workspace: Workspace) -> None:
    """pool.json of 60 items whose prices are asked for, and a held-out set of 40 with the prices 100, 101, …"""
    info = {"dataset": "test", "task": "regression", "target": "price", "bounds": None, "items": 60, "digest": "d"}
    files.write_json(workspace.pool / "pool.json", info)
    held_out = {"id": [f"t/{number:04d}" for number in range(HELD_OUT)], "label": 100.0 + np.arange(HELD_OUT)}
    files.write_table(workspace.pool / "test.parquet", pa.table(held_out))


def metrics(value: float, labels: int) -> dict[str, Any]:
    """metrics.json of a model with this R² on a held-out set whose labels have the variance 100."""
    rmse = 10 * (1 - value) ** 0.5
    losses = {"first": 1.4, "last": 0.5}
    return {"labels": labels, "r2": value, "rmse": rmse, "mae": 0.8 * rmse, "nll": -0.25, "losses": losses}


def write_round(workspace: Workspace, number: int, value: float, action: str) -> None:
    """A finished round on the files that a report reads."""
    folder = workspace.round_dir(number)
    choices = {"query_size": (6, "loop.query_size"), "infer_scope": ("full", "infer.scope")}
    plan = {name: {"value": chosen, "reason": reason} for name, (chosen, reason) in choices.items()}
    files.write_json(folder / "plan.json", {"round": number, **plan})
    told = {"round": number, "action": action, "policy": "rounds", "reason": f"round {number}", "numbers": {}}
    files.write_json(folder / "decision.json", told)
    write_ledger(workspace, number, stages(scored=action == "continue"))
    files.write_json(folder / "metrics.json", metrics(value, 6 * (number + 1)))
    ids = [f"x/{6 * number + rank:04d}" for rank in range(6)]
    columns = {"id": ids, "rank": list(range(6)), "score": [0.9] * 6, "origin": ["top-k"] * 6}
    files.write_table(folder / "selected.parquet", pa.table(columns))
    files.write_table(folder / "labels.parquet", pa.table({"id": ids, "label": [12.5] * 6}))
    files.write_bytes(folder / "tasks.jsonl", b"")


def write_predictions(workspace: Workspace, number: int, errors: list[float], std: list[float]) -> None:
    """predictions.parquet of the held-out items, the last one first, and of one of a stop set."""
    count = len(errors)
    table = {
        "id": [*[f"t/{item:04d}" for item in range(count)][::-1], "x/0000"],
        "set": ["held_out"] * count + ["stop"],
        "label": [*[100.0 + item + error for item, error in enumerate(errors)][::-1], 0.0],
        "std": [*std[::-1], 1.0],
    }
    files.write_table(workspace.round_dir(number) / "predictions.parquet", pa.table(table))
