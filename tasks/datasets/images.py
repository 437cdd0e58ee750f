"""Batches of images on the way to a model: normalised, and changed at random."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from tasks.config_train import AugmentConfig
from tasks.errors import ConfigError

#: Channels that hardly vary are not blown up: half a step of 0..255 either way counts as none.
_LEAST_STD = 1 / 255


def normalise(batch: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Subtract the mean and divide by the standard deviation, both per channel and on the scale 0..1.

    Args:
        batch: uint8 (n, channels, height, width), on any device.
        mean: one number a channel, as in pool.json.
        std: likewise.

    Returns:
        float32, same shape, device and memory format.
    """
    scale, shift = _scale_and_shift(tuple(mean), tuple(std), batch.device)
    return torch.mul(batch, scale).add_(shift)


@lru_cache(maxsize=32)
def _scale_and_shift(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    # Kept, because each copy to a GPU would make the host wait for it.
    # Made outside of inference mode, even when first asked for inside: training uses the same two later.
    with torch.inference_mode(False):
        means = torch.tensor(mean, dtype=torch.float64).view(1, -1, 1, 1)
        deviations = torch.tensor(std, dtype=torch.float64).view(1, -1, 1, 1).clamp(min=_LEAST_STD)
        scale, shift = 1 / (255 * deviations), -means / deviations
        return scale.to(device, torch.float32), shift.to(device, torch.float32)


def check_augment(config: AugmentConfig, shape: Sequence[int]) -> None:
    """Refuse changes that images of this shape cannot take.

    Args:
        config: as for ``augment``.
        shape: (channels, height, width) of one image.

    Raises:
        ConfigError: train.augment.crop is not smaller than the images.
    """
    _, height, width = shape
    if config.crop >= min(height, width):
        raise ConfigError(
            f"train.augment.crop: {config.crop} pixels of reflection need larger images than {height}x{width}; "
            "make it smaller"
        )


def augment(batch: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Change each image at random: flip, crop from reflected padding, contrast, brightness; the input stays as it is.

    Made for normalised batches: contrast scales about the pool's mean, brightness counts in its standard deviations.
    Random numbers are drawn on the generator's device, as many with any options; so equal generators give equal
    changes, and switching one change on does not alter the others.

    Args:
        batch: float (n, channels, height, width), on any device.
        config: which changes, and how strong; with none the batch itself is returned.
        generator: source of all randomness.

    Returns:
        same shape, dtype and device; contiguous in the usual order if it was flipped or cropped.

    Raises:
        ConfigError: train.augment.crop is not smaller than the images.
    """
    if config == _NONE:
        return batch
    check_augment(config, batch.shape[1:])
    draws = torch.rand(5, len(batch), generator=generator, device=generator.device).to(batch.device)
    if config.flip or config.crop:
        batch = _flip_and_crop(batch, config, draws[:3])
    if config.contrast or config.brightness:
        factor, offset = (draws[3:].to(batch.dtype) * 2 - 1)[:, :, None, None, None]
        batch = torch.mul(batch, factor * config.contrast + 1).add_(offset * config.brightness)
    return batch


_NONE = AugmentConfig()


def _flip_and_crop(batch: Tensor, config: AugmentConfig, draws: Tensor) -> Tensor:
    # One gather, whose index is laid out for one channel and read for all: no padded copy, no loop over images.
    count, channels, height, width = batch.shape
    rows = _shifted(height, config.crop, draws[0])
    columns = _shifted(width, config.crop, draws[1])
    if config.flip:
        columns = torch.where(draws[2, :, None] < 0.5, columns.flip(1), columns)
    index = (rows[:, :, None] * width + columns[:, None, :]).view(count, 1, -1)
    pixels = batch.reshape(count, channels, -1)
    return pixels.gather(2, index.expand(-1, channels, -1)).view(batch.shape)


def _shifted(side: int, padding: int, draws: Tensor) -> Tensor:
    """Source positions int64 (n, side) of windows at random offsets, reflected at both ends."""
    offsets = (draws * (2 * padding + 1)).long().clamp(max=2 * padding) - padding
    positions = (torch.arange(side, device=draws.device) + offsets[:, None]).abs()
    return (side - 1) - ((side - 1) - positions).abs()
