"""What can be known to be impossible before anything is decoded, written or spent."""

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tasks import registry
from tasks.config import Config, leaking_validation, short_budget
from tasks.config_train import TrainConfig
from tasks.datasets.source import Source
from tasks.errors import ConfigError
from tasks.policy import ahead
from tasks.policy.query_size import choice as query_size
from tasks.policy.situation import Situation
from tasks.policy.stop import bounds
from tasks.task_type import Regression

if TYPE_CHECKING:
    from torch import nn

    from tasks.models.trial import Trial

#: Of loops that are longer, no more rounds than these are looked at beforehand.
_ROUNDS = 1000


def feasible(config: Config, source: Source, root: Path) -> None:
    """Refuse a loop that this machine or this data set cannot run.

    Args:
        root: of the workspace, to which relative paths of the configuration belong.

    Raises:
        ConfigError: more labels asked for than there are, a budget that does not pay for a schedule's first ones, an
            oracle that does not know them, a confusion matrix of another size, a device that is not here, a model that
            does not take the items, more candidates than items or fewer than a query, several passes of a model without
            dropout, a target at a number of labels with which no round ends, or one that is never due; or a recording
            or features that are missing or not of this data set.
        DataError: the recording is damaged, or of another pool.
    """
    _enough_items(config, len(source.pool.ids))
    _schedule_begins(config, len(source.pool.ids))
    _oracle_knows(config, source)
    _confusion_fits(config, source.task.outputs)
    _scope_fits(config, len(source.pool.ids))
    _target_is_reached(config, len(source.pool.ids))
    _target_is_due(config, len(source.pool.ids))
    _models_fit(config, source)
    _files_fit(config, source, root)


def _enough_items(config: Config, items: int) -> None:
    """Queries whose size a policy finds are cut to the pool; loop.initial and loop.query_size have to fit."""
    loop, policy = config.loop, config.policy.query_size
    if policy == "schedule":
        return
    if loop.max_labels is not None and loop.max_labels < loop.initial:
        raise ConfigError(f"loop.max_labels: {loop.max_labels} is less than loop.initial ({loop.initial})")
    if loop.initial > items:
        raise ConfigError(f"loop.initial: {loop.initial} is more than the pool's {items} items; lower it")
    wanted = loop.initial + (loop.rounds - 1) * loop.query_size
    if loop.max_labels is not None:
        wanted = min(wanted, loop.max_labels)
    if policy == "fixed" and wanted > items:
        raise ConfigError(
            f"loop: {loop.rounds} rounds ask for {wanted} labels, more than the pool's {items} items; "
            "lower loop.rounds, loop.query_size or loop.initial, or set loop.max_labels"
        )


def _schedule_begins(config: Config, items: int) -> None:
    """How much a schedule's first round asks for is known once the pool is."""
    if config.policy.query_size == "schedule":
        first, key = next(_query_sizes(config, items)), "policy.schedule.shares"
        if fault := short_budget(config, first, key) or leaking_validation(config, first, key):
            raise ConfigError(fault)


def _oracle_knows(config: Config, source: Source) -> None:
    known = int(np.count_nonzero(source.task.known(source.pool.labels)))
    simulated = not config.label.by_people or config.select.initial == "class_balanced"
    if simulated and known < len(source.pool.ids):
        raise ConfigError(
            f"label.labeler: the pool has labels for {known} of its {len(source.pool.ids)} items only, so it cannot be "
            "simulated; let people label with label.labeler=files and select.initial=random"
        )


def _confusion_fits(config: Config, classes: int) -> None:
    confusion = config.label.confusion
    if confusion is not None and {len(confusion), *map(len, confusion)} != {classes}:
        raise ConfigError(f"label.confusion: must have {classes} rows of {classes} probabilities, one per class")


def _query_sizes(config: Config, items: int) -> Iterator[int]:
    """Of the first rounds, as far as they are known; cost_optimal's is that with which it begins."""
    now = Situation([], config, items, items, held_out=0)
    for _ in range(_ROUNDS):
        size = int(query_size.choose(now).value)
        yield size
        now = ahead.after(now, size)
        if bounds.reached(now) is not None:
            return


def _scope_fits(config: Config, items: int) -> None:
    if config.select.strategy in registry.BLIND:
        return
    first, *later = _query_sizes(config, items)
    unlabeled, infer = items - first, config.infer
    for name, size in (
        ("subset.size", infer.subset.size),
        ("candidates.size", infer.candidates.size),
        ("top.size", infer.top.size),
        ("clusters.count", infer.clusters.count),
    ):
        if name.partition(".")[0] in infer.scope and size is not None and size > unlabeled:
            raise ConfigError(
                f"infer.{name}: {size} is more than the {unlabeled} items that are unlabelled after the first round; "
                "lower it"
            )
    # Round 001 chooses by the first pass, which is a full one, but for a subset.
    _scope_suffices(config, ("subset",), max(later, default=0))
    _scope_suffices(config, ("candidates", "top"), max(later[1:], default=0))


def _scope_suffices(config: Config, scopes: Sequence[str], wanted: int) -> None:
    """Refuse candidates that are fewer than the labels asked for, where older values are not to choose."""
    infer = config.infer
    key = "loop.query_size" if config.policy.query_size == "fixed" else f"policy.{config.policy.query_size}"
    for name in scopes:
        size = getattr(infer, name).size
        if name in infer.scope and size is not None and size < wanted and config.select.max_age is not None:
            raise ConfigError(
                f"infer.{name}.size: {size} candidates are fewer than the {wanted} labels of a round "
                f"({key}); raise it, or set select.max_age=null to choose by older values as well"
            )


