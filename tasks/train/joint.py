"""What a training minimises: the cross-entropy, alone or jointly with the error of the predicted losses."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from tasks.config_train import LossPredictionConfig, TrainConfig
from tasks.models.loss_prediction import LossPredicting, margin_loss


class Objective(Protocol):
    """From a batch to what a step minimises."""

    @property
    def names(self) -> tuple[str, ...]:
        """What the history calls the parts; the first is ``loss``, the mean cross-entropy."""

    def __call__(self, batch: Tensor, labels: Tensor, done: float) -> tuple[Tensor, Tensor]:
        """The sum to minimise, and its parts before they are weighted: float32 (len(names),), without gradients.

        Args:
            batch: as the model takes it.
            labels: int64 (n,).
            done: share of the epochs that are over.
        """


def objective(model: nn.Module, forward: Callable[[Tensor], Tensor], settings: TrainConfig) -> Objective:
    """What ``settings`` ask for; ``forward`` is the model, or what was compiled of it."""
    if settings.loss_prediction is None:
        return _CrossEntropy(forward, settings.label_smoothing)
    assert isinstance(model, LossPredicting)
    return _Joint(model, settings.loss_prediction, settings.label_smoothing)


@dataclass(frozen=True)
class _CrossEntropy:
    forward: Callable[[Tensor], Tensor]
    smoothing: float
    names: tuple[str, ...] = ("loss",)

    def __call__(self, batch: Tensor, labels: Tensor, done: float) -> tuple[Tensor, Tensor]:
        loss = functional.cross_entropy(self.forward(batch).float(), labels, label_smoothing=self.smoothing)
        return loss, loss.detach().unsqueeze(0)


@dataclass(frozen=True)
class _Joint:
    """Yoo & Kweon, Learning Loss for Active Learning, CVPR 2019, eq. 3."""

    model: LossPredicting
    settings: LossPredictionConfig
    smoothing: float
    names: tuple[str, ...] = ("loss", "loss_prediction")

    def __call__(self, batch: Tensor, labels: Tensor, done: float) -> tuple[Tensor, Tensor]:
        logits, predicted = self.model.joint(batch, detach=done >= self.settings.detach_at)
        each = functional.cross_entropy(logits.float(), labels, label_smoothing=self.smoothing, reduction="none")
        loss, error = each.mean(), margin_loss(predicted, each, self.settings.margin)
        return loss + self.settings.weight * error, torch.stack((loss, error)).detach()
