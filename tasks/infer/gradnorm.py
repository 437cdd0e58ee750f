"""How much a model's parameters would change if an item's prediction became surer: gradients of its entropy.

Each function takes a model in evaluation mode and a batch, float (n, channels, height, width), normalised and laid out
on the model's device, and returns scores, float32 (n,), and logits, (n, classes), both there and without gradients.
It is called under the view's autocast and not in inference mode. A HIGHER SCORE MEANS "LABEL ME", but the entropy does
not move at its maximum either: a prediction that is uniform has score 0, as has one that is sure.

Source: for the last layer's, dH/dz_c = -p_c (ln p_c + H) of the softmax p of the logits z; the rest is the chain rule.
"""

import torch
from torch import Tensor, nn

from tasks.models.gradients.engine import gradient_norms
from tasks.models.taps import head_of, penultimate


def global_norm(model: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
    """‖∂H/∂w‖ over all parameters w together, as if they were one vector.

    Raises:
        ConfigError: the gradients of one of the model's layers are not known.

    Source: LPLgrad, equation 8.
    """
    norms, steepness, logits = _all_layers(model, batch)
    return norms.sum(dim=0).sqrt() * steepness, logits


def sum_of_norms(model: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
    """Σ_w ‖∂H/∂w‖ over the parameter tensors w.

    Raises:
        ConfigError: the gradients of one of the model's layers are not known.

    Source: the code published with Ent-GradNorm, and with LPLgrad, which differs from its text here.
    """
    norms, steepness, logits = _all_layers(model, batch)
    return norms.sqrt().sum(dim=0) * steepness, logits


def last_layer_norm(model: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
    """‖∂H/∂(W, b)‖ of the last layer, z = Wh + b: ‖dH/dz‖·√(‖h‖² + 1), without the 1 if it has no bias.

    Raises:
        ConfigError: the model does not say which its last layer is.

    Source: ``global_norm``, of one layer; Goodfellow, arXiv 1510.01799, section 4.
    """
    steepness, features, logits = _last_layer(model, batch)
    bias = 0.0 if head_of(model).bias is None else 1.0
    return steepness * torch.sqrt(features.square() + bias), logits


def last_layer_sum_of_norms(model: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
    """‖∂H/∂W‖ + ‖∂H/∂b‖ of the last layer, z = Wh + b: ‖dH/dz‖·(‖h‖ + 1), without the 1 if it has no bias.

    Raises:
        ConfigError: the model does not say which its last layer is.

    Source: ``sum_of_norms``, of one layer; Goodfellow, arXiv 1510.01799, section 4.
    """
    steepness, features, logits = _last_layer(model, batch)
    bias = 0.0 if head_of(model).bias is None else 1.0
    return steepness * (features + bias), logits


def entropy_slopes(logits: Tensor) -> Tensor:
    """dH/dz, float32, (n, classes), of logits of any precision; finite wherever they are."""
    logarithms = torch.log_softmax(logits.float(), dim=1)
    probabilities = logarithms.exp()
    # A class that is impossible adds nothing, where 0·(-inf) would add a NaN.
    terms = torch.where(probabilities > 0, probabilities * logarithms, 0.0)
    return probabilities * terms.sum(dim=1, keepdim=True) - terms


def _all_layers(model: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Squared norms per tensor and item of gradients that set out with norm 1, what to multiply them by, and logits."""
    norms, logits = gradient_norms(model, batch, lambda logits: nn.functional.normalize(entropy_slopes(logits), dim=1))
    return norms, _steepness(logits), logits


def _last_layer(model: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """‖dH/dz‖ and ‖h‖ of each item, and the logits."""
    with torch.no_grad(), penultimate(model) as seen:
        logits = model(batch)
    features = torch.linalg.vector_norm(seen.pop(), dim=1, dtype=torch.float32)
    return _steepness(logits), features, logits


def _steepness(logits: Tensor) -> Tensor:
    return torch.linalg.vector_norm(entropy_slopes(logits), dim=1)
