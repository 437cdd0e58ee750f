"""How good predictions of numbers are.

Everywhere: ``predictions`` float, (N, 2), mean and natural logarithm of the variance, in the labels' unit; ``labels``
float64, (N,); N at least 1.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Predictions = npt.NDArray[np.floating[Any]]
Numbers = npt.NDArray[np.float64]


def evaluate(predictions: Predictions, labels: Numbers) -> dict[str, Any]:
    """All measures as plain JSON values: r2, rmse, mae, nll."""
    return {
        "r2": r2(predictions, labels),
        "rmse": rmse(predictions, labels),
        "mae": mae(predictions, labels),
        "nll": nll(predictions, labels),
    }


def r2(predictions: Predictions, labels: Numbers) -> float:
    """The share of the labels' variance that is explained, 1 - Σ(y - ŷ)²/Σ(y - ȳ)²: 1 at most, and below 0 without use.

    Where all labels are equal there is nothing to explain: 0.
    """
    # By the labels themselves: rounding may keep equal ones from their own mean.
    if labels.min() == labels.max():
        return 0.0
    spread = float(np.square(labels - labels.mean()).sum())
    return 1 - float(np.square(labels - predictions[:, 0]).sum()) / spread


def rmse(predictions: Predictions, labels: Numbers) -> float:
    """Root of the mean squared error, in the labels' unit."""
    return math.sqrt(float(np.square(labels - predictions[:, 0]).mean()))


def mae(predictions: Predictions, labels: Numbers) -> float:
    """Mean absolute error, in the labels' unit."""
    return float(np.abs(labels - predictions[:, 0]).mean())


def nll(predictions: Predictions, labels: Numbers) -> float:
    """Mean negative log-likelihood of the labels under normal distributions, in nats per label of its unit."""
    mean, logarithm = predictions[:, 0].astype(np.float64), predictions[:, 1].astype(np.float64)
    each = math.log(2 * math.pi) + logarithm + np.square(labels - mean) * np.exp(-logarithm)
    return float(0.5 * each.mean())
