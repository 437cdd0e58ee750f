"""Labels that are one class of several."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.task_type.class_scores import evaluate

if TYPE_CHECKING:
    from torch import Tensor

#: Stands where the class of an item is not known.
UNKNOWN = -1


@dataclass(frozen=True)
class Classification:
    """Predictions are natural logarithms of the class probabilities, (n, classes)."""

    name: ClassVar = "classification"
    #: The metric that curves and policies go by: it rises with labels, and is 1 at most.
    headline: ClassVar = "accuracy"
    #: The metrics that are plain numbers.
    metrics: ClassVar = ("accuracy", "nll", "ece")
    #: Items on which it says anything.
    fewest: ClassVar = 1
    #: What tables call how sure a model is of its proposal.
    certainty: ClassVar = "confidence"
    #: Of labels in tables.
    label_type: ClassVar = pa.int64()

    classes: tuple[str, ...]

    @property
    def outputs(self) -> int:
        """Of a model, per item."""
        return len(self.classes)

    def described(self) -> dict[str, Any]:
        """As pool.json and model.json have it."""
        return {"classes": list(self.classes)}

    def known(self, labels: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Which labels of a data set are known."""
        return np.asarray(labels != UNKNOWN)

    def wrong(self, labels: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Which labels cannot be."""
        return np.asarray((labels < 0) | (labels >= len(self.classes)))

    def parsed(self, text: str) -> int:
        """The label that a person wrote.

        Raises:
            ValueError: it is none; the message says what a label is.
        """
        if text not in self.classes:
            known = ", ".join(self.classes[:20])
            raise ValueError(f"{f'unknown class {text!r}' if text else 'no label'}; the classes are {known}")
        return self.classes.index(text)

    def told(self, label: Any) -> str:
        """A label as people write it."""
        return self.classes[label] if 0 <= label < len(self.classes) else f"class {label}"

    def stored(self) -> str:
        """What labels in tables are, in words."""
        return f"the {len(self.classes)} classes of data/pool/pool.json are numbered from 0"

    def asked(self) -> str:
        """What people are asked for, in words."""
        return f"one of {', '.join(self.classes)}"

    def predictions(self, outputs: "Tensor") -> "Tensor":
        """What a model says, from its logits, (…, classes): float32, same shape."""
        return outputs.float().log_softmax(dim=-1)

    def loss(self, outputs: "Tensor", labels: "Tensor", smoothing: float) -> "Tensor":
        """The mean cross-entropy: float32, (); ``outputs`` as the model gives them, labels int64, (n,)."""
        from torch.nn import functional

        return functional.cross_entropy(outputs.float(), labels, label_smoothing=smoothing)

    def losses(self, outputs: "Tensor", labels: "Tensor", smoothing: float) -> "Tensor":
        """The cross-entropy of each item: float32, (n,)."""
        from torch.nn import functional

        return functional.cross_entropy(outputs.float(), labels, label_smoothing=smoothing, reduction="none")

    def proposed(self, predictions: npt.NDArray[np.floating[Any]]) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
        """The most probable class of each item, the lower index among equals, int64 (n,), and its probability."""
        return predictions.argmax(axis=1), np.exp(predictions.max(axis=1), dtype=np.float64)

    def probabilities(self, predictions: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float32]:
        """Of the classes: float32 (n, classes)."""
        return np.asarray(np.exp(predictions, dtype=np.float32))

    def mixed(self, each: Sequence[npt.NDArray[np.floating[Any]]]) -> npt.NDArray[np.floating[Any]]:
        """Natural logarithms of the mean of several models' probabilities: float64 (n, classes)."""
        # The caller looks for what is not a number, so there is no need to warn of it.
        with np.errstate(invalid="ignore"):
            total = functools.reduce(np.logaddexp, (one.astype(np.float64) for one in each))
        mean: npt.NDArray[np.float64] = total - math.log(len(each))
        return mean

    def evaluate(self, predictions: npt.NDArray[np.floating[Any]], labels: npt.NDArray[Any]) -> dict[str, Any]:
        """How good predictions are: accuracy, nll, ece, per_class, confusion."""
        return evaluate(predictions, labels, self.classes)
