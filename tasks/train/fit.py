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
from tasks.datasets import images
from tasks.errors import ConfigError, Diverged
from tasks.models.device import reproducible
from tasks.models.forward import log_probabilities
from tasks.models.view import View
from tasks.train.evaluate import accuracy, nll
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
        they are learnt, lr (of the last step), validation_loss and validation_accuracy if any.

    Raises:
        ConfigError: fp16 on a CPU, or batch normalisation with single-item batches.
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
        minimised = objective(model, _compiled(model) if settings.compile else model, settings)
        optimizer = _optimizer(model, settings)
        autocast = view.autocast()
        scaler = torch.amp.GradScaler(view.device.type, enabled=view.precision == "fp16")

        # All labelled items lie on the device as bytes: no loader, no workers, a quarter of the memory of floats.
        items = torch.from_numpy(np.array(train.items)).to(view.device)
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
                # index_select copies whole rows: many times as fast as items[chosen] on a CPU.
                batch = view.normalised(items.index_select(0, chosen))
                batch = images.augment(batch, settings.augment, torch.default_generator)
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
            scores = log_probabilities(model, validation.items, view)
            usage.forward_passes += len(validation)
            record["validation_loss"] = nll(scores, validation.labels)
            _check_finite(record["validation_loss"], record, history[:-1])
            record["validation_accuracy"] = accuracy(scores, validation.labels)
            if record["validation_loss"] < best_loss:
                best, best_loss, best_epoch = copy.deepcopy(model.state_dict()), record["validation_loss"], epoch
            elif settings.patience is not None and epoch - best_epoch >= settings.patience:
                break

        if best is not None:
            model.load_state_dict(best)
        return model.eval(), history


def _compiled(model: nn.Module) -> Callable[[Tensor], Tensor]:
    # What this process compiled before would otherwise decide which kernels it makes now, and so the last digits.
    torch.compiler.reset()
    compiled: Callable[[Tensor], Tensor] = torch.compile(model)
    return compiled


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


def _optimizer(model: nn.Module, settings: TrainConfig) -> torch.optim.Optimizer:
    # Fused: one kernel for all weights, on a CPU as well.
    if settings.optimizer == "sgd":
        return torch.optim.SGD(
            model.parameters(), settings.lr, settings.momentum, weight_decay=settings.weight_decay, fused=True
        )
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(model.parameters(), settings.lr, weight_decay=settings.weight_decay, fused=True)
