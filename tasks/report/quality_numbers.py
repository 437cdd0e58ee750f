"""How good the last round's model of numbers is, and whether its errors are as large as it says."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks import files
from tasks.report.loop import Loop
from tasks.report.predicted import held_out, repeats

Floats = npt.NDArray[np.float64]

#: Resampled held-out sets by which the interval of R² is found, and what they are drawn with.
_SAMPLES, _SEED = 1000, 19790101


@dataclass(frozen=True)
class Items:
    """Held-out items with what the model said of them, (n,) each; in the label's unit."""

    ids: tuple[str, ...]
    label: Floats
    mean: Floats
    #: Above 0.
    std: Floats

    @property
    def error(self) -> Floats:
        """By how much the model said too much."""
        return self.mean - self.label

    def within(self, deviations: npt.ArrayLike) -> Floats:
        """The shares of the labels that lie within so many predicted standard deviations of their prediction: (m,)."""
        sorted_ = np.sort(np.abs(self.error) / self.std)
        inside: Floats = np.searchsorted(sorted_, np.asarray(deviations), side="right") / max(len(sorted_), 1)
        return inside


@dataclass(frozen=True)
class NumberQuality:
    """The last trained round's model on the held-out set."""

    round: int
    r2: float
    rmse: float
    mae: float
    nll: float
    #: None where the predictions of single items were not kept.
    items: Items | None
    #: Trainings whose measures are averaged; 1 for a single one.
    repeats: int


def quality(loop: Loop) -> NumberQuality:
    """The measures that TRAIN wrote, and the held-out items where it kept its predictions.

    Raises:
        DataError: a file is missing or damaged, or predictions are not of the held-out items.
    """
    last = loop.trained[-1].number
    metrics = files.read_object(loop.workspace.round_dir(last) / "metrics.json", "r2", "rmse", "mae", "nll")
    return NumberQuality(
        round=last,
        r2=metrics["r2"],
        rmse=metrics["rmse"],
        mae=metrics["mae"],
        nll=metrics["nll"],
        items=_items(loop, last),
        repeats=repeats(metrics, "r2"),
    )


def _items(loop: Loop, number: int) -> Items | None:
    kept = held_out(loop, number)
    if kept is None:
        return None
    predicted, truth = kept
    mean, std, label = (
        np.asarray(column, dtype=np.float64) for column in (predicted["label"], predicted["std"], truth)
    )
    return Items(tuple(predicted["id"].to_pylist()), label, mean, std)


def interval(found: NumberQuality) -> tuple[float, float] | None:
    """The 95 % interval of R² by which held-out items there happen to be; None for a mean of trainings, or a few items.

    Percentiles of the bootstrap: errors of numbers have no one distribution by which an interval could be computed.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3.
    """
    if found.repeats > 1 or found.items is None or len(found.items.label) < 10:
        return None
    label, squares = found.items.label, np.square(found.items.error)
    # About their mean, so that little is lost where they are large.
    label = label - label.mean()
    random, values = np.random.default_rng(_SEED), []
    for _ in range(_SAMPLES):
        rows = random.integers(0, len(label), len(label))
        spread = float(np.square(label[rows]).sum() - label[rows].sum() ** 2 / len(label))
        values.append(1 - float(squares[rows].sum()) / spread if spread > 0 else math.nan)
    low, high = np.nanpercentile(values, [2.5, 97.5]) if np.isfinite(values).any() else (math.nan, math.nan)
    return float(low), float(high)


def worst(items: Items, most: int) -> list[tuple[str, float, float, float]]:
    """The items with the largest errors, the largest first: id, label, prediction and its standard deviation."""
    rows = np.argsort(-np.abs(items.error), kind="stable")[:most]
    return [(items.ids[row], float(items.label[row]), float(items.mean[row]), float(items.std[row])) for row in rows]
