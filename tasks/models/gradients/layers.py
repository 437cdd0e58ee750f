"""Squared norms of each item's gradient of one layer's parameters, from what went in and what gradient came back."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tasks.models.gradients.convolution import convolution_norms
from tasks.models.gradients.products import product_norms, squared, wide


def _linear(module: nn.Linear, x: Tensor, g: Tensor) -> list[Tensor]:
    x, g = x.to(g.dtype).reshape(len(x), -1, x.shape[-1]), g.reshape(len(g), -1, g.shape[-1])
    weight = product_norms(x.transpose(1, 2), g.transpose(1, 2))
    return [weight] if module.bias is None else [weight, squared(wide(g).sum(1), 1)]


def _convolution(module: nn.Conv1d | nn.Conv2d, x: Tensor, g: Tensor) -> list[Tensor]:
    weight = convolution_norms(module, x, g)
    return [weight] if module.bias is None else [weight, squared(wide(g).flatten(2).sum(2), 1)]


def _normalisation(module: nn.BatchNorm1d | nn.BatchNorm2d, x: Tensor, g: Tensor) -> list[Tensor]:
    """With running statistics, gamma's gradient is Σ_positions g·(x - mean)/deviation and beta's Σ_positions g."""
    assert module.running_mean is not None
    assert module.running_var is not None
    x, g = wide(x), wide(g)
    if x.ndim > 2:
        x, g = x.flatten(2), g.flatten(2)
    else:
        x, g = x.unsqueeze(2), g.unsqueeze(2)
    # Not (x - mean)·g, which would cost a third more; a large mean costs a digit instead.
    beta = g.sum(2)
    gamma = ((x * g).sum(2) - module.running_mean * beta) * torch.rsqrt(module.running_var + module.eps)
    return [squared(gamma, 1)] if module.bias is None else [squared(gamma, 1), squared(beta, 1)]


_NORMS: dict[type[nn.Module], Callable[[Any, Tensor, Tensor], list[Tensor]]] = {
    nn.Linear: _linear,
    nn.Conv1d: _convolution,
    nn.Conv2d: _convolution,
    nn.BatchNorm1d: _normalisation,
    nn.BatchNorm2d: _normalisation,
}


def supported(module: nn.Module) -> bool:
    """Whether the norms of all its own parameters are known; not those of its children.

    A subclass may compute anything, and so may a layer with parameters of other names, such as a weight norm's.
    """
    known = type(module) in _NORMS and {name for name, _ in module.named_parameters()} <= {"weight", "bias"}
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        return known and not module.training and module.running_mean is not None
    return known


def squared_norms(module: nn.Module, x: Tensor, g: Tensor) -> list[Tensor]:
    """Of each parameter tensor of a supported layer: (n,), float32 or float64.

    Args:
        module: weights before biases.
        x: its input, (n, …).
        g: the gradient of its output, (n, …); of 16 bits under autocast, in which case the sums are in 32.
    """
    return _NORMS[type(module)](module, x, g)
