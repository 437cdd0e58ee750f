"""The loss that a model predicts for itself, as an acquisition function."""

import torch
from torch import Tensor, nn

from tasks.errors import ConfigError
from tasks.models.loss_prediction import LossPredicting


def learning_loss(model: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
    """Score items by the loss that the model's second head predicts; higher means "label me".

    Only the order of the scores has a meaning: the head learns which of two losses is the higher, not how high.

    Args:
        model: trained with train.loss_prediction, in evaluation mode.
        batch: float (n, channels, height, width), normalised, laid out, and on the model's device.

    Returns:
        Scores, float32 (n,), and logits, (n, classes), without gradients.

    Raises:
        ConfigError: the model has no such head.

    Source: Yoo & Kweon, Learning Loss for Active Learning, CVPR 2019, section 3.1.
    """
    if not isinstance(model, LossPredicting):
        raise ConfigError(
            f"infer.acquisition: learning_loss needs a model that learnt to predict its loss, not a "
            f"{type(model).__name__} without such a head; set train.loss_prediction={{}} and start a new loop"
        )
    with torch.no_grad():
        logits, predicted = model.joint(batch, detach=True)
    return predicted, logits
