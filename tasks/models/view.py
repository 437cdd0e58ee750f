"""How a model is shown items: on which device, in which precision, from which floats."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tasks.datasets import images
from tasks.errors import ConfigError
from tasks.models.device import Precision

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def shape_at(shape: tuple[int, ...], side: int | None) -> tuple[int, ...]:
    """The shape of items once they are averaged down to ``side``; None leaves it as it is.

    Raises:
        ConfigError: they are not square images, or smaller than that.
    """
    if side is None:
        return shape
    if len(shape) != 3 or shape[1] != shape[2]:
        raise ConfigError(
            f"proxy.data.image_size: only square images are averaged down, and the items have the shape {shape}; "
            "leave it out"
        )
    if side > shape[1]:
        raise ConfigError(
            f"proxy.data.image_size: {side} is more than the {shape[1]} pixels of the items' side; lower it, or "
            "leave it out"
        )
    return (shape[0], side, side)


@dataclass(frozen=True)
class View:
    """The same for training, evaluation and scoring, so that a model never meets inputs it was not trained on."""

    device: torch.device
    #: Per channel, of the values scaled to [0, 1]; see ``images.normalise``.
    mean: tuple[float, ...]
    std: tuple[float, ...]
    #: Of matrix products and convolutions; weights, softmax and loss are float32 in any case.
    precision: Precision = "fp32"
    #: Whether images lie in memory with their channels innermost.
    channels_last: bool = True
    #: Side in pixels to which square images are averaged down; None: as they are.
    side: int | None = None

    def normalised(self, batch: Tensor) -> Tensor:
        """uint8 items (n, channels, height, width) as float32, in the same shape, or averaged down to ``side``.

        A pixel of the small image is the mean of those that it covers, whole ones: where ``side`` does not divide the
        items' side, neighbours share some.
        """
        normalised = images.normalise(batch, self.mean, self.std)
        return normalised if self.side is None else functional.adaptive_avg_pool2d(normalised, self.side)

    def laid_out(self, batch: Tensor) -> Tensor:
        """``batch``, (n, channels, height, width), with its channels innermost if asked for."""
        if self.channels_last:
            return batch.contiguous(memory_format=torch.channels_last)
        return batch

    def placed(self, model: nn.Module) -> nn.Module:
        """``model`` on the device, its convolution weights laid out as the images are."""
        model = model.to(self.device)
        if self.channels_last:
            model = model.to(memory_format=torch.channels_last)
        return model

    def autocast(self) -> torch.autocast:
        """A context in which the network computes in the precision.

        Raises:
            ConfigError: fp16 without a GPU.
        """
        if self.precision == "fp16" and self.device.type != "cuda":
            raise ConfigError("train.precision: fp16 needs a GPU; set train.precision=bf16 or fp32")
        return torch.autocast(
            self.device.type, _TYPES.get(self.precision, torch.bfloat16), enabled=self.precision in _TYPES
        )
