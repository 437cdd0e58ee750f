"""VGG-11 with batch normalisation, and a small head that holds all of its dropout."""

from torch import nn

from tasks.models.half_dropout import HalfDropout
from tasks.models.shapes import image_shape
from tasks.models.taps import Taps, tapped

#: Channels of the convolutions; 0 is a max-pooling.
_FEATURES = (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0)


def build(shape: tuple[int, ...], classes: int) -> nn.Module:
    """VGG-11-BN's convolutions from random weights, the mean over the image, and two linear layers behind dropout 0.5.

    Args:
        shape: (channels, height, width) of one image; the five poolings shrink it by 32.
        classes: number of classes; the model returns float logits (batch, classes).

    Raises:
        ConfigError: the items are not images, or have a side below 32 px.

    Source: Simonyan & Zisserman, Very Deep Convolutional Networks, ICLR 2015, table 1, column A; the head is that of
    the code published with CEAL, arXiv 2401.07639. Normalisation and the convolutions' initial weights are those of
    torchvision; the linear layers have PyTorch's.
    """
    channels, _, _ = image_shape("vgg11_bn", shape, smallest=32)
    features = _features(channels)
    poolings = tuple(f"0.{index}" for index, layer in enumerate(features) if isinstance(layer, nn.MaxPool2d))
    model = nn.Sequential(
        features,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        HalfDropout(),
        nn.Linear(512, 512),
        nn.BatchNorm1d(512),
        nn.ReLU(),
        nn.Linear(512, classes),
    )
    return tapped(model, Taps(head="7", stages=poolings))


def _features(channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in _FEATURES:
        if width:
            convolution = nn.Conv2d(channels, width, 3, padding=1)
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
            # Without effect before a normalisation, but part of the published weights.
            nn.init.zeros_(convolution.get_parameter("bias"))
            layers += [convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            channels = width
        else:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)
