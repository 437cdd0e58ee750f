"""Mean and standard deviation of several predictions, from a stream of them."""

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


def predictive_std(moments: Moments) -> npt.NDArray[np.float64]:
    """Standard deviation of K predictions of real outputs (n, D), mean over D, in the outputs' unit, in [0, ∞).

    For regression heads; higher means "label me". Returns float64 (n,).

    Source: Gal & Ghahramani, Dropout as a Bayesian Approximation, ICML 2016, section 4 (without the noise term 1/τ,
    which is the same for all items); for ensembles Lakshminarayanan et al., NIPS 2017, section 2.4.
    """
    std = moments.std()
    return np.asarray(std.reshape(len(std), -1).mean(axis=1), dtype=np.float64)


def _array(tensor: Tensor) -> npt.NDArray[np.float64]:
    return np.array(tensor.cpu().numpy(), dtype=np.float64)
