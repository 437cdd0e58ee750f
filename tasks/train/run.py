"""TRAIN: a model from all labels bought so far, and how good it is on the held-out set."""

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks import files, registry
from tasks.config import Config
from tasks.cost.ledger import Usage
from tasks.datasets.store import PoolInfo, load_info, load_items
from tasks.errors import ConfigError, DataError, FrugalError
from tasks.models import device as devices
from tasks.models import stored
from tasks.models.view import View
from tasks.rounds import Workspace, load_config
from tasks.seeds import torch_seed
from tasks.train.evaluate import evaluate
from tasks.train.examples import Examples, held_back
from tasks.train.fit import fit
from tasks.train.members import Ensemble, fit_members
from tasks.train.repeats import Measures, repeat


def run(workspace: Workspace, round_: int, usage: Usage) -> None:
    """Write model.safetensors, model.json, history.json and metrics.json of a round.

    Trains train.members models, train.repeats times. The metrics are the repeats' means, as ``Repeated.metrics`` says;
    weights and history are those of the repeat that is kept. The order of the rows in labeled.parquet plays no part.

    Counts, over all members and repeats, training records times epochs, and as forward passes these plus validation and
    evaluation.

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
    fit_one = partial(fit, build, train, validation, config.train, view)
    with (
        devices.timed(view.device, usage.device_s),
        devices.reproducible(view.device, torch_seed(config.seed, round_, "train")),
    ):
        repeated = repeat(
            config.train.repeats,
            lambda number: fit_members(fit_one, _seeds(config, round_, number)),
            partial(_measured, test=test, view=view, info=info),
        )

    trainings = config.train.members * config.train.repeats
    usage.record_epochs = len(train) * repeated.epochs
    usage.forward_passes = (len(train) + len(validation)) * repeated.epochs + len(test) * trainings
    files.write_json(folder / "history.json", repeated.ensemble.history)
    stored.write(folder, repeated.ensemble.models, _card(config, info, round_))
    metrics = {
        "round": round_,
        "labels": len(train) + len(validation),
        "train_items": len(train),
        "validation_items": len(validation),
        # Of one training: where there are several, each may stop early, so it is their mean.
        "epochs": repeated.epochs if trainings == 1 else repeated.epochs / trainings,
    }
    files.write_json(folder / "metrics.json", metrics | repeated.metrics())


def _seeds(config: Config, round_: int, number: int) -> list[int]:
    """Of the members of one repeat."""
    members = config.train.members
    return [torch_seed(config.seed, round_, "train", number * members + member) for member in range(members)]


def _check_mode(workspace: Workspace, round_: int) -> None:
    path = workspace.round_dir(round_) / "plan.json"
    mode = files.read_json(path)["retrain"]["value"]
    if mode != "scratch":
        raise ConfigError(f"{path}: retrain is {mode!r}; known: scratch")


def _labelled(workspace: Workspace, round_: int, config: Config, info: PoolInfo) -> tuple[Examples, Examples]:
    path = workspace.round_dir(round_) / "labeled.parquet"
    table = files.read_table(path, ["id", "label"]).sort_by("id")
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
    table, items = files.read_table(workspace.pool / "test.parquet", ["id", "label"]), load_items(workspace, "test")
    labels = table["label"].take(pc.index_in(items.ids, value_set=table["id"].combine_chunks()))
    return Examples(items.array, np.asarray(labels, dtype=np.int64))


def _measured(ensemble: Ensemble, test: Examples, view: View, info: PoolInfo) -> Measures:
    scores = ensemble.log_probabilities(test.items, view)
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
