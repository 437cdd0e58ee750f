"""TRAIN: a model from all labels bought so far, and how good it is on the held-out set."""

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from torch import nn

from tasks import files, registry
from tasks.config import Config
from tasks.cost.ledger import Usage
from tasks.datasets.store import PoolInfo, load_info, load_items
from tasks.errors import ConfigError, DataError, FrugalError
from tasks.models import device as devices
from tasks.models import stored
from tasks.models.forward import log_probabilities
from tasks.models.view import View
from tasks.rounds import Workspace, load_config
from tasks.seeds import torch_seed
from tasks.train.evaluate import evaluate
from tasks.train.examples import Examples, held_back
from tasks.train.fit import fit


def run(workspace: Workspace, round_: int, usage: Usage) -> None:
    """Write model.safetensors, model.json, history.json and metrics.json of a round.

    Counts training records times epochs, and as forward passes these plus validation and evaluation.

    Raises:
        ConfigError: the model does not take the items, the device is not there, or the plan asks for an unknown mode.
        DataError: a file is missing or damaged, or a label is not one of the classes.
        FrugalError: training diverged.
    """
    folder, config, info = workspace.round_dir(round_), load_config(workspace), load_info(workspace)
    _check_mode(workspace, round_)
    train, validation = _labelled(workspace, round_, config, info)
    test = _held_out(workspace)
    view = View(devices.resolve(config.device), info.mean, info.std, config.train.precision, config.train.channels_last)
    build = partial(registry.resolve(registry.MODELS, config.train.model), info.shape, len(info.classes))
    seed = torch_seed(config.seed, round_, "train")
    with devices.timed(view.device, usage.device_s):
        model, history = fit(build, train, validation, config.train, view, seed)
        with devices.reproducible(view.device, seed):
            measured = _measured(model, test, view, info)

    epochs = len(history)
    usage.record_epochs = len(train) * epochs
    usage.forward_passes = (len(train) + len(validation)) * epochs + len(test)
    files.write_json(folder / "history.json", history)
    stored.write(folder, model, _card(config, info, round_))
    metrics = {
        "round": round_,
        "labels": len(train) + len(validation),
        "train_items": len(train),
        "validation_items": len(validation),
        "epochs": epochs,
    }
    files.write_json(folder / "metrics.json", metrics | measured)


def _check_mode(workspace: Workspace, round_: int) -> None:
    path = workspace.round_dir(round_) / "plan.json"
    mode = files.read_json(path)["retrain"]["value"]
    if mode != "scratch":
        raise ConfigError(f"{path}: retrain is {mode!r}; known: scratch")


def _labelled(workspace: Workspace, round_: int, config: Config, info: PoolInfo) -> tuple[Examples, Examples]:
    path = workspace.round_dir(round_) / "labeled.parquet"
    table = files.read_table(path, ["id", "label"])
    ids, labels = table["id"], np.asarray(table["label"], dtype=np.int64)
    if not len(labels):
        raise DataError(f"{path}: holds no labels, so there is nothing to train on; set loop.initial to 1 or more")
    _check_labels(ids, labels, info)
    pool = load_items(workspace, "pool")
    rows = pool.rows(ids)
    held = held_back(ids.to_pylist(), config.train.validation, config.seed)
    # Indexing copies the labelled rows into memory; the pool stays mapped.
    return Examples(pool.array[rows[~held]], labels[~held]), Examples(pool.array[rows[held]], labels[held])


def _check_labels(ids: pa.ChunkedArray, labels: npt.NDArray[np.int64], info: PoolInfo) -> None:
    wrong = np.flatnonzero((labels < 0) | (labels >= len(info.classes)))
    if len(wrong):
        raise DataError(
            f"item {ids[int(wrong[0])].as_py()!r} has the label {labels[wrong[0]]}, but the "
            f"{len(info.classes)} classes of data/pool/pool.json are numbered from 0; correct the answers of its round"
        )


def _held_out(workspace: Workspace) -> Examples:
    # The array follows the rows of this very table.
    labels = files.read_table(workspace.pool / "test.parquet", ["label"])["label"]
    return Examples(load_items(workspace, "test").array, np.asarray(labels, dtype=np.int64))


def _measured(model: nn.Module, test: Examples, view: View, info: PoolInfo) -> dict[str, Any]:
    scores = log_probabilities(model, test.items, view)
    if not np.isfinite(scores).all():
        raise FrugalError(
            "training diverged in its last steps: the model's outputs are not finite; "
            "start a new loop with a lower train.lr"
        )
    return evaluate(scores, test.labels, info.classes)


def _card(config: Config, info: PoolInfo, round_: int) -> dict[str, Any]:
    return {
        "model": config.train.model,
        "round": round_,
        "seed": config.seed,
        "shape": list(info.shape),
        "classes": list(info.classes),
        "mean": list(info.mean),
        "std": list(info.std),
        "precision": config.train.precision,
        "channels_last": config.train.channels_last,
    }
