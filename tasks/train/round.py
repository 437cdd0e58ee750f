"""A round's training, whichever model it is of: what it begins with, and the files that it leaves behind."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import nn

from tasks import files, registry
from tasks.config import Config
from tasks.config_train import TrainConfig
from tasks.cost.ledger import Usage
from tasks.datasets.store import Items, PoolInfo, load_info
from tasks.errors import DataError, Diverged
from tasks.models import device as devices
from tasks.models import encoded, stored
from tasks.models.building import build, settings_of
from tasks.models.scaled import measured as measured_unit
from tasks.models.view import View, shape_at
from tasks.rounds import Workspace, load_config
from tasks.seeds import torch_seed
from tasks.task_type import Regression, TaskType
from tasks.train import predictions
from tasks.train.examples import Examples, held_back
from tasks.train.fit import fewest_items
from tasks.train.predictions import Prediction
from tasks.train.repeats import Repeated
from tasks.train.replay import replay
from tasks.train.sets import Sets
from tasks.train.start import Start
from tasks.train.trainings import Trainings


@dataclass(frozen=True)
class Learner:
    """A model to be trained in a round."""

    settings: TrainConfig
    #: To which square items are averaged down before it sees them; None: as they are.
    side: int | None
    #: The stage that trains it, by which its seeds are told from those of others.
    stage: str
    #: The dotted path of ``settings``.
    block: str = "train"

    def fresh(
        self, shape: tuple[int, ...], task: TaskType, labels: npt.NDArray[Any] | None = None
    ) -> Callable[[], nn.Module]:
        """What draws the weights of a new one.

        Args:
            shape: of one item as the model takes it, but for ``side``.
            task: what it learns.
            labels: those that a regression learns from; None where only the shapes of the weights count.

        Raises:
            ConfigError: the items are not square, or smaller than ``side``.
        """
        unit = measured_unit(labels.tolist()) if labels is not None and isinstance(task, Regression) else (0.0, 1.0)
        return partial(
            build,
            self.settings.model,
            shape_at(shape, self.side),
            task.outputs,
            self.settings.loss_prediction is not None,
            settings_of(self.settings),
            unit if isinstance(task, Regression) else None,
        )

    @contextmanager
    def advised(self) -> Iterator[None]:
        """Tell whoever has to do with a divergence which key to mend it by.

        Raises:
            Diverged: a training did within.
        """
        try:
            yield
        except Diverged as fault:
            message = f"{fault}; start a new loop with a lower {self.block}.lr"
            raise Diverged(message, fault.histories) from None


def selecting(config: Config) -> Learner:
    """The model that is trained in every round: the proxy, if there is one."""
    side = None if config.proxy is None else config.proxy.side
    return Learner(config.selecting, side, "train", config.block)


def prepare(
    workspace: Workspace, round_: int, learner: Learner, start: Start, stop_set: int, usage: Usage
) -> tuple[Trainings, Sets]:
    """What is to be trained on the labels of a round, and looked at afterwards.

    Args:
        stop_set: items of the pool whose predictions are kept besides; 0 for none.

    Raises:
        ConfigError: the model does not take the items, or the device is not there.
        DataError: a file is missing or damaged, or a label is not one of the classes.
    """
    config, info, settings = load_config(workspace), load_info(workspace), learner.settings
    fed = encoded.load(workspace, "pool", settings)
    pool, task = fed.items, info.task
    train, validation, older = _labelled(workspace, round_, settings.validation, config.seed, task, pool)
    fresh = learner.fresh(fed.shape, task, train.labels)
    with torch.device("meta"):
        fewest = fewest_items(fresh())
    means = info.mean, info.std
    view = View(devices.resolve(config.device), *means, settings.precision, settings.channels_last, learner.side, task)
    trainings = Trainings(
        start=start,
        fresh=fresh,
        train=train,
        validation=validation,
        replay=replay(older, start.replay, fewest) if start.replay < 1 else None,
        settings=settings if start.epochs is None else settings.model_copy(update={"epochs": start.epochs}),
        view=view,
        seed=partial(torch_seed, config.seed, round_, learner.stage),
        usage=usage,
    )
    rows = predictions.stop_set(pool.ids, stop_set, config.seed)
    stop = Items(pool.ids.take(rows), pool.array[rows])
    return trainings, Sets(_held_out(workspace, settings), validation, stop, view, usage)


def measured(
    round_: int, trainings: Trainings, sets: Sets, repeated: Repeated, seen: list[Prediction], diverged: bool = False
) -> dict[str, Any]:
    """What metrics.json says of the trainings so far; ``seen`` as from ``sets.predict``."""
    task = sets.view.task
    # Of a few numbers the share of their variance that is explained says nothing.
    enough = len(sets.validation) >= task.fewest
    validated = [
        task.evaluate(one.scores, sets.validation.labels)[task.headline]
        for one in seen
        if one.set == "validation" and enough
    ]
    return {
        "round": round_,
        "labels": len(trainings.train) + len(sets.validation),
        "train_items": len(trainings.train),
        "validation_items": len(sets.validation),
        "epochs": trainings.epochs,
        "losses": repeated.ensemble.losses,
        f"validation_{task.headline}": validated[0] if validated else None,
        "diverged": diverged,
    } | repeated.metrics()


def write(
    folder: Path, workspace: Workspace, round_: int, learner: Learner, repeated: Repeated, seen: list[Prediction]
) -> None:
    """Write history.json, model.safetensors, model.json and predictions.parquet of the repeat that is kept."""
    info = load_info(workspace)
    shape = encoded.load(workspace, "pool", learner.settings).shape
    files.write_json(folder / "history.json", repeated.ensemble.history)
    stored.write(folder, repeated.ensemble.models, _card(load_config(workspace), learner, info, shape, round_))
    files.write_table(folder / "predictions.parquet", predictions.table(seen, info.task))


def _labelled(
    workspace: Workspace, round_: int, share: float, seed: int, task: TaskType, pool: Items
) -> tuple[Examples, Examples, npt.NDArray[np.bool_]]:
    """The items to train on, those held back, and which of the former got their labels in earlier rounds."""
    path = workspace.round_dir(round_) / "labeled.parquet"
    table = files.read_table(path, ["id", "label", "round"]).sort_by("id").combine_chunks()
    ids, labels = table["id"], table["label"].cast(task.label_type).to_numpy()
    if not len(labels):
        raise DataError(f"{path}: holds no labels, so there is nothing to train on; set loop.initial to 1 or more")
    _check_labels(ids, labels, task)
    rows, older = pool.rows(ids), np.asarray(table["round"]) != round_
    held = held_back(ids.to_pylist(), share, seed)
    # Indexing copies the labelled rows into memory; the pool stays mapped.
    train, validation = (
        Examples(pool.array[rows[side]], labels[side], ids.combine_chunks().filter(pa.array(side)))
        for side in (~held, held)
    )
    return train, validation, older[~held]


def _check_labels(ids: pa.ChunkedArray, labels: npt.NDArray[Any], task: TaskType) -> None:
    wrong = np.flatnonzero(task.wrong(labels))
    if len(wrong):
        raise DataError(
            f"item {ids[int(wrong[0])].as_py()!r} has the label {labels[wrong[0]]}, but {task.stored()}; correct the "
            "answers of its round"
        )


def _held_out(workspace: Workspace, settings: TrainConfig) -> Examples:
    table = files.read_table(workspace.pool / "test.parquet", ["id", "label"])
    items = encoded.load(workspace, "test", settings).items
    labels = table["label"].take(pc.index_in(items.ids, value_set=table["id"].combine_chunks()))
    return Examples(items.array, labels.to_numpy(), items.ids)


def _card(config: Config, learner: Learner, info: PoolInfo, shape: tuple[int, ...], round_: int) -> dict[str, Any]:
    """Only of what not every model has there is no word where it has it not."""
    settings, own = learner.settings, settings_of(learner.settings)
    return {
        "model": settings.model,
        "round": round_,
        "seed": config.seed,
        "shape": list(shape_at(shape, learner.side)),
        **info.task.described(),
        "mean": list(info.mean),
        "std": list(info.std),
        "precision": settings.precision,
        "channels_last": settings.channels_last,
        **({"settings": own.model_dump(mode="json")} if settings.model in registry.SETTLED else {}),
        **({"side": learner.side} if learner.side is not None else {}),
        **({"loss_prediction": True} if settings.loss_prediction is not None else {}),
    }
