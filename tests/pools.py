"""Small pools in the files that the pool stage writes, without any data set."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from tasks import files
from tasks.config import parse
from tasks.datasets import tables
from tasks.rounds import Workspace, begin
from tasks.task_type import Classification, Regression, TaskType

PRICES = {"currency": "USD", "label": 0.05, "device_hour": {"cpu": 0.2, "cuda": 2.5}}
CLASSES = ["ant", "bee", "cat"]
#: What the labels are, as pool.json has it.
CLASSIFICATION = Classification(tuple(CLASSES))
PRICE = Regression("price", (0.0, 100.0))


def make_workspace(
    root: Path, items: int = 60, known: int | None = None, numbers: bool = False, **settings: Any
) -> Workspace:
    """A workspace with a begun loop; item i is called x/i and has class i modulo 3, or the price i / 2."""
    (root / "conf").mkdir(parents=True)
    (root / "dvc.yaml").write_text("stages: {}\n")
    workspace = Workspace(root)
    values: dict[str, Any] = {"name": "test", "loop": {"initial": 9, "query_size": 6, "rounds": 3}, "prices": PRICES}
    task = {"task": "regression"} if numbers else {}
    begin(workspace, parse(values | task | settings, "test"))
    write_pool(workspace, items, items if known is None else known, PRICE if numbers else CLASSIFICATION)
    return workspace


def write_pool(workspace: Workspace, items: int, known: int, task: TaskType = CLASSIFICATION) -> None:
    """pool.json, manifest, oracle and the empty start of the loop."""
    ids = [f"x/{number:04d}" for number in range(items)]
    labels = [number / 2 if isinstance(task, Regression) else number % 3 for number in range(max(items, 6))]
    pool = workspace.pool
    files.write_json(pool / "pool.json", task.described() | {"items": items})
    files.write_table(pool / "manifest.parquet", pa.table({"id": ids, "uri": [f"{id_}.png" for id_ in ids]}))
    files.write_table(pool / "oracle.parquet", pa.table({"id": ids[:known], "label": labels[: len(ids[:known])]}))
    held_out = {"id": [f"t/{number}" for number in range(6)], "label": labels[:6]}
    files.write_table(pool / "test.parquet", pa.table(held_out))
    files.write_table(pool / "start" / "unlabeled.parquet", pa.table({"id": pa.array(ids, pa.string())}))
    files.write_table(pool / "start" / "labeled.parquet", tables.labeled(task).empty_table())
    write_scores(pool / "start" / "scores.parquet", {}, task)


def write_scores(path: Path, scores: dict[str, float], task: TaskType = CLASSIFICATION) -> None:
    """An acquisition cache with the given scores; every item is proposed as a bee, or at a price of 1."""
    rows = len(scores)
    files.write_table(
        path,
        pa.table(
            {
                "id": pa.array(list(scores), pa.string()),
                "score": pa.array(list(scores.values()), pa.float64()),
                "scored_round": pa.array([0] * rows, pa.int32()),
                "model": pa.array(["m"] * rows, pa.string()),
                "times_scored": pa.array([1] * rows, pa.int32()),
                "proposal": pa.array([1] * rows, task.label_type),
                task.certainty: pa.array([0.5] * rows, pa.float64()),
            }
        ),
    )


def write_plan(workspace: Workspace, round_: int, **values: Any) -> None:
    """A plan.json with the given values over harmless ones."""
    plan = {
        "query_size": 6,
        "strategy": "random",
        "proxy": None,
        "infer_scope": "full",
        "retrain": "scratch",
        "seed": 0,
    }
    chosen = {name: {"value": value, "reason": "test"} for name, value in (plan | values).items()}
    files.write_json(workspace.round_dir(round_) / "plan.json", {"round": round_, **chosen})


def column(path: Path, name: str) -> list[Any]:
    """One column of a Parquet file."""
    values: list[Any] = files.read_table(path, [name])[name].to_pylist()
    return values


def snapshot(root: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
