"""Mean and standard deviation of several predictions, from a stream of them, and how uncertain numbers are by these."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


class Moments:
    """Mean and variance over predictions of n items with ``shape`` values each; memory does not grow with them.

    Blocks are reduced about their own mean and merged in float64, so that the variance of nearly equal predictions is
    not the difference of two large numbers.

    Source: Chan, Golub & LeVeque, Algorithms for Computing the Sample Variance, The American Statistician 37 (1983),
    equations 2.1; Welford, Technometrics 4 (1962).
    """

    def __init__(self, items: int, shape: tuple[int, ...], device: torch.device) -> None:
        self._count = torch.zeros((items, *(1 for _ in shape)), dtype=torch.float64, device=device)
        self._mean = torch.zeros((items, *shape), dtype=torch.float64, device=device)
        self._squares = torch.zeros_like(self._mean)

    def add(self, values: Tensor, start: int = 0) -> None:
        """Take in k more predictions of the items from position ``start`` on: float (k, n, *shape)."""
        here = slice(start, start + values.shape[1])
        added = values.shape[0]
        values = values.double()
        mean = values.mean(dim=0)
        squares = (values - mean).square_().sum(dim=0)
        before = self._count[here]
        total = before + added
        shift = mean - self._mean[here]
        self._squares[here] += squares + shift.square() * (before * added / total)
        self._mean[here] += shift * (added / total)
        self._count[here] = total

    @property
    def count(self) -> int:
        """Predictions taken in for the item that has the fewest; 0 without items."""
        return int(self._count.min()) if self._count.numel() else 0

    def mean(self) -> npt.NDArray[np.float64]:
        """float64 (n, *shape)."""
        return _array(self._mean)

    def std(self) -> npt.NDArray[np.float64]:
        """Population standard deviation over the predictions, float64 (n, *shape); 0 before the first."""
        return _array((self._squares / self._count.clamp(min=1)).sqrt())


@dataclass(frozen=True)
class Numbers:
    """Statistics of K predictions of numbers; row i of every field speaks of the same item, and all in their unit."""

    #: float64 (n,); the mean of the predicted means.
    mean: npt.NDArray[np.float64]
    #: float64 (n,); the population standard deviation of the predicted means.
    std: npt.NDArray[np.float64]
    #: float64 (n,); the mean of the predicted variances.
    noise: npt.NDArray[np.float64]

    def mixed(self) -> npt.NDArray[np.float64]:
        """Mean and natural logarithm of the variance of the mixture of the predictions: float64 (n, 2).

        Source: Lakshminarayanan et al., NeurIPS 2017, section 2.4.
        """
        return np.stack([self.mean, np.log(self.noise + self.std**2)], axis=1)


class NumbersTaken:
    """Takes predictions of numbers in, block by block; memory does not grow with how many there are of an item."""

    def __init__(self, items: int, device: torch.device) -> None:
        self._means, self._noise = Moments(items, (), device), Moments(items, (), device)

    def add(self, predictions: Tensor, start: int = 0) -> None:
        """Take in k predictions of the items from position ``start`` on: float (k, n, 2), mean and log-variance."""
        self._means.add(predictions[..., 0], start)
        self._noise.add(predictions[..., 1].double().exp(), start)

    def samples(self) -> Numbers:
        """The statistics of what was taken in so far, which must be equally many predictions of every item."""
        return Numbers(self._means.mean(), self._means.std(), self._noise.mean())


def total_std(predictions: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """Standard deviation of the predicted distribution, the model's own noise included, in the label's unit, [0, ∞).

    Of several models, or passes, that of their mixture. Higher means "label me".

    Args:
        predictions: float (n, 2), mean and natural logarithm of the variance.

    Source: Lakshminarayanan et al., NeurIPS 2017, section 2.4; as an acquisition function Cohn, Ghahramani & Jordan,
    Active Learning with Statistical Models, JAIR 4 (1996), section 2 (the variance of the learner).
    """
    return np.exp(predictions[:, 1].astype(np.float64) / 2)


def predictive_std(numbers: Numbers) -> npt.NDArray[np.float64]:
    """Standard deviation of the means of K predictions, in the label's unit, in [0, ∞): what the model does not know.

    Higher means "label me". Returns float64 (n,).

    Source: Gal & Ghahramani, Dropout as a Bayesian Approximation, ICML 2016, section 4 (without the noise term 1/τ,
    which no label takes away); for ensembles Lakshminarayanan et al., NeurIPS 2017, section 2.4.
    """
    return numbers.std


def _array(tensor: Tensor) -> npt.NDArray[np.float64]:
    return np.array(tensor.cpu().numpy(), dtype=np.float64)
