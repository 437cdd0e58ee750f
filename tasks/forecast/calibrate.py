"""Rates measured on this machine: the product's own training and scoring, timed on random items."""

import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import nn

from tasks import files, progress, registry
from tasks.config import Config
from tasks.config_train import TrainConfig
from tasks.cost import calibration
from tasks.cost.rates import Rates
from tasks.datasets import tables
from tasks.forecast.sizes import Sizes
from tasks.infer.scoring import score_items
from tasks.models import building, trial
from tasks.models import device as devices
from tasks.models.trial import Trial
from tasks.models.view import View, shape_at
from tasks.task_type import Classification, Regression, TaskType
from tasks.train.examples import Examples
from tasks.train.fit import fit

#: Seconds from which a timing is long enough; and the number of timings, of which the median counts, where they are
#: shorter than a second.
_ENOUGH_S = 0.3
_TIMINGS = 3
#: No timing takes more epochs or items than this, however fast the machine.
_MOST_EPOCHS, _MOST_ITEMS = 256, 1 << 17
#: How TRAIN evaluates a model.
_PLAIN = {"passes": 1, "members": 1}
#: Those of numbers take as long.
_SCORES = tables.scores(Classification(()))
#: Stages of a round, among which the building of a model is divided.
_STAGES = 4


def measure(config: Config, sizes: Sizes) -> Rates:
    """Seconds of a unit of compute on this machine, for the configuration's model, batches and precision.

    A record-epoch is what another epoch adds to a training, so that building and compiling the model, which does not
    grow with the epochs, is left out; it is divided among the stages. A forward pass is one that INFER counts: of
    several passes with dropout left on, only what follows the first dropout is repeated, so that one of them is
    cheaper than a pass on its own, as TRAIN's evaluations are. Takes seconds; the median of three timings, after one
    that does not count.

    Raises:
        ConfigError: the device is not there, or the model does not take the items.
    """
    device, used = devices.resolve(config.device), calibration.scoring(config)
    side = None if config.proxy is None else config.proxy.side
    with devices.reproducible(device, config.seed), progress.shown_by(progress.Silent()):
        view, build = _model(config.selecting, side, device, sizes)
        record_epoch, constant = _training(config, config.selecting, sizes, view, build)
        model = view.placed(build()).eval()
        forward_pass = _scoring(config.selecting, used, sizes, view, model)
        # With one pass an item they are the same.
        plain = _plainly(used, view)
        evaluation = None if used["passes"] == 1 else _scoring(config.selecting, plain, sizes, view, model)
        target = (None, None) if config.proxy is None else _target(config, used, device, sizes)
    stage = _files(sizes.pool) + constant / _STAGES
    return Rates("cuda" if device.type == "cuda" else "cpu", record_epoch, forward_pass, stage, evaluation, *target)


def _model(
    settings: TrainConfig, side: int | None, device: torch.device, sizes: Sizes
) -> tuple[View, Callable[[], nn.Module]]:
    """How a model sees the items, and what draws its weights."""
    like, task = _trial(sizes), _task(sizes)
    _, shape = like.fed(settings, 1)
    view = View(device, *like.means, settings.precision, settings.channels_last, side, task)
    predicting, own = settings.loss_prediction is not None, building.settings_of(settings)
    unit = (0.0, 1.0) if isinstance(task, Regression) else None
    return view, partial(building.build, settings.model, shape_at(shape, side), task.outputs, predicting, own, unit)


def _trial(sizes: Sizes) -> Trial:
    return sizes.trial or trial.of_shape(sizes.shape)


def _task(sizes: Sizes) -> TaskType:
    return sizes.task or Classification(tuple(map(str, range(sizes.classes))))


def _target(config: Config, used: Mapping[str, Any], device: torch.device, sizes: Sizes) -> tuple[float, float]:
    """Seconds of a record-epoch and of a forward pass without dropout of the model that the proxy selects for."""
    view, build = _model(config.train, None, device, sizes)
    record_epoch, _ = _training(config, config.train, sizes, view, build)
    return record_epoch, _scoring(config.train, _plainly(used, view), sizes, view, view.placed(build()).eval())


