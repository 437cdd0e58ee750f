"""Squared norms of sums of outer products, which is what a layer's gradient is."""

import torch
from torch import Tensor


def wide(values: Tensor) -> Tensor:
    """At least float32, so that sums keep their digits."""
    return values if values.dtype == torch.float64 else values.float()


def squared(values: Tensor, dim: int) -> Tensor:
    """Σ v² over a dimension, in float32 at least."""
    dtype = torch.float64 if values.dtype == torch.float64 else torch.float32
    norms: Tensor = torch.linalg.vector_norm(values, dim=dim, dtype=dtype)
    return norms.square()


def product_norms(x: Tensor, g: Tensor) -> Tensor:
    """‖x gᵀ‖² of each pair of matrices; by their Gram matrices, ΣΣ (xᵀx)∘(gᵀg), where that is less to multiply.

    Args:
        x: (m, a, positions).
        g: (m, b, positions), in the same dtype.

    Returns:
        (m,), float32 or float64.
    """
    inputs, outputs, positions = x.shape[1], g.shape[1], x.shape[2]
    if positions * (inputs + outputs) > inputs * outputs:
        return squared(torch.bmm(x, g.transpose(1, 2)).flatten(1), 1)
    x, g = wide(x), wide(g)
    if positions == 1:
        return squared(x.flatten(1), 1) * squared(g.flatten(1), 1)
    grams = torch.bmm(x.transpose(1, 2), x) * torch.bmm(g.transpose(1, 2), g)
    # Rounding may leave a gradient of nothing just below it.
    return grams.flatten(1).sum(1).clamp_min(0)
