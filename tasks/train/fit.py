"""The training of a model, from the weights that it begins with to the last epoch."""

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tasks import progress
from tasks.config_train import TrainConfig
from tasks.cost.ledger import Usage
from tasks.errors import ConfigError, Diverged
from tasks.models.device import reproducible
from tasks.models.forward import predict
from tasks.models.inputs import resident
from tasks.models.view import View
from tasks.train.examples import Examples
from tasks.train.joint import objective
from tasks.train.replay import Replay
from tasks.train.schedule import learning_rate

History = list[dict[str, Any]]


def fit(
    build: Callable[[], nn.Module],
    train: Examples,
    validation: Examples | None,
    settings: TrainConfig,
    view: View,
    seed: int,
    replay: Replay | None = None,
    usage: Usage | None = None,
) -> tuple[nn.Module, History]:
    """Build a model and train it on ``train``; equal arguments give equal weights on one machine and thread count.

    The last batch of an epoch joins the one before if it would hold a single item, which batch normalisation refuses.
    With validation items, their loss is measured after each epoch, training stops after ``patience`` epochs without a
    better one, and the weights of the best epoch are kept.

    Args:
        build: makes the model; called once, after the random generators have been seeded.
        train: at least one item.
        validation: None or empty for none.
        view: how the items reach the model; holds the precision.
        seed: for ``torch.manual_seed``; the global generators are left as they were.
        replay: which of the training items an epoch meets; None: all.
        usage: counts records times epochs, and as forward passes these and the validation items', as they are spent.

    Returns:
        The model on the view's device, in evaluation mode, and per epoch: epoch (from 1), loss (mean over the epoch's
        items, as augmented and with dropout), loss_prediction (the same of the error of the predicted losses) where
        they are learnt, lr (of the last step), validation_loss and the validation's headline metric if any.

    Raises:
        ConfigError: fp16 on a CPU, batch normalisation with single-item batches, or an optimizer that the model does
            not take.
        Diverged: the loss became infinite or undefined; it holds the epochs before that one.
    """
    usage = usage or Usage()
    total = len(train) if replay is None else len(replay)
    with (
        reproducible(view.device, seed),
        progress.task("TRAIN", total * settings.epochs) as bar,
    ):
        model = view.placed(build())
        check_batches(model, total, settings.batch_size)
        minimised = objective(model, settings, view.task)
        optimizer = _optimizer(model, settings)
        autocast = view.autocast()
        scaler = torch.amp.GradScaler(view.device.type, enabled=view.precision == "fp16")

        items = resident(train.items, view.device)
        labels = torch.from_numpy(np.array(train.labels)).to(view.device)

        steps = len(_batches(torch.arange(total), settings.batch_size)) * settings.epochs
        step = 0
        best, best_loss, best_epoch = None, math.inf, 0
        history: History = []
        for epoch in range(1, settings.epochs + 1):
            model.train()
            # The order is drawn on the CPU, so that one seed means one order on every kind of device.
            order = (torch.randperm(total) if replay is None else replay.order()).to(view.device)
            sums = torch.zeros(len(minimised.names), dtype=torch.float64, device=view.device)
            for chosen in _batches(order, settings.batch_size):
                batch = view.augmented(view.normalised(items(chosen)), settings.augment)
                lr = learning_rate(settings, step / steps)
                for group in optimizer.param_groups:
                    group["lr"] = lr
                with autocast:
                    loss, parts = minimised(view.laid_out(batch), labels[chosen], (epoch - 1) / settings.epochs)
                optimizer.zero_grad(set_to_none=True)
                scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
                scaler.step(optimizer)
                scaler.update()
                sums += parts * len(chosen)
                step += 1
                bar.advance(len(chosen))

            # Read once per epoch: on a GPU each reading waits for all work that is queued.
            means = [value / total for value in sums.tolist()]
            record: dict[str, Any] = {"epoch": epoch, **dict(zip(minimised.names, means, strict=True)), "lr": lr}
            usage.record_epochs += total
            usage.forward_passes += total
            _check_finite(sum(means), record, history)
            history.append(record)
            if not validation:
                continue
            seen = predict(model, validation.items, view)
            usage.forward_passes += len(validation)
            # What is not a number is looked for below, so there is no need to warn of it.
            with np.errstate(invalid="ignore", over="ignore"):
                measures = view.task.evaluate(seen, validation.labels)
            record["validation_loss"] = measures["nll"]
            _check_finite(record["validation_loss"], record, history[:-1])
            record[f"validation_{view.task.headline}"] = measures[view.task.headline]
            if record["validation_loss"] < best_loss:
                best, best_loss, best_epoch = copy.deepcopy(model.state_dict()), record["validation_loss"], epoch
            elif settings.patience is not None and epoch - best_epoch >= settings.patience:
                break

        if best is not None:
            model.load_state_dict(best)
        return model.eval(), history