def _target_is_reached(config: Config, items: int) -> None:
    """Refuse proxy.target.at where it is known, or out of the question, that a round ends with so many labels."""
    budgets = () if config.proxy is None else config.proxy.target.at
    most = items if config.loop.max_labels is None else min(items, config.loop.max_labels)
    known = config.policy.query_size != "cost_optimal"
    ends = list(accumulate(_query_sizes(config, items))) if budgets and known else []
    for budget in budgets:
        # Of a very long loop only the first rounds are looked at.
        if (budget in ends or not known or (len(ends) == _ROUNDS and budget > ends[-1])) and budget <= most:
            continue
        near = (
            f"the nearest is {min(ends, key=lambda end: abs(end - budget))}" if ends else f"at most {most} are bought"
        )
        raise ConfigError(f"proxy.target.at: unknown budget {budget}: no round ends with so many labels; {near}")


def _target_is_due(config: Config, items: int) -> None:
    """Refuse proxy.target.every where nothing else asks for a target, and the loop has not so many rounds."""
    if config.proxy is None or config.proxy.target.end or config.proxy.target.at:
        return
    every, rounds = config.proxy.target.every, config.loop.rounds
    if config.policy.query_size != "cost_optimal" and rounds <= _ROUNDS:
        rounds = sum(1 for _ in _query_sizes(config, items))
    if every is not None and every > rounds:
        raise ConfigError(
            f"proxy.target.every: {every} is more than the loop's {rounds} rounds, so the target would never be "
            "trained; lower it, or set proxy.target.end=true"
        )


def _models_fit(config: Config, source: Source) -> None:
    from tasks.infer.dropout import has_dropout
    from tasks.models import trial

    like = trial.of_source(source)
    side = None if config.proxy is None else config.proxy.side
    if config.proxy is not None:
        _fitting(config, "train", config.train, like, None, source)
    model, shape = _fitting(config, config.block, config.selecting, like, side, source)
    _acquisition_fits(config, model, shape)
    if max(config.infer.passes, config.infer.first_passes or 1) > 1 and not has_dropout(model):
        raise ConfigError(
            f"infer.passes: the model {config.selecting.model} has no dropout, so its passes would all be equal; set "
            "infer.passes=1, choose a model with dropout (ceal_cnn, vgg11_bn, mlp), or use an ensemble "
            f"({config.block}.members)"
        )


def _acquisition_fits(config: Config, model: "nn.Module", shape: tuple[int, ...]) -> None:
    """Refuse a model that does not say where its features are, or has layers that gradient norms do not know."""
    from tasks.models.gradients.engine import check_model
    from tasks.models.taps import head_of

    acquisition = config.infer.acquisition
    if config.select.strategy in registry.FEATURE_STRATEGIES or "clusters" in config.infer.scope:
        head_of(model)
    if acquisition in registry.MODEL_ACQUISITIONS and config.select.strategy not in registry.BLIND:
        head_of(model)
        if acquisition in registry.GRADIENTS:
            check_model(model, shape)


def _files_fit(config: Config, source: Source, root: Path) -> None:
    from tasks.select.cold_start import check_features
    from tasks.select.recorded import check_recording

    check_features(config, root, source)
    check_recording(config, root, source)


def _check_memory(train: TrainConfig, model: "nn.Module") -> None:
    """Refuse a model that this machine cannot hold, with what its training keeps of each number besides.

    Raises:
        ConfigError: it cannot.
    """
    import psutil

    needed = 3 * sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    there = psutil.virtual_memory().total
    if needed > there:
        raise ConfigError(
            f"train.model: {train.model} takes {needed / 2**30:.3g} GiB to train as it is configured, and this machine "
            f"has {there / 2**30:.3g}; make it smaller"
        )


def _fitting(
    config: Config, block: str, train: TrainConfig, like: "Trial", side: int | None, source: Source
) -> tuple["nn.Module", tuple[int, ...]]:
    """The model of a block on the meta device, and the shape of its items, once it has proved to take them.

    Raises:
        ConfigError: it does not; the block is named.
        DataError: nothing is left of the items as the model takes them.
    """
    import torch

    from tasks.models import device, trial
    from tasks.models.building import build, settings_of
    from tasks.models.view import View, check_augment, shape_at
    from tasks.train.fit import check_batches, check_optimizer

    first = next(_query_sizes(config, len(source.pool.ids)))
    held_back = math.ceil(first * train.validation)
    with _named(block):
        View(device.resolve(config.device), *like.means, train.precision).autocast()
        trial.check_pool(train, source)
        _, fed = like.fed(train, 1)
    shape = shape_at(fed, side)
    with _named(block):
        unit = (0.0, 1.0) if isinstance(source.task, Regression) else None
        # On the meta device a model has shapes, but no numbers.
        with torch.device("meta"):
            predicting = train.loss_prediction is not None
            model = build(train.model, shape, source.task.outputs, predicting, settings_of(train), unit)
        _check_memory(train, model)
        check_batches(model, max(first - held_back, 1), train.batch_size)
        check_optimizer(model, train)
        check_augment(train.augment, shape)
    return model, shape


@contextmanager
def _named(block: str) -> Iterator[None]:
    """Have whoever refuses speak of this block: they speak of the one model that most loops have."""
    try:
        yield
    except ConfigError as error:
        text, named = re.subn(r"\btrain(?=[.:])", block, str(error))
        raise ConfigError(text if named or block == "train" else f"{block}: {text}") from None
