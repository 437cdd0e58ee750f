"""How good a model is on labelled items, from its log-probabilities.

Everywhere: ``log_probabilities`` float, (N, classes), natural logarithms; ``labels`` int64, (N,), in 0…classes-1; N at
least 1. Ties between classes go to the lower index.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

LogProbabilities = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.int64]

#: Equal-width bins of confidence, as in Guo et al. 2017.
BINS = 15


def evaluate(log_probabilities: LogProbabilities, labels: Labels, classes: Sequence[str]) -> dict[str, Any]:
    """All measures as plain JSON values: accuracy, nll, ece, per_class (None for a class without items), confusion."""
    table = confusion(log_probabilities, labels)
    counts, hits = table.sum(axis=1), table.diagonal()
    return {
        "accuracy": accuracy(log_probabilities, labels),
        "nll": nll(log_probabilities, labels),
        "ece": ece(log_probabilities, labels),
        "per_class": {
            name: float(hit / count) if count else None for name, hit, count in zip(classes, hits, counts, strict=True)
        },
        "confusion": table.tolist(),
    }


def accuracy(log_probabilities: LogProbabilities, labels: Labels) -> float:
    """Share of the items whose most probable class is their label."""
    return float(np.mean(log_probabilities.argmax(axis=1) == labels))


def nll(log_probabilities: LogProbabilities, labels: Labels) -> float:
    """Mean negative log-likelihood of the labels, in nats."""
    return float(0.0 - np.mean(log_probabilities[np.arange(len(labels)), labels], dtype=np.float64))


def ece(log_probabilities: LogProbabilities, labels: Labels) -> float:
    """Expected calibration error, in [0, 1]: Σ_b |B_b|/N · |accuracy(B_b) - confidence(B_b)|.

    The bins ((b-1)/15, b/15] hold the items by the probability of their most probable class.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, eq. 3; Naeini et al., AAAI 2015.
    """
    confidence = np.exp(log_probabilities.max(axis=1).astype(np.float64))
    right = (log_probabilities.argmax(axis=1) == labels).astype(np.float64)
    gaps = np.bincount(binned(confidence), weights=right - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(labels))


def binned(confidence: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """The bin of each confidence in [0, 1], from 0: int64, (N,); bin b holds (b/15, (b+1)/15], and the first one 0."""
    bins: npt.NDArray[np.int64] = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    return bins


def confusion(log_probabilities: LogProbabilities, labels: Labels) -> npt.NDArray[np.int64]:
    """Counts, int64, (classes, classes): the row is the true class, the column the most probable one."""
    classes = log_probabilities.shape[1]
    cells = labels * classes + log_probabilities.argmax(axis=1)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)
