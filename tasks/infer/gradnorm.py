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
from tasks.models.gradients.products import wide
from tasks.models.taps import head_of, penultimate


def global_norm(model: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
    """‖∂H/∂w‖ over all parameters w together, as if they were one vector.

    Raises:
        ConfigError: the gradients of one of the model's layers are not known.

    Source: LPLgrad, equation 8.
    """
    norms, scales, logits = _all_layers(model, batch)
    return norms.sum(dim=0).sqrt() * scales, logits


def sum_of_norms(model: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
    """Σ_w ‖∂H/∂w‖ over the parameter tensors w.

    Raises:
        ConfigError: the gradients of one of the model's layers are not known.

    Source: the code published with Ent-GradNorm, and with LPLgrad, which differs from its text here.
    """
    norms, scales, logits = _all_layers(model, batch)
    return norms.sqrt().sum(dim=0) * scales, logits


def last_layer_norm(model: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
    """‖∂H/∂(W, b)‖ of the last layer, z = Wh + b: ‖dH/dz‖·√(‖h‖² + 1), without the 1 if it has no bias.

    Raises:
        ConfigError: the model does not say which its last layer is.

    Source: ``global_norm``, of one layer; Goodfellow, arXiv 1510.01799.
    """
    steepness, features, logits = _last_layer(model, batch)
    bias = 0.0 if head_of(model).bias is None else 1.0
    return steepness * torch.sqrt(features.square() + bias), logits


def last_layer_sum_of_norms(model: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
    """‖∂H/∂W‖ + ‖∂H/∂b‖ of the last layer, z = Wh + b: ‖dH/dz‖·(‖h‖ + 1), without the 1 if it has no bias.

    Raises:
        ConfigError: the model does not say which its last layer is.

    Source: ``sum_of_norms``, of one layer; Goodfellow, arXiv 1510.01799.
    """
    steepness, features, logits = _last_layer(model, batch)
    bias = 0.0 if head_of(model).bias is None else 1.0
    return steepness * (features + bias), logits


def entropy_slopes(logits: Tensor) -> Tensor:
    """dH/dz, (n, classes), in float32 at least, of logits of any precision; finite wherever a row's highest is.

    As ln p_c is z_c less what all classes share, ln p_c + H = z_c - Σ_k p_k z_k, which keeps its digits where p is
    nearly uniform.
    """
    # Shifting a row changes nothing but the rounding; equal logits become 0, and so do their slopes.
    logits = wide(logits)
    logits = logits - logits.amax(dim=1, keepdim=True)
    probabilities = torch.softmax(logits, dim=1)
    # A class that is impossible adds nothing, where 0·(-inf) would add a NaN.
    logits = torch.where(probabilities > 0, logits, 0.0)
    return probabilities * ((probabilities * logits).sum(dim=1, keepdim=True) - logits)


def _all_layers(model: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Squared norms per tensor and item of what the directions lead to, the directions' scales, and the logits."""
    norms, logits = gradient_norms(model, batch, lambda logits: _directions(logits)[0])
    return norms, _directions(logits)[1], logits


def _last_layer(model: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """‖dH/dz‖ and ‖h‖ of each item, and the logits."""
    with torch.no_grad(), penultimate(model) as seen:
        logits = model(batch)
    directions, scales = _directions(logits)
    features = torch.linalg.vector_norm(wide(seen.pop()), dim=1)
    return torch.linalg.vector_norm(directions, dim=1) * scales, features, logits


def _directions(logits: Tensor) -> tuple[Tensor, Tensor]:
    """dH/dz with a largest component of 1, (n, classes), and what it was, (n,).

    A gradient is in proportion to where it sets out, and of a nearly sure item its squares would be too small to tell.
    """
    slopes = entropy_slopes(logits)
    scales = slopes.abs().amax(dim=1)
    return slopes / scales.clamp_min(torch.finfo(scales.dtype).tiny).unsqueeze(1), scales
