"""Small learnable arrays, and rounds of a digits workspace that are ready for TRAIN and INFER."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from tasks import files, registry, stages
from tasks.config import parse
from tasks.config_train import TrainConfig
from tasks.cost.ledger import Usage
from tasks.datasets import run as pool_stage
from tasks.datasets.source import Kind
from tasks.datasets.store import load_task
from tasks.datasets.texts import Texts
from tasks.models.building import build, settings_of
from tasks.models.inputs import tensor
from tasks.models.trial import Trial
from tasks.models.view import View
from tasks.rounds import Workspace, begin
from tasks.task_type import Classification
from tasks.train import run as train_stage
from tasks.train.examples import Examples
from tests.datasets_helpers import table
from tests.pools import PRICES, write_plan

POOL_ITEMS = 60
#: Every model, with every kind of items that it takes.
MODELS_AND_KINDS = [(name, kind) for name in registry.MODELS for kind in registry.KINDS.get(name, ("images",))]


def examples(count: int = 40, shape: tuple[int, ...] = (1, 8, 8)) -> Examples:
    """Noise with a bright half: the upper one for class 0, the lower one for class 1."""
    labels = np.arange(count) % 2
    items = np.random.default_rng(0).integers(0, 60, (count, *shape)).astype(np.uint8)
    half = shape[1] // 2
    items[labels == 0, :, :half] += 150
    items[labels == 1, :, half:] += 150
    return Examples(items, labels.astype(np.int64))


def named(
    name: str, kind: str, outputs: int, shape: tuple[int, ...] = (3, 32, 32), device: str = "cpu"
) -> tuple[nn.Module, Tensor]:
    """The model of a name on a device, and two items of a kind as it sees them, on the CPU; ``shape``: of images."""
    shapes: dict[str, tuple[Kind, tuple[int, ...]]] = {
        "images": ("images", shape),
        "numbers": ("numbers", (7,)),
        "texts": ("texts", ()),
    }
    trial = Trial(*shapes[kind], Texts.of(["A day in May, fine and long; nobody was there.", "No."]))
    settings = quick(model=name)
    items, fed = trial.fed(settings, 2)
    with torch.device(device):
        model = build(name, fed, outputs, settings=settings_of(settings))
    return model, View(torch.device("cpu"), *trial.means).normalised(tensor(items))


def view(**settings: Any) -> View:
    """A view on the CPU for images of one channel, of the classes of ``examples``."""
    return View(torch.device("cpu"), (0.4,), (0.3,), **{"task": Classification(("upper", "lower"))} | settings)


def quick(**settings: Any) -> TrainConfig:
    """A short training of the linear model."""
    return TrainConfig(**{"model": "linear", "epochs": 3, "batch_size": 8, "lr": 0.01} | settings)


def digits_workspace(root: Path, **settings: Any) -> Workspace:
    """A loop on the first digits whose round 0 has been labelled: items 0…19 of the pool have labels."""
    workspace = Workspace(root)
    values: dict[str, Any] = {
        "name": "test",
        "device": "cpu",
        "dataset": {"name": "digits", "limit": POOL_ITEMS},
        "train": {"model": "linear", "epochs": 2},
        "prices": PRICES,
    }
    config = parse(values | settings, "test")
    begin(workspace, config)
    pool_stage.run(workspace, config)
    label(workspace, 0, 20)
    return workspace


def numbers_workspace(root: Path, **settings: Any) -> Workspace:
    """A loop on 60 rows of three numbers, 20 of them labelled in round 0 by a number in the thousands."""
    root.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    for name, count in (("train", POOL_ITEMS), ("test", 30)):
        columns = draw.standard_normal((count, 3))
        labels = 5000 + 1000 * (columns[:, 0] - columns[:, 1]) + 100 * draw.standard_normal(count)
        rows = np.column_stack([columns, labels]).tolist()
        table(root / f"{name}.csv", ["id", "a", "b", "c", "y"], *([f"{name}/{n}", *row] for n, row in enumerate(rows)))
    workspace = Workspace(root / "w")
    values: dict[str, Any] = {
        "name": "test",
        "device": "cpu",
        "task": "regression",
        "dataset": {"name": "table", "root": str(root), "pool": "train.csv", "test": "test.csv", "label": "y"},
        "train": {"model": "mlp", "mlp": {"hidden": [8]}, "epochs": 3, "validation": 0.2},
        "prices": PRICES,
    }
    config = parse(values | settings, "test")
    begin(workspace, config)
    pool_stage.run(workspace, config)
    label(workspace, 0, 20)
    return workspace


def pool_ids(workspace: Workspace) -> list[str]:
    """The ids of the pool, in its order."""
    ids: list[str] = files.read_table(workspace.pool / "manifest.parquet", ["id"])["id"].to_pylist()
    return ids


def label(workspace: Workspace, round_: int, count: int, old: int = 0, **plan: Any) -> None:
    """Write the plan and the pools of a round in which the first ``count`` items have labels, ``old`` of them older."""
    write_plan(workspace, round_, **plan)
    ids = pool_ids(workspace)
    answers = files.read_table(workspace.pool / "oracle.parquet")
    labels = dict(zip(answers["id"].to_pylist(), answers["label"].to_pylist(), strict=True))
    write_labeled(workspace, round_, ids[:count], [labels[id_] for id_ in ids[:count]], old)
    folder = workspace.round_dir(round_)
    files.write_table(folder / "unlabeled.parquet", pa.table({"id": pa.array(ids[count:], pa.string())}))


def write_labeled(workspace: Workspace, round_: int, ids: list[str], labels: list[Any], old: int = 0) -> None:
    """labeled.parquet of a round; the first ``old`` items have their labels from the round before."""
    table = {
        "id": pa.array(ids, pa.string()),
        "label": pa.array(labels, load_task(workspace).label_type),
        "round": pa.array([round_ - 1] * old + [round_] * (len(ids) - old), pa.int32()),
    }
    files.write_table(workspace.round_dir(round_) / "labeled.parquet", pa.table(table))


def go_on(workspace: Workspace, count: int = 30, plan: dict[str, Any] | None = None, **retrain: Any) -> None:
    """Open round 1 with ``count`` labels, 20 of them from round 0, on whose weights the training goes on as told."""
    digest = files.digest(workspace.round_dir(0) / "model.safetensors")
    value = {"mode": "warm", "from_round": 0, "digest": digest} | retrain
    label(workspace, 1, count, old=min(count, 20), retrain=value, **(plan or {}))


def outputs(workspace: Workspace, round_: int = 0) -> dict[str, bytes]:
    """What TRAIN wrote in a round."""
    paths = stages.TRAIN.paths(workspace, round_, stages.TRAIN.outs + stages.TRAIN.metrics)
    return {path.name: path.read_bytes() for path in paths.values()}


def train(workspace: Workspace, round_: int = 0) -> Usage:
    """Run TRAIN of a round."""
    usage = Usage()
    train_stage.run(workspace, round_, usage)
    return usage
