"""Acquisition functions of several predictions of the same item: passes with dropout left on, or an ensemble's members.

Each takes ``Samples`` and returns float64 scores, (n,). A HIGHER SCORE ALWAYS MEANS "LABEL ME". Scores are finite
whatever the logits, as long as these are.
"""

import numpy as np
import numpy.typing as npt

from tasks.infer.samples import Samples

Scores = npt.NDArray[np.float64]


def predictive_entropy(samples: Samples) -> Scores:
    """-Σ_c p̄_c ln p̄_c of the mean probabilities p̄, in nats, in [0, ln classes]: all uncertainty.

    Source: Gal & Ghahramani, Dropout as a Bayesian Approximation, ICML 2016 (the mean over passes as the prediction);
    Gal, Islam & Ghahramani, Deep Bayesian Active Learning with Image Data, ICML 2017, section 3, function 1.
    """
    mean = samples.mean
    logarithms = np.log(mean, where=mean > 0, out=np.zeros_like(mean))
    # A mean that rounding has put above 1 would give a score below 0.
    return np.asarray(np.maximum(0.0, 0.0 - (mean * logarithms).sum(axis=1)), dtype=np.float64)


def variation_ratios(samples: Samples) -> Scores:
    """1 - (votes for the most voted class) / K, in [0, 1 - 1/min(K, classes)]: how often a prediction is overruled.

    Source: Freeman, Elementary Applied Statistics, 1965; as an acquisition function Gal, Islam & Ghahramani, Deep
    Bayesian Active Learning with Image Data, ICML 2017, section 3, function 3 (from the votes of sampled passes).
    """
    scores = 1.0 - samples.votes.max(axis=1) / samples.count
    # Undefined outputs have votes too; the score must not hide them.
    return np.where(np.isnan(samples.entropy), np.nan, scores)


def bald(samples: Samples) -> Scores:
    """H(p̄) - mean of H(p_k), the mutual information of label and model, in nats, in [0, ln min(K, classes)].

    The entropy is concave, so the difference is never negative; computed, it may be below 0 by rounding where the
    predictions agree, and is set to 0 there, lest a later power or logarithm of the score be undefined.

    Source: Houlsby, Huszár, Ghahramani & Lengyel, Bayesian Active Learning for Classification and Preference
    Learning, arXiv 1112.5745, 2011, equation 2; with dropout Gal, Islam & Ghahramani, ICML 2017, section 3, function 2.
    """
    return np.maximum(0.0, predictive_entropy(samples) - samples.entropy)


def mean_std(samples: Samples) -> Scores:
    """Standard deviation of each class's probability over the K predictions, mean over classes, in [0, 1/2].

    Source: Kampffmeyer, Salberg & Jenssen, Semantic Segmentation of Small Objects, CVPR Workshops 2016, and Kendall,
    Badrinarayanan & Cipolla, Bayesian SegNet, arXiv 1511.02680, 2015; as an acquisition function Gal, Islam &
    Ghahramani, ICML 2017, section 3, function 4.
    """
    return np.asarray(samples.std.mean(axis=1), dtype=np.float64)
