"""TRAIN: a model from all labels bought so far, and how good it is on the held-out set."""

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch

from tasks import files, registry
from tasks.config import Config
from tasks.cost.ledger import Usage
from tasks.datasets.store import Items, PoolInfo, load_info, load_items
from tasks.errors import DataError, Diverged
from tasks.models import device as devices
from tasks.models import stored
from tasks.models.view import View
from tasks.rounds import Workspace, load_config
from tasks.seeds import torch_seed
from tasks.train import predictions
from tasks.train import start as starts
from tasks.train.evaluate import accuracy
from tasks.train.examples import Examples, held_back
from tasks.train.fit import fewest_items
from tasks.train.members import Ensemble
from tasks.train.repeats import Repeated, repeat
from tasks.train.replay import replay
from tasks.train.sets import Sets
from tasks.train.trainings import Trainings


def run(workspace: Workspace, round_: int, usage: Usage) -> None:
    """Write model.safetensors, model.json, history.json, predictions.parquet and metrics.json of a round.

    Trains train.members models, train.repeats times, from where the plan's `retrain` says. The metrics are the repeats'
    means, as ``Repeated.metrics`` says; weights, history and predictions are those of the repeat that is kept.

    Where the plan's `watch` is set, a training that diverges is the round's last: its model is the one that the
    training began with, and measured as such.

    Counts, over all members and repeats, training records times epochs, and as forward passes these, those of the
    validation, and of every look at a set of items.

    Raises:
        ConfigError: the model does not take the items, the device is not there, or the plan asks for an unknown mode
            or goes on from the weights of another model.
        DataError: a file is missing or damaged, or a label is not one of the classes.
        Diverged: training did, and is not watched.
    """
    folder, config, info = workspace.round_dir(round_), load_config(workspace), load_info(workspace)
    plan = files.read_object(folder / "plan.json", "retrain")
    trainings, sets = _prepared(workspace, round_, plan, usage)
    diverged = False
    with (
        devices.timed(trainings.view.device, usage.device_s),
        devices.reproducible(trainings.view.device, torch_seed(config.seed, round_, "train")),
    ):
        try:
            repeated = repeat(config.train.repeats, trainings.ensemble, sets.measure)
            seen = sets.predict(repeated)
        except Diverged as fault:
            if not _value(plan, "watch", False):
                raise
            diverged = True
            repeated = _as_it_began(trainings, sets, fault)
            seen = sets.predict(repeated)

    files.write_json(folder / "history.json", repeated.ensemble.history)
    stored.write(folder, repeated.ensemble.models, _card(config, info, round_))
    files.write_table(folder / "predictions.parquet", predictions.table(seen))
    validated = [accuracy(one.scores, sets.validation.labels) for one in seen if one.set == "validation"]
    metrics = {
        "round": round_,
        "labels": len(trainings.train) + len(sets.validation),
        "train_items": len(trainings.train),
        "validation_items": len(sets.validation),
        "epochs": trainings.epochs,
        "losses": repeated.ensemble.losses,
        "validation_accuracy": validated[0] if validated else None,
        "diverged": diverged,
    }
    files.write_json(folder / "metrics.json", metrics | repeated.metrics())


def _prepared(workspace: Workspace, round_: int, plan: dict[str, Any], usage: Usage) -> tuple[Trainings, Sets]:
    """What is to be trained on what, and looked at afterwards."""
    config, info, pool = load_config(workspace), load_info(workspace), load_items(workspace, "pool")
    settings = config.train
    fresh = partial(registry.resolve(registry.MODELS, settings.model), info.shape, len(info.classes))
    start = starts.read(workspace, round_, settings.members, fresh)
    train, validation, older = _labelled(workspace, round_, config, info, pool)
    with torch.device("meta"):
        fewest = fewest_items(fresh())
    view = View(devices.resolve(config.device), info.mean, info.std, settings.precision, settings.channels_last)
    trainings = Trainings(
        start=start,
        fresh=fresh,
        train=train,
        validation=validation,
        replay=replay(older, start.replay, fewest) if start.replay < 1 else None,
        settings=settings if start.epochs is None else settings.model_copy(update={"epochs": start.epochs}),
        view=view,
        seed=partial(torch_seed, config.seed, round_, "train"),
        usage=usage,
    )
    rows = predictions.stop_set(pool.ids, _value(plan, "stop_set", 0), config.seed)
    stop = Items(pool.ids.take(rows), pool.array[rows])
    return trainings, Sets(_held_out(workspace), validation, stop, info.classes, view, usage)


def _value(plan: dict[str, Any], name: str, default: Any) -> Any:
    """A decision of the plan; a former release's has not all of them."""
    return plan[name]["value"] if name in plan else default


def _as_it_began(trainings: Trainings, sets: Sets, fault: Diverged) -> Repeated:
    ensemble = Ensemble(trainings.beginning(), fault.histories)
    measures, scores = sets.measure(ensemble)
    return Repeated(ensemble, 0, scores, (measures,), (float("inf"),))


def _labelled(
    workspace: Workspace, round_: int, config: Config, info: PoolInfo, pool: Items
) -> tuple[Examples, Examples, npt.NDArray[np.bool_]]:
    """The items to train on, those held back, and which of the former got their labels in earlier rounds."""
    path = workspace.round_dir(round_) / "labeled.parquet"
    table = files.read_table(path, ["id", "label", "round"]).sort_by("id").combine_chunks()
    ids, labels = table["id"], np.asarray(table["label"], dtype=np.int64)
    if not len(labels):
        raise DataError(f"{path}: holds no labels, so there is nothing to train on; set loop.initial to 1 or more")
    _check_labels(ids, labels, info)
    rows, older = pool.rows(ids), np.asarray(table["round"]) != round_
    held = held_back(ids.to_pylist(), config.train.validation, config.seed)
    # Indexing copies the labelled rows into memory; the pool stays mapped.
    train, validation = (
        Examples(pool.array[rows[side]], labels[side], ids.combine_chunks().filter(pa.array(side)))
        for side in (~held, held)
    )
    return train, validation, older[~held]


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
    return Examples(items.array, np.asarray(labels, dtype=np.int64), items.ids)


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
