"""A deep ensemble: models trained alike from independent seeds, which predict together.

Source: Lakshminarayanan et al., Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles, NeurIPS
2017, section 2.4, without adversarial examples: every member sees all training items, in an order of its own.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from tasks.models.forward import log_probabilities
from tasks.models.view import View
from tasks.train.fit import History


@dataclass(frozen=True)
class Ensemble:
    """One model, or several; position i of both fields speaks of the same member."""

    #: On one device, in evaluation mode.
    models: tuple[nn.Module, ...]
    #: Of each member, one entry per epoch.
    histories: tuple[History, ...]

    @property
    def epochs(self) -> int:
        """Of all members together."""
        return sum(map(len, self.histories))

    @property
    def history(self) -> History:
        """The members' epochs, one member after the other; each entry names its ``member`` if there are several."""
        if len(self.histories) == 1:
            return self.histories[0]
        return [{"member": member, **epoch} for member, epochs in enumerate(self.histories) for epoch in epochs]

    @property
    def validation_loss(self) -> float:
        """Mean of the members' lowest validation losses, in nats; infinite where nothing was validated.

        They are those of the weights kept, and an upper bound of the loss of the mean prediction, for no further pass.
        """
        lowest = [min(epoch.get("validation_loss", math.inf) for epoch in epochs) for epochs in self.histories]
        return math.fsum(lowest) / len(lowest)

    def log_probabilities(self, items: npt.NDArray[np.uint8], view: View) -> npt.NDArray[np.floating[Any]]:
        """Natural logarithms of the mean of the members' class probabilities, of all ``items``.

        Returns:
            (N, classes), N at least 1: float32 as it comes from a single model, float64 from several.

        Raises:
            ConfigError: fp16 on a CPU.
        """
        if len(self.models) == 1:
            return log_probabilities(self.models[0], items, view)
        each = (log_probabilities(model, items, view).astype(np.float64) for model in self.models)
        # The caller looks for what is not a number, so there is no need to warn of it.
        with np.errstate(invalid="ignore"):
            total = functools.reduce(np.logaddexp, each)
        mean: npt.NDArray[np.float64] = total - math.log(len(self.models))
        return mean


def fit_members(fit_one: Callable[[int], tuple[nn.Module, History]], seeds: Sequence[int]) -> Ensemble:
    """Train one member per seed.

    Args:
        fit_one: from a seed to a trained model and its history.
        seeds: independent of each other; at least one.
    """
    models, histories = zip(*map(fit_one, seeds), strict=True)
    return Ensemble(models, histories)
