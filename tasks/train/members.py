"""A deep ensemble: models trained alike from independent seeds, which predict together.

Source: Lakshminarayanan et al., Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles, NeurIPS
2017, section 2.4, without adversarial examples: every member sees all training items, in an order of its own.
"""

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from tasks.errors import Diverged
from tasks.models.forward import predict
from tasks.models.inputs import Inputs
from tasks.models.view import View
from tasks.train.fit import History


@dataclass(frozen=True)
class Ensemble:
    """One model, or several; position i of both fields speaks of the same member."""

    #: On one device, in evaluation mode.
    models: tuple[nn.Module, ...]
    #: Of each member, one entry per epoch; fewer than there are models where a training diverged.
    histories: tuple[History, ...]

    @property
    def history(self) -> History:
        """The members' epochs, one member after the other; each entry names its ``member`` if there are several."""
        if len(self.models) == 1:
            return self.histories[0]
        return [{"member": member, **epoch} for member, epochs in enumerate(self.histories) for epoch in epochs]

    @property
    def losses(self) -> dict[str, float] | None:
        """Training loss of the first and of the last epoch, means over the members; None if one has no epoch."""
        if len(self.histories) < len(self.models) or not all(self.histories):
            return None
        ends = {"first": 0, "last": -1}
        return {name: statistics.fmean(epochs[end]["loss"] for epochs in self.histories) for name, end in ends.items()}

    @property
    def validation_loss(self) -> float:
        """Mean of the members' lowest validation losses, in nats; infinite where nothing was validated.

        They are those of the weights kept, and an upper bound of the loss of the mean prediction, for no further pass.
        """
        lowest = [min(epoch.get("validation_loss", math.inf) for epoch in epochs) for epochs in self.histories]
        return math.fsum(lowest) / len(lowest)

    def predict(self, items: Inputs, view: View) -> npt.NDArray[np.floating[Any]]:
        """What the members together say of all ``items``, in the predictions of the view's task type.

        Returns:
            (N, …), N at least 1: as it comes from a single model, float64 from several.

        Raises:
            ConfigError: fp16 on a CPU.
        """
        if len(self.models) == 1:
            return predict(self.models[0], items, view)
        return view.task.mixed([predict(model, items, view) for model in self.models])


def fit_members(fit_one: Callable[[int], tuple[nn.Module, History]], members: int) -> Ensemble:
    """Train the members one after the other.

    Args:
        fit_one: from a member's number, from 0, to a trained model and its history; independent of the others'.
        members: at least one.

    Raises:
        Diverged: a member's training did; it holds the histories of those before as well.
    """
    models: list[nn.Module] = []
    histories: list[History] = []
    for member in range(members):
        try:
            model, history = fit_one(member)
        except Diverged as fault:
            raise Diverged(str(fault), [*histories, *fault.histories]) from None
        models.append(model)
        histories.append(history)
    return Ensemble(tuple(models), tuple(histories))
