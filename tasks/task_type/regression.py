"""Labels that are numbers."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.task_type.number_scores import evaluate

if TYPE_CHECKING:
    from torch import Tensor

#: How far labels may be from 0, and how near to it if they are not 0, so that no square of them is infinite or lost.
_FURTHEST, _NEAREST = 1e100, 1e-100
#: Of the variance in the weights of the loss.
_BETA = 0.5


@dataclass(frozen=True)
class Regression:
    """Predictions are the mean and the natural logarithm of the variance of each label, (n, 2), in its unit."""

    name: ClassVar = "regression"
    #: The metric that curves and policies go by: it rises with labels, and is 1 at most.
    headline: ClassVar = "r2"
    #: The metrics that are plain numbers.
    metrics: ClassVar = ("r2", "rmse", "mae", "nll")
    #: Items on which it says anything.
    fewest: ClassVar = 5
    #: What tables call how sure a model is of its proposal: the standard deviation, in the label's unit.
    certainty: ClassVar = "std"
    #: Of labels in tables.
    label_type: ClassVar = pa.float64()
    #: Of a model, per item.
    outputs: ClassVar = 2

    #: What the number is called.
    target: str
    #: Least and greatest label; None: any number.
    bounds: tuple[float, float] | None = None

    def described(self) -> dict[str, Any]:
        """As pool.json and model.json have it."""
        return {"task": self.name, "target": self.target, "bounds": None if self.bounds is None else list(self.bounds)}

    def known(self, labels: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Which labels of a data set are known."""
        return np.asarray(~np.isnan(labels))

    def wrong(self, labels: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Which labels cannot be."""
        lowest, highest = self.bounds or (-_FURTHEST, _FURTHEST)
        lost = (labels != 0) & (np.abs(labels) < _NEAREST)
        return np.asarray(~np.isfinite(labels) | (labels < lowest) | (labels > highest) | lost)

    def parsed(self, text: str) -> float:
        """The label that a person wrote.

        Raises:
            ValueError: it is none; the message says what a label is.
        """
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"{f'label {text!r} is not a number' if text else 'no label'}; {self.asked()}") from None
        # Python reads 1_000 as a number, and people do not mean it.
        if "_" in text or self.wrong(np.array([value]))[0]:
            raise ValueError(f"label {text!r} cannot be; {self.asked()}")
        return value

    def told(self, label: Any) -> float:
        """A label as people write it."""
        return float(label)

    def stored(self) -> str:
        """What labels in tables are, in words."""
        return self.asked()

    def asked(self) -> str:
        """What people are asked for, in words."""
        if self.bounds is None:
            return f"{self.target} is a finite number, such as 12.5, of a size up to {_FURTHEST:g}, or 0"
        return f"{self.target} is a number from {self.bounds[0]:g} to {self.bounds[1]:g}"

    def predictions(self, outputs: "Tensor") -> "Tensor":
        """What a model says, from its outputs in the label's unit, (…, 2): float64, same shape."""
        return outputs.double()

    def loss(self, outputs: "Tensor", labels: "Tensor", smoothing: float) -> "Tensor":
        """The mean of ``losses``: float32, ()."""
        return self.losses(outputs, labels, smoothing).mean()

    def losses(self, outputs: "Tensor", labels: "Tensor", smoothing: float) -> "Tensor":
        """The β-weighted Gaussian negative log-likelihood of each item, β = 1/2: float32, (n,).

        With the plain likelihood, items that the model takes for noisy would hardly be learnt any more; a weight of the
        variance to the power of β, through which nothing is learnt, makes up for it.

        Args:
            outputs: (n, 2), mean and logarithm of the variance, where labels have mean 0 and standard deviation 1.
            labels: float, (n,), in the same unit.
            smoothing: has no meaning here.

        Source: Seitzer, Tavakoli, Antic & Martius, On the Pitfalls of Heteroscedastic Uncertainty Estimation with
        Probabilistic Neural Networks, ICLR 2022, eq. 5; for ensembles without the weight Lakshminarayanan et al.,
        NeurIPS 2017, eq. 1.
        """
        mean, logarithm = outputs.float().unbind(dim=-1)
        each = 0.5 * (math.log(2 * math.pi) + logarithm + (labels.float() - mean).square() * (-logarithm).exp())
        return each * (_BETA * logarithm.detach()).exp()

    def proposed(self, predictions: npt.NDArray[np.floating[Any]]) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
        """The mean of each item, float64 (n,), and its standard deviation."""
        return predictions[:, 0].astype(np.float64), np.exp(predictions[:, 1] / 2, dtype=np.float64)

    def probabilities(self, predictions: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float32]:
        """Of classes, as though all items were of one: float32 (n, 1), ones."""
        return np.ones((len(predictions), 1), np.float32)

    def mixed(self, each: Sequence[npt.NDArray[np.floating[Any]]]) -> npt.NDArray[np.floating[Any]]:
        """Mean and logarithm of the variance of the mixture of several models' predictions: float64 (n, 2).

        Source: Lakshminarayanan et al., NeurIPS 2017, section 2.4.
        """
        means = np.stack([one[:, 0] for one in each])
        noise = functools.reduce(np.add, (np.exp(one[:, 1]) for one in each)) / len(each)
        # The caller looks for what is not a number, so there is no need to warn of it.
        with np.errstate(invalid="ignore"):
            return np.stack([means.mean(axis=0), np.log(noise + means.var(axis=0))], axis=1)

    def evaluate(self, predictions: npt.NDArray[np.floating[Any]], labels: npt.NDArray[Any]) -> dict[str, Any]:
        """How good predictions are: r2, rmse, mae, nll."""
        return evaluate(predictions, labels)
