"""The multi-layer perceptron, for rows of numbers."""

import math
from itertools import pairwise

from torch import nn

from tasks.config_train import MlpConfig
from tasks.models.half_dropout import HalfDropout
from tasks.models.taps import Taps, tapped


def build(shape: tuple[int, ...], outputs: int, settings: MlpConfig) -> nn.Module:
    """Fully connected layers, each followed by a ReLU and dropout, and a linear one.

    Args:
        shape: of one item; several axes are taken as one.
        outputs: the model returns float (batch, outputs).
        settings: the hidden layers' units, and the probability of their dropout.

    Source: of the dropout before each weight layer but the first, Gal & Ghahramani, Dropout as a Bayesian
    Approximation, ICML 2016, section 4.
    """
    layers: list[nn.Module] = [nn.Flatten()]
    stages = []
    for before, units in pairwise((math.prod(shape), *settings.hidden)):
        layers += [nn.Linear(before, units), nn.ReLU()]
        stages.append(str(len(layers) - 1))
        if settings.dropout:
            layers.append(HalfDropout() if settings.dropout == 0.5 else nn.Dropout(settings.dropout))
    layers.append(nn.Linear(settings.hidden[-1], outputs))
    return tapped(nn.Sequential(*layers), Taps(head=str(len(layers) - 1), stages=tuple(stages)))