def _check_finite(loss: float, record: dict[str, Any], before: History) -> None:
    if not math.isfinite(loss):
        raise Diverged(f"training diverged in epoch {record['epoch']} at a learning rate of {record['lr']:g}", [before])


def untrained(build: Callable[[], nn.Module], view: View, seed: int) -> nn.Module:
    """The model that ``fit`` begins with, on the view's device, in evaluation mode; arguments as there."""
    with reproducible(view.device, seed):
        return view.placed(build()).eval()


def check_batches(model: nn.Module, items: int, batch_size: int) -> None:
    """Refuse a training whose batches batch normalisation would refuse.

    Args:
        model: on any device, also "meta": only the kinds of its layers count.
        items: how many are trained on; at least 1.
        batch_size: as configured.

    Raises:
        ConfigError: the model has batch normalisation, and a batch would hold a single item.
    """
    if min(items, batch_size) < fewest_items(model):
        raise ConfigError(
            "train: the model has batch normalisation, which needs two items in a batch; "
            "set train.batch_size to 2 or more, and loop.initial so that at least two items are trained on"
        )


def fewest_items(model: nn.Module) -> int:
    """The fewest items that a batch of a training may hold; ``model`` as in ``check_batches``."""
    normalises = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
    return 2 if normalises else 1


def _batches(order: Tensor, batch_size: int) -> list[Tensor]:
    batches = list(torch.split(order, batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1 < batch_size:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def check_optimizer(model: nn.Module, settings: TrainConfig) -> None:
    """Refuse an optimizer that would go through a whole table of which a batch has read a few rows.

    Args:
        model: on any device, also "meta".

    Raises:
        ConfigError: the model learns row by row, and is to be compiled, or the optimizer is not plain stochastic
            gradient descent.
    """
    if _learns_by_rows(model) and settings.compile:
        raise ConfigError(f"train.compile: {settings.model} takes no tensors that can be compiled for; set it to false")
    plain = settings.optimizer == "sgd" and not settings.momentum and not settings.weight_decay
    if _learns_by_rows(model) and not plain:
        raise ConfigError(
            f"train.optimizer: {settings.model} learns only the rows of its table that a batch reads, by plain "
            "stochastic gradient descent; set train.optimizer=sgd, train.momentum=0 and train.weight_decay=0"
        )


def _learns_by_rows(model: nn.Module) -> bool:
    return any(getattr(module, "sparse", False) for module in model.modules())


def _optimizer(model: nn.Module, settings: TrainConfig) -> torch.optim.Optimizer:
    check_optimizer(model, settings)
    if _learns_by_rows(model):
        return torch.optim.SGD(model.parameters(), settings.lr, foreach=False)
    # Fused: one kernel for all weights, on a CPU as well.
    if settings.optimizer == "sgd":
        return torch.optim.SGD(
            model.parameters(), settings.lr, settings.momentum, weight_decay=settings.weight_decay, fused=True
        )
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(model.parameters(), settings.lr, weight_decay=settings.weight_decay, fused=True)
