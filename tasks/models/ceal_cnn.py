"""The small convolutional network of CEAL's MNIST experiments."""

from torch import nn

from tasks.models.half_dropout import HalfDropout
from tasks.models.shapes import image_shape
from tasks.models.taps import Taps, tapped

#: The side of the published network's images; smaller ones would shrink to nothing without padding.
_PUBLISHED_SIDE = 28


def build(shape: tuple[int, ...], classes: int) -> nn.Module:
    """Two 5x5 convolutions of 32 and 64 channels, each pooled, and two linear layers; dropout 0.5 before each ReLU.

    At 28x28 and above the convolutions are not padded, as published. Where a side is smaller, both are padded by 2 so
    that only the pooling shrinks the image; the smallest side is 4 px.

    Args:
        shape: (channels, height, width) of one image.
        classes: number of classes; the model returns float logits (batch, classes).

    Raises:
        ConfigError: the items are not images, or have a side below 4 px.

    Source: the code published with CEAL, arXiv 2401.07639 (its text speaks of one linear layer, its code has two).
    """
    channels, height, width = image_shape("ceal_cnn", shape, smallest=4)
    padding = 0 if min(height, width) >= _PUBLISHED_SIDE else 2
    features = 64 * _side(height, padding) * _side(width, padding)
    model = nn.Sequential(
        nn.Conv2d(channels, 32, 5, padding=padding),
        nn.MaxPool2d(2),
        HalfDropout(),
        nn.ReLU(),
        nn.Conv2d(32, 64, 5, padding=padding),
        nn.MaxPool2d(2),
        HalfDropout(),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(features, 128),
        HalfDropout(),
        nn.ReLU(),
        nn.Linear(128, classes),
    )
    # The stages end with a ReLU.
    return tapped(model, Taps(head="12", stages=("3", "7", "11")))


def _side(pixels: int, padding: int) -> int:
    for _ in range(2):
        pixels = (pixels - 4 + 2 * padding) // 2
    return pixels
