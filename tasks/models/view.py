"""How a model is shown items: on which device, in which precision, from which floats."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tasks.datasets import images
from tasks.errors import ConfigError
from tasks.models.device import Precision

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


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

    def normalised(self, batch: Tensor) -> Tensor:
        """uint8 items (n, channels, height, width) as float32, in the same shape."""
        return images.normalise(batch, self.mean, self.std)

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
