"""Residual networks with pre-activation for small images: the proxies of SVP, and its target.

Source: He et al., Identity Mappings in Deep Residual Networks, ECCV 2016: full pre-activation, figure 4(e), and the
appendix for the first and the last unit; widths and depths are those of the CIFAR networks of He et al., Deep Residual
Learning, CVPR 2016, section 4.2. As proxies: Coleman et al., Selection via Proxy, ICLR 2020, section 4. Where a unit
changes the shape, its shortcut is a 1x1 convolution. Convolutions are drawn as in He et al., Delving Deep into
Rectifiers, ICCV 2015, by their outputs (fan_out); the linear layer has PyTorch's weights.
"""

from functools import partial

import torch
from torch import Tensor, nn

from tasks.models.shapes import image_shape
from tasks.models.taps import Taps, tapped

#: Filters of the stages; each of them halves the sides of the one before.
_WIDTHS = (16, 32, 64)
#: Channels of a bottleneck's output per filter.
_EXPANSION = 4


def _build(depth: int, shape: tuple[int, ...], classes: int) -> nn.Module:
    """The network of so many layers: a 3x3 stem, three stages of residual units, and a linear layer on the mean.

    Args:
        depth: 6 n + 2 with n basic units of two convolutions per stage; 164 has 18 bottlenecks of three instead.
        shape: (channels, height, width) of one image.
        classes: number of classes; the model returns float logits (batch, classes).

    Raises:
        ConfigError: the items are not images, or have a side below 8 px.
    """
    channels, _, _ = image_shape(f"preact_resnet{depth}", shape, smallest=8)
    bottleneck = depth == 164
    units, expansion = (depth - 2) // (9 if bottleneck else 6), _EXPANSION if bottleneck else 1
    layers: list[nn.Module] = [_convolution(channels, _WIDTHS[0], 3)]
    inputs = _WIDTHS[0]
    for stage, width in enumerate(_WIDTHS):
        layers.append(_stage(inputs, width, units, bottleneck, stride=2 if stage else 1))
        inputs = width * expansion
    layers += [
        nn.BatchNorm2d(inputs),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(inputs, classes),
    ]
    return tapped(nn.Sequential(*layers), Taps(head="8", stages=("1", "2", "3")))


resnet8 = partial(_build, 8)
resnet14 = partial(_build, 14)
resnet20 = partial(_build, 20)
resnet56 = partial(_build, 56)
resnet110 = partial(_build, 110)
resnet164 = partial(_build, 164)


class _Unit(nn.Module):
    """Normalisation and ReLU, then convolutions whose output is added to the shortcut's."""

    def __init__(self, inputs: int, residual: nn.Module, shortcut: nn.Module | None) -> None:
        super().__init__()
        self.normalise = nn.BatchNorm2d(inputs)
        self.residual = residual
        #: Of the activated input; None: the input itself is added.
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """The next (n, channels, height, width)."""
        activated = torch.relu(self.normalise(x))
        added = x if self.shortcut is None else self.shortcut(activated)
        residual: Tensor = self.residual(activated)
        return residual + added


def _stage(inputs: int, width: int, units: int, bottleneck: bool, stride: int) -> nn.Sequential:
    outputs = width * _EXPANSION if bottleneck else width
    first = _Unit(inputs, _residual(inputs, width, bottleneck, stride), _shortcut(inputs, outputs, stride))
    later = [_Unit(outputs, _residual(outputs, width, bottleneck, stride=1), None) for _ in range(1, units)]
    return nn.Sequential(first, *later)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    """Of a stage's first unit."""
    return nn.Identity() if inputs == outputs and stride == 1 else _convolution(inputs, outputs, 1, stride)


def _residual(inputs: int, width: int, bottleneck: bool, stride: int) -> nn.Sequential:
    if not bottleneck:
        return nn.Sequential(
            _convolution(inputs, width, 3, stride),
            *_activation(width),
            _convolution(width, width, 3),
        )
    return nn.Sequential(
        _convolution(inputs, width, 1),
        *_activation(width),
        _convolution(width, width, 3, stride),
        *_activation(width),
        _convolution(width, width * _EXPANSION, 1),
    )


def _activation(width: int) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm2d(width), nn.ReLU(inplace=True)


def _convolution(inputs: int, outputs: int, side: int, stride: int = 1) -> nn.Conv2d:
    convolution = nn.Conv2d(inputs, outputs, side, stride, padding=side // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution
