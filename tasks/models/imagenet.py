"""ResNets for large photographs, as torchvision builds them."""

from typing import Any

from torch import nn

from tasks.models.shapes import image_shape
from tasks.models.taps import Taps, tapped

#: Of each of torchvision's ResNets: the four stages end at half the resolution of the one before.
TAPS = Taps(head="fc", stages=("layer1", "layer2", "layer3", "layer4"))


def resnet18(shape: tuple[int, ...], classes: int) -> nn.Module:
    """ResNet-18 of basic blocks, 11.7 million parameters with 1,000 classes, from random weights.

    Args:
        shape: (channels, height, width) of one image; the network shrinks it by 32 and is meant for 224 px.
        classes: number of classes; the model returns float logits (batch, classes).

    Raises:
        ConfigError: the items are not images, or have a side below 32 px.

    Source: He et al., Deep Residual Learning, CVPR 2016, table 1.
    """
    from torchvision.models import resnet18

    return _resnet("resnet18_224", resnet18, shape, classes)


def resnet50(shape: tuple[int, ...], classes: int) -> nn.Module:
    """ResNet-50 of bottleneck blocks, 25.6 million parameters with 1,000 classes, from random weights.

    Args:
        shape: (channels, height, width) of one image; the network shrinks it by 32 and is meant for 224 px.
        classes: number of classes; the model returns float logits (batch, classes).

    Raises:
        ConfigError: the items are not images, or have a side below 32 px.

    Source: He et al., Deep Residual Learning, CVPR 2016, table 1; a bottleneck's stride is in its 3x3 convolution, as
    torchvision has it.
    """
    from torchvision.models import resnet50

    return _resnet("resnet50_224", resnet50, shape, classes)


def _resnet(name: str, architecture: Any, shape: tuple[int, ...], classes: int) -> nn.Module:
    channels, _, _ = image_shape(name, shape, smallest=32)
    model: nn.Module = architecture(weights=None, num_classes=classes)
    if channels != 3:
        model.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    return tapped(model, TAPS)
