"""Batches of rows of numbers on the way to a model."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

#: Standard deviations beyond which no value gets.
_FURTHEST = 3.0


def normalise(batch: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Subtract the mean, divide by the standard deviation, both per column, and clip smoothly: x/√(1 + (x/3)²).

    So no value is beyond ±3: that of a rare category, or of a row unlike all others, would be many times as large as
    any that a model has learnt from. Constant columns become 0.

    Args:
        batch: float32 (n, columns), on any device.
        mean: one number a column, as in pool.json.
        std: likewise.

    Returns:
        float32, same shape and device.

    Source: of the clipping Holzmüller, Grinsztajn & Steinwart, Better by Default: Strong Pre-Tuned MLPs and Boosted
    Trees on Tabular Data, NeurIPS 2024, section 3.
    """
    means, scales = _means_and_scales(tuple(mean), tuple(std), batch.device)
    # In float64 no square of a float32 is infinite, and no scale of its numbers.
    standard = (batch.double() - means).mul_(scales)
    return standard.mul_(torch.rsqrt(1 + (standard / _FURTHEST).square())).float()


@lru_cache(maxsize=32)
def _means_and_scales(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    # Kept, because each copy to a GPU would make the host wait for it.
    # Made outside of inference mode, even when first asked for inside: training uses the same two later.
    with torch.inference_mode(False):
        scales = [1 / value if value else 0.0 for value in std]
        return (
            torch.tensor(mean, dtype=torch.float64, device=device),
            torch.tensor(scales, dtype=torch.float64, device=device),
        )
