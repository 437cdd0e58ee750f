"""Acquisition functions: how much a model does not know about an item.

Each takes natural logarithms of class probabilities, float, (N, classes), as ``log_softmax`` gives them, and returns
float64 scores, (N,). A HIGHER SCORE ALWAYS MEANS "LABEL ME". Scores are finite for every row that holds at least one
finite value and no NaN; probabilities that are 0, or too small for the type, are no exception.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]


def least_confidence(log_probabilities: npt.NDArray[np.floating[Any]]) -> Scores:
    """1 - max_c p_c, in [0, 1 - 1/classes].

    Source: Lewis & Gale, A Sequential Algorithm for Training Text Classifiers, SIGIR 1994; in this form Settles,
    Active Learning Literature Survey, 2009, section 3.1.
    """
    highest = np.asarray(log_probabilities, dtype=np.float64).max(axis=1)
    # expm1 keeps the digits that 1 - exp(…) would lose where the model is nearly sure; 0.0 - … avoids -0.0.
    return np.asarray(0.0 - np.expm1(highest), dtype=np.float64)


def margin(log_probabilities: npt.NDArray[np.floating[Any]]) -> Scores:
    """1 - (p_1 - p_2) of the two most probable classes, in [0, 1]; with one class p_2 is 0.

    Source: Scheffer, Decomain & Wrobel, Active Hidden Markov Models for Information Extraction, IDA 2001, section 3;
    turned round, as its margin is small where a label is wanted.
    """
    probabilities = np.exp(np.asarray(log_probabilities, dtype=np.float64))
    if probabilities.shape[1] < 2:
        return np.asarray(1.0 - probabilities[:, 0], dtype=np.float64)
    second, first = np.partition(probabilities, (-2, -1), axis=1)[:, -2:].T
    return np.asarray(1.0 - (first - second), dtype=np.float64)


def entropy(log_probabilities: npt.NDArray[np.floating[Any]]) -> Scores:
    """-Σ_c p_c ln p_c in nats, in [0, ln classes]; a class of probability 0 adds 0.

    Source: Shannon, A Mathematical Theory of Communication, 1948, section 6; as an acquisition function Settles,
    Active Learning Literature Survey, 2009, section 3.1.
    """
    logarithms = np.asarray(log_probabilities, dtype=np.float64)
    probabilities = np.exp(logarithms)
    terms = np.multiply(probabilities, logarithms, where=probabilities > 0, out=np.zeros_like(logarithms))
    return np.asarray(0.0 - terms.sum(axis=1), dtype=np.float64)
