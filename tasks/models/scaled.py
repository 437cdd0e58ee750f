"""A network whose numbers are in the labels' unit, although it learns them in one of its own."""

import math

import torch
from torch import Tensor, nn

from tasks.models.taps import Taps, tapped, taps_of

#: The logarithm of the variance on either side of that of the labels.
_WIDEST = 2 * math.log(100)


class Scaled(nn.Module):
    """A network that gives mean and logarithm of the variance of labels with mean 0 and standard deviation 1.

    The variance is kept between that of a hundredth and that of a hundred of their standard deviations, so that no
    prediction is so sure, or so unsure, that it alone makes up the likelihood of all.

    The labels' own mean and standard deviation are buffers. A model that goes on from an earlier one has a unit of its
    own, in which it says what the earlier one said: see ``restated``.
    """

    location: Tensor
    scale: Tensor

    def __init__(self, network: nn.Module, location: float, scale: float) -> None:
        """``location`` and ``scale``: of the labels, in their unit; a scale of 0 counts as 1."""
        super().__init__()
        self.network = network
        self.register_buffer("location", torch.tensor(location, dtype=torch.float64))
        self.register_buffer("scale", torch.tensor(scale or 1.0, dtype=torch.float64))
        taps = taps_of(network)
        tapped(self, Taps(f"network.{taps.head}", tuple(f"network.{stage}" for stage in taps.stages)))

    def forward(self, x: Tensor) -> Tensor:
        """Mean and natural logarithm of the variance in the labels' unit: float64 (n, 2)."""
        mean, logarithm = bounded(self.network(x)).double().unbind(dim=-1)
        return torch.stack((mean * self.scale + self.location, logarithm + 2 * self.scale.log()), dim=-1)

    def restated(self, before: dict[str, Tensor]) -> dict[str, Tensor]:
        """The state of an earlier model of this architecture, which says in this model's unit what it said in its own.

        The means are the same; so are the variances, but for the curve of their bounds. A last layer without bias
        cannot say it, and keeps its unit.
        """
        head = taps_of(self).head
        names = weight, bias = f"{head}.weight", f"{head}.bias"
        if not all(name in before for name in names):
            return before
        ratio = (before["scale"] / self.scale.cpu()).double()
        shift = torch.stack(((before["location"] - self.location.cpu()) / self.scale.cpu(), 2 * ratio.log()))
        stretch = torch.stack((ratio, torch.ones_like(ratio)))
        return before | {
            weight: (before[weight].double() * stretch[:, None]).to(before[weight].dtype),
            bias: (before[bias].double() * stretch + shift).to(before[bias].dtype),
            "location": self.location.cpu(),
            "scale": self.scale.cpu(),
        }

    def standardised(self, labels: Tensor) -> Tensor:
        """Labels in the network's unit: float32, same shape."""
        return ((labels.double() - self.location) / self.scale).float()


def bounded(outputs: Tensor) -> Tensor:
    """A network's mean and logarithm of the variance, (n, 2), the latter within its bounds: smoothly, lest it stick."""
    # Of half precision only what the network does is half.
    mean, logarithm = outputs.float().unbind(dim=-1)
    return torch.stack((mean, _WIDEST * torch.tanh(logarithm / _WIDEST)), dim=-1)


def measured(labels: list[float]) -> tuple[float, float]:
    """Mean and population standard deviation of labels, at least one; 0 where all are equal."""
    # By the labels themselves: rounding may keep equal ones from their own mean.
    if min(labels) == max(labels):
        return labels[0], 0.0
    mean = math.fsum(labels) / len(labels)
    return mean, math.sqrt(math.fsum((label - mean) ** 2 for label in labels) / len(labels))