def _training(
    config: Config, trained: TrainConfig, sizes: Sizes, view: View, build: Callable[[], nn.Module]
) -> tuple[float, float]:
    """Seconds of a record-epoch, and those of a training besides."""
    # Nothing is learnt from noise, and steps so small cannot diverge.
    settings = trained.model_copy(update={"lr": 1e-9, "schedule": "constant", "patience": None})
    examples = _examples(trained, min(calibration.train_items(config, trained), max(sizes.pool, 2)), sizes)

    def train(epochs: int) -> None:
        fit(build, examples, None, settings.model_copy(update={"epochs": epochs}), view, config.seed)

    train(1)
    once, more = _median(view.device, partial(train, 1)), 1
    while (longer := _seconds(view.device, partial(train, 1 + more)) - once) < _ENOUGH_S and more < _MOST_EPOCHS:
        more *= 4
    longer = max(_median(view.device, partial(train, 1 + more), longer + once) - once, 1e-9)
    epoch = longer / more
    return epoch / len(examples), max(once - epoch, 0.0)


def _plainly(used: Mapping[str, Any], view: View) -> dict[str, Any]:
    """``used``, but as TRAIN evaluates a model."""
    return {**used, **_PLAIN, "acquisition": next(iter(registry.ACQUISITIONS_OF[view.task.name]))}


def _scoring(trained: TrainConfig, used: Mapping[str, Any], sizes: Sizes, view: View, model: nn.Module) -> float:
    """Seconds of a forward pass of one item; ``used``: by what INFER scores, as ``calibration.scoring`` has it."""
    models: Sequence[nn.Module] = [model] * used["members"]
    items = _examples(trained, min(used["batch_size"], max(sizes.pool, 1)), sizes).items

    def score(count: int) -> None:
        rows: npt.NDArray[np.int64] = np.arange(count) % len(items)
        score_items(models, view, items, rows, used["acquisition"], used["batch_size"], used["passes"])

    count = min(32, len(items))
    score(count)
    while (once := _seconds(view.device, partial(score, count))) < _ENOUGH_S and count < _MOST_ITEMS:
        count *= 4
    passes: int = count * used["members"] * used["passes"]
    return _median(view.device, partial(score, count), once) / passes


def _files(pool: int) -> float:
    """Seconds in which a stage writes and reads a table of the whole pool: what its files come to, roughly."""
    ids = pa.array([f"{number:012d}" for number in range(pool)], pa.string())
    columns = [ids if field.name == "id" else pa.nulls(pool, field.type) for field in _SCORES]
    numbers = pa.array(np.random.default_rng(0).random(pool), pa.float64())
    table = pa.Table.from_arrays(columns, schema=_SCORES)
    table = table.set_column(_SCORES.get_field_index("score"), _SCORES.field("score"), numbers)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scores.parquet"

        def through() -> None:
            files.write_table(path, table)
            files.digest(path)
            files.read_table(path)

        return _median(torch.device("cpu"), through)


def _examples(trained: TrainConfig, count: int, sizes: Sizes) -> Examples:
    draw, (items, _) = np.random.default_rng(0), _trial(sizes).fed(trained, count)
    if isinstance(sizes.task, Regression):
        return Examples(items, draw.standard_normal(count))
    return Examples(items, draw.integers(0, sizes.classes, count))


def _median(device: torch.device, work: Callable[[], None], first: float | None = None) -> float:
    """The median of a few timings, or the first one alone if it took a second or more."""
    first = _seconds(device, work) if first is None else first
    if first >= 1:
        return first
    return statistics.median([first, *(_seconds(device, work) for _ in range(_TIMINGS - 1))])


def _seconds(device: torch.device, work: Callable[[], None]) -> float:
    seconds: dict[str, float] = {}
    with devices.timed(device, seconds):
        work()
    return seconds[device.type]
