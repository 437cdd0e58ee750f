"""Multinomial logistic regression on the items' values."""

import math

from torch import nn

from tasks.models.taps import Taps, tapped


def build(shape: tuple[int, ...], classes: int) -> nn.Module:
    """One linear layer on the flattened item.

    Args:
        shape: (channels, height, width) of one item.
        classes: number of classes; the model returns float logits (batch, classes).
    """
    return tapped(nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), classes)), Taps(head="1"))
