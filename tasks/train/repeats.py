"""Whole trainings repeated from independent seeds: their mean result, and the one that is kept.

CEAL (arXiv 2401.07639) averages three trainings a round; its published code scores with the last of them, or with the
one that is best on the test set. Here the held-out set never chooses.
"""

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.train.members import Ensemble
from tasks.train.predictions import Predictions

#: What ``evaluate`` returns.
Measures = dict[str, Any]


@dataclass(frozen=True)
class Repeated:
    """What the repeats came to."""

    #: The ensemble with the lowest validation loss; the first where nothing was validated, or among equals.
    ensemble: Ensemble
    #: Its number, from 0.
    kept: int
    #: What it says of the held-out items.
    scores: Predictions
    #: Of each repeat.
    measures: tuple[Measures, ...]
    #: Of each repeat; infinite where nothing was validated.
    validation_losses: tuple[float, ...]

    def metrics(self) -> Measures:
        """The measures of a single training as they are; of several their means, and how far they lie apart.

        The means of per_class and confusion are taken cell by cell, so the latter are fractions of items whose rows
        still sum to the items of a class. Added are ``kept``, and ``repeats``: for each metric that is a number and, if
        there is one, validation_loss the ``values`` in the order of the repeats and ``std``, their sample standard
        deviation.
        """
        if len(self.measures) == 1:
            return self.measures[0]
        spread = {name: _spread([measures[name] for measures in self.measures]) for name in _numbers(self.measures)}
        if all(map(math.isfinite, self.validation_losses)):
            spread["validation_loss"] = _spread(list(self.validation_losses))
        return {**_means(self.measures), "kept": self.kept, "repeats": spread}


def repeat(
    times: int, train: Callable[[int], Ensemble], measure: Callable[[Ensemble], tuple[Measures, Predictions]]
) -> Repeated:
    """Train and measure several times, with no more than the best ensemble so far and the newest in memory.

    Args:
        times: at least 1.
        train: from a repeat's number, from 0, to its ensemble.
        measure: the ensemble's measures on the held-out set, which have no say in what is kept, and what they are of.
    """
    measures, losses = [], []

    def once(number: int) -> tuple[Ensemble, Predictions]:
        ensemble = train(number)
        measured, scores = measure(ensemble)
        measures.append(measured)
        losses.append(ensemble.validation_loss)
        return ensemble, scores

    # min forgets what is not the best so far, and prefers the first among equals, as index does.
    best, scores = min(map(once, range(times)), key=lambda one: one[0].validation_loss)
    return Repeated(best, losses.index(min(losses)), scores, tuple(measures), tuple(losses))


def _numbers(measures: tuple[Measures, ...]) -> list[str]:
    return [name for name, value in measures[0].items() if isinstance(value, float)]


def _means(measures: tuple[Measures, ...]) -> Measures:
    first = measures[0]
    means: Measures = {name: statistics.fmean(one[name] for one in measures) for name in _numbers(measures)}
    if "per_class" in first:
        # All repeats meet the same items, so a class is without items in all of them or in none.
        means["per_class"] = {
            name: None if value is None else statistics.fmean(one["per_class"][name] for one in measures)
            for name, value in first["per_class"].items()
        }
    if "confusion" in first:
        means["confusion"] = np.mean([one["confusion"] for one in measures], axis=0).tolist()
    return means


def _spread(values: list[float]) -> dict[str, Any]:
    return {"values": values, "std": statistics.stdev(values)}
