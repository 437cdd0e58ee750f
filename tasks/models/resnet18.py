"""ResNet-18 for small images."""

from torch import nn

from tasks.models.imagenet import TAPS
from tasks.models.shapes import image_shape
from tasks.models.taps import tapped


def build(shape: tuple[int, ...], classes: int) -> nn.Module:
    """ResNet-18 with a 3x3 stem of stride 1 and no max-pooling, from random weights.

    Args:
        shape: (channels, height, width) of one image.
        classes: number of classes; the model returns float logits (batch, classes).

    Raises:
        ConfigError: the items are not images, or have a side below 8 px.

    Source: He et al., Deep Residual Learning, CVPR 2016; the stem is that of its section 4.2 for CIFAR-10.
    """
    from torchvision.models import resnet18

    channels, _, _ = image_shape("resnet18", shape, smallest=8)
    model: nn.Module = resnet18(weights=None, num_classes=classes)
    stem = nn.Conv2d(channels, 64, 3, stride=1, padding=1, bias=False)
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
    model.conv1, model.maxpool = stem, nn.Identity()
    return tapped(model, TAPS)
