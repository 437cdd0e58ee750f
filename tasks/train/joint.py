"""What a training minimises: the loss of the task type, alone or jointly with the error of the predicted losses."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

from tasks.config_train import LossPredictionConfig, TrainConfig
from tasks.models.loss_prediction import LossPredicting, margin_loss
from tasks.models.scaled import Scaled, bounded
from tasks.task_type import TaskType

#: From outputs (n, outputs) and labels (n,) to each item's loss, (n,), or their mean.
Loss = Callable[[Tensor, Tensor], Tensor]


class Objective(Protocol):
    """From a batch to what a step minimises."""

    @property
    def names(self) -> tuple[str, ...]:
        """What the history calls the parts; the first is ``loss``, the mean loss of the items."""

    def __call__(self, batch: Tensor, labels: Tensor, done: float) -> tuple[Tensor, Tensor]:
        """The sum to minimise, and its parts before they are weighted: float32 (len(names),), without gradients.

        Args:
            batch: as the model takes it.
            labels: (n,), int64 or float64.
            done: share of the epochs that are over.
        """


def objective(model: nn.Module, settings: TrainConfig, task: TaskType) -> Objective:
    """What ``settings`` ask for."""
    loss = partial(task.loss, smoothing=settings.label_smoothing)
    if isinstance(model, Scaled):
        return _Standardised(_compiled(model.network, settings), loss, model.standardised)
    if settings.loss_prediction is None:
        return _Plain(_compiled(model, settings), loss)
    assert isinstance(model, LossPredicting)
    return _Joint(model, partial(task.losses, smoothing=settings.label_smoothing), settings.loss_prediction)


def _compiled(model: nn.Module, settings: TrainConfig) -> Callable[[Tensor], Tensor]:
    if not settings.compile:
        return model
    # What this process compiled before would otherwise decide which kernels it makes now, and so the last digits.
    torch.compiler.reset()
    compiled: Callable[[Tensor], Tensor] = torch.compile(model)
    return compiled


@dataclass(frozen=True)
class _Plain:
    forward: Callable[[Tensor], Tensor]
    mean: Loss
    names: tuple[str, ...] = ("loss",)

    def __call__(self, batch: Tensor, labels: Tensor, done: float) -> tuple[Tensor, Tensor]:
        loss = self.mean(self.forward(batch), labels)
        return loss, loss.detach().unsqueeze(0)


@dataclass(frozen=True)
class _Standardised:
    """The same in the unit in which a network learns numbers."""

    forward: Callable[[Tensor], Tensor]
    mean: Loss
    standardised: Callable[[Tensor], Tensor]
    names: tuple[str, ...] = ("loss",)

    def __call__(self, batch: Tensor, labels: Tensor, done: float) -> tuple[Tensor, Tensor]:
        loss = self.mean(bounded(self.forward(batch)), self.standardised(labels))
        return loss, loss.detach().unsqueeze(0)


@dataclass(frozen=True)
class _Joint:
    """Yoo & Kweon, Learning Loss for Active Learning, CVPR 2019, eq. 3."""

    model: LossPredicting
    each: Loss
    settings: LossPredictionConfig
    names: tuple[str, ...] = ("loss", "loss_prediction")

    def __call__(self, batch: Tensor, labels: Tensor, done: float) -> tuple[Tensor, Tensor]:
        logits, predicted = self.model.joint(batch, detach=done >= self.settings.detach_at)
        each = self.each(logits, labels)
        loss, error = each.mean(), margin_loss(predicted, each, self.settings.margin)
        return loss + self.settings.weight * error, torch.stack((loss, error)).detach()
