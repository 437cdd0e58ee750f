"""What several predictions of the same items say, without keeping the predictions."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tasks.infer.spread import Moments

#: exp gives exactly 0 in float64 from here on, so that p ln p is 0 there and never 0 times infinity.
_NO_PROBABILITY = -800.0


@dataclass(frozen=True)
class Samples:
    """Statistics of K predictions; row i of every field speaks of the same item, column c of class c."""

    #: K.
    count: int
    #: float64 (n, classes); the mean probability.
    mean: npt.NDArray[np.float64]
    #: float64 (n, classes); the population standard deviation of the probability over the predictions.
    std: npt.NDArray[np.float64]
    #: float64 (n,); the mean of the predictions' entropies, in nats.
    entropy: npt.NDArray[np.float64]
    #: int64 (n, classes); how many predictions hold the class for the most probable, the lower index among equals.
    votes: npt.NDArray[np.int64]

    def mixed(self) -> npt.NDArray[np.float64]:
        """Natural logarithms of the mean probabilities: float64 (n, classes)."""
        # A mean probability of 0 is the logarithm -inf, which every acquisition function takes.
        with np.errstate(divide="ignore"):
            return np.log(self.mean)


class Accumulator:
    """Takes predictions in, block by block; memory does not grow with their number."""

    def __init__(self, items: int, classes: int, device: torch.device) -> None:
        self._moments = Moments(items, (classes,), device)
        self._entropy = torch.zeros(items, dtype=torch.float64, device=device)
        self._votes = torch.zeros((items, classes), dtype=torch.int64, device=device)
        self._classes = torch.arange(classes, device=device)

    def add(self, log_probabilities: Tensor, start: int = 0) -> None:
        """Take in k predictions of the items from position ``start`` on.

        Args:
            log_probabilities: float32 (k, n, classes), natural logarithms, on the accumulator's device; -inf is
                probability 0.
            start: position of the block's first item.
        """
        # NaN passes through: the caller has to learn that a model's outputs are not finite.
        logs = log_probabilities.double().clamp_(min=_NO_PROBABILITY)
        probabilities = logs.exp()
        first = log_probabilities.argmax(dim=2, keepdim=True)
        here = slice(start, start + logs.shape[1])
        self._moments.add(probabilities, start)
        self._entropy[here] -= probabilities.mul_(logs).sum(dim=(0, 2))
        self._votes[here] += (first == self._classes).sum(dim=0)

    def samples(self) -> Samples:
        """The statistics of what was taken in so far, which must be equally many predictions of every item."""
        count = self._moments.count
        return Samples(
            count=count,
            mean=self._moments.mean(),
            std=self._moments.std(),
            entropy=self._entropy.cpu().numpy() / max(count, 1),
            votes=self._votes.cpu().numpy().copy(),
        )
