"""How a model is shown items, on which device, in which precision, from which floats, and how it is understood."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tasks.config_train import AugmentConfig
from tasks.datasets import images, numbers
from tasks.errors import ConfigError
from tasks.models.device import Precision
from tasks.task_type import Classification, TaskType

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


def check_augment(config: AugmentConfig, shape: tuple[int, ...]) -> None:
    """Refuse random changes that items of this shape cannot take.

    Raises:
        ConfigError: the items are no images, or too small.
    """
    if config != AugmentConfig() and len(shape) != 3:
        raise ConfigError("train.augment: only images are changed at random; leave it out")
    if len(shape) == 3:
        images.check_augment(config, shape)


#: What logits mean does not depend on how many classes there are.
_OF_CLASSES = Classification(())


@dataclass(frozen=True)
class View:
    """The same for training, evaluation and scoring, so that a model never meets inputs it was not trained on."""

    device: torch.device
    #: Per channel of images, of the values scaled to [0, 1], or per column of numbers; of all else there is none.
    mean: tuple[float, ...]
    std: tuple[float, ...]
    #: Of matrix products and convolutions; weights, softmax and loss are float32 in any case.
    precision: Precision = "fp32"
    #: Whether images lie in memory with their channels innermost.
    channels_last: bool = True
    #: Side in pixels to which square images are averaged down; None: as they are.
    side: int | None = None
    #: What the model's outputs mean.
    task: TaskType = _OF_CLASSES

    def normalised(self, batch: Tensor) -> Tensor:
        """Images and numbers as float32, in the same shape, or images averaged down to ``side``; all else as it is.

        A pixel of the small image is the mean of those that it covers, whole ones: where ``side`` does not divide the
        items' side, neighbours share some.
        """
        if not self.mean:
            return batch
        if batch.dtype != torch.uint8:
            return numbers.normalise(batch, self.mean, self.std)
        normalised = images.normalise(batch, self.mean, self.std)
        return normalised if self.side is None else functional.adaptive_avg_pool2d(normalised, self.side)

    def augmented(self, batch: Tensor, config: AugmentConfig) -> Tensor:
        """A normalised batch as training sees it: images changed at random, by PyTorch's generator.

        Raises:
            ConfigError: a change is asked for that these items cannot take.
        """
        if config != AugmentConfig():
            check_augment(config, batch.shape[1:])
        return images.augment(batch, config, torch.default_generator)

    def laid_out(self, batch: Tensor) -> Tensor:
        """``batch`` with its channels innermost if asked for and if it has channels."""
        if self.channels_last and batch.dim() == 4:
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
