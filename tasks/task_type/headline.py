"""The metric that curves and policies go by, as people meet it.

Outcomes and tables inside of the program call it accuracy, whatever it is: both metrics rise with labels and are 1 at
most. Whatever a user sees goes through ``Headline.shown`` or ``Headline.named``, and so has the metric's own name.
"""

import math
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.proportion import wilson

Floats = npt.NDArray[np.float64]

#: What is nearer to the best possible value counts as this near where the noise is concerned, which would else vanish.
_NEAREST = 0.005


@dataclass(frozen=True)
class Headline:
    """What the metric is called, and how sure a value of it is."""

    #: Of which task type it is.
    task: str
    #: In files and tables.
    name: str
    #: In sentences and along axes.
    title: str
    #: Whether it is a share of right answers, told in per cent and counted item by item.
    share: bool
    #: No value is lower; and none is drawn that is lower than this.
    lowest: float
    lowest_drawn: float
    #: Numbers of outcomes that a model of this task type does not have.
    absent: frozenset[str]
    #: What tables of rounds show of a model.
    columns: tuple[str, ...]
    #: A hundredth of it, in words: one, and several.
    point: str
    points: str
    #: Variance of values, (n,), taken on one item each, up to a factor: (n,).
    noise: Callable[[Floats], Floats]
    #: Variance of a value that was taken on so many items.
    variance: Callable[[float, float], float]
    #: The central interval of so much confidence (third) for a value (first) taken on so many items (second).
    interval: Callable[[float, float, float], tuple[float, float]]

    @property
    def axis(self) -> str:
        """What stands along an axis on which ``drawn`` values lie."""
        return f"{self.title}, %" if self.share else self.title

    def drawn(self, value: float) -> float:
        """A value as figures have it: per cent of a share."""
        return 100 * value if self.share else value

    def named(self, field: str) -> str:
        """A field's name as people meet it: `validation_accuracy` is `validation_r2` of a regression."""
        return field.replace("accuracy", self.name)

    def shown(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values by fields as people meet them, those inside of others too; what there is none of is left out."""
        return {
            self.named(field): self.shown(value) if isinstance(value, dict) else value
            for field, value in values.items()
            if field not in self.absent
        }


def of(task: str) -> Headline:
    """That of a task type, by its name."""
    return R2 if task == "regression" else ACCURACY


def among(names: Container[str]) -> Headline:
    """The one that names of metrics are of; accuracy where neither is among them."""
    return R2 if R2.name in names else ACCURACY


def _noise_of_share(shares: Floats) -> Floats:
    sure = np.clip(shares, _NEAREST, 1 - _NEAREST)
    return np.asarray(sure * (1 - sure))


def _variance_of_share(share: float, items: float) -> float:
    # One right and one wrong answer more, so that few items never look certain.
    likely = (share * items + 1) / (items + 2)
    return likely * (1 - likely) / (items + 2)


def _noise_of_r2(values: Floats) -> Floats:
    return np.square(np.maximum(1 - values, _NEAREST))


def _variance_of_r2(value: float, items: float) -> float:
    """2·(1 - R²)²/n: that of a mean of n squared normal errors over the labels' variance, which is given."""
    return 2 * (1 - value) ** 2 / items


def _interval_of_r2(value: float, items: float, confidence: float) -> tuple[float, float]:
    """By the interval of the errors' variance: n squared errors over it are χ²-distributed, with n degrees of freedom.

    That is for errors that are independent and normal, about labels that are given. Where errors have heavier tails it
    is too narrow.
    """
    # The quantile alone; scipy.stats takes a second to load.
    from scipy.special import chdtri

    low, high = (1 - (1 - value) * items / float(chdtri(items, (1 + sign * confidence) / 2)) for sign in (1, -1))
    return low, high


#: The share of the items whose class was predicted.
ACCURACY = Headline(
    task="classification",
    name="accuracy",
    title="accuracy",
    share=True,
    lowest=0.0,
    lowest_drawn=0.0,
    absent=frozenset({"rmse", "mae"}),
    columns=("accuracy",),
    point="percentage point",
    points="points",
    noise=_noise_of_share,
    variance=_variance_of_share,
    interval=wilson,
)
#: The share of the labels' variance that was predicted; below 0 where the labels' mean would have been better.
R2 = Headline(
    task="regression",
    name="r2",
    title="R²",
    share=False,
    lowest=-math.inf,
    lowest_drawn=-0.25,
    absent=frozenset({"ece", "compared", "gained", "lost", "kappa", "uncertainty"}),
    columns=("r2", "rmse"),
    point="hundredth of R²",
    points="hundredths of R²",
    noise=_noise_of_r2,
    variance=_variance_of_r2,
    interval=_interval_of_r2,
)
