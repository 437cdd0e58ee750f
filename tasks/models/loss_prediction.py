"""A second head that learns to predict the loss of each item, from the outputs of the network's stages.

Source: Yoo & Kweon, Learning Loss for Active Learning, CVPR 2019, section 3.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from tasks.models.taps import Taps, tapped, taps_of

#: Units that each stage has in the head (section 4.1 of the paper).
_WIDTH = 128


class LossPredicting(nn.Module):
    """A network that classifies, and a predictor of its losses that is called only where one is asked for."""

    def __init__(self, network: nn.Module, shape: tuple[int, ...]) -> None:
        """Draw the predictor's weights, after the network's, which are thus those of the network alone.

        Args:
            network: its taps name at least one stage.
            shape: of one item, as the network takes it.
        """
        super().__init__()
        self.network = network
        self.predictor = LossPredictor(_widths(network, shape))
        taps = taps_of(network)
        tapped(self, Taps(f"network.{taps.head}", tuple(f"network.{stage}" for stage in taps.stages)))

    def forward(self, x: Tensor) -> Tensor:
        """The network's logits, (n, classes)."""
        logits: Tensor = self.network(x)
        return logits

    def joint(self, x: Tensor, detach: bool) -> tuple[Tensor, Tensor]:
        """The network's logits, (n, classes), and the losses predicted, float32 (n,), from one pass.

        Args:
            x: a batch, as the network takes it.
            detach: whether the predictions leave no gradient in the network.
        """
        with _stage_outputs(self.network) as outputs:
            logits = self.network(x)
        return logits, self.predictor([output.detach() for output in outputs] if detach else outputs)


class LossPredictor(nn.Module):
    """Of each stage the mean over the image, 128 units and a ReLU; of all these, one after the other, one number."""

    def __init__(self, widths: Sequence[int]) -> None:
        """``widths``: channels or features of the stages' outputs."""
        super().__init__()
        self.stages = nn.ModuleList(nn.Linear(width, _WIDTH) for width in widths)
        self.last = nn.Linear(_WIDTH * len(widths), 1)

    def forward(self, outputs: Sequence[Tensor]) -> Tensor:
        """float32 (n,), from each stage's (n, channels, height, width) or (n, features)."""
        # In half precision many predictions would be equal, and training compares them and scoring sorts by them.
        with torch.autocast(outputs[0].device.type, enabled=False):
            units = [
                functional.relu(stage(_pooled(output))) for stage, output in zip(self.stages, outputs, strict=True)
            ]
            predicted: Tensor = self.last(torch.cat(units, dim=1))
        return predicted.squeeze(1)


def _pooled(output: Tensor) -> Tensor:
    return output.mean((2, 3), dtype=torch.float32) if output.ndim == 4 else output.float()


def margin_loss(predicted: Tensor, losses: Tensor, margin: float) -> Tensor:
    """Mean over pairs of max(0, margin - s (predicted_i - predicted_j)); s is 1 if losses_i > losses_j, else -1.

    The pairs are the first and the last item of the batch, the second and the last but one, and so on; the middle
    one of an odd number is left out, and without a pair the loss is 0.

    Args:
        predicted: float (n,).
        losses: float (n,); get no gradient.
        margin: in the units of a loss.

    Returns:
        A float, with a gradient.

    Source: Yoo & Kweon, CVPR 2019, eq. 2 and section 3.3; its code takes these pairs.
    """
    half = len(predicted) // 2
    if not half:
        return predicted.sum() * 0.0
    first, last = slice(None, half), slice(-half, None)
    higher = losses.detach()[first] > losses.detach()[last].flip(0)
    difference = predicted[first] - predicted[last].flip(0)
    return functional.relu(margin - torch.where(higher, difference, -difference)).mean()


@contextmanager
def _stage_outputs(network: nn.Module) -> Iterator[list[Tensor]]:
    """A list to which a call of the network in the block adds its stages' outputs."""
    seen: list[Tensor] = []
    stages = [network.get_submodule(name) for name in taps_of(network).stages]
    handles = [stage.register_forward_hook(lambda module, inputs, output: seen.append(output)) for stage in stages]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _widths(network: nn.Module, shape: tuple[int, ...]) -> list[int]:
    """Channels or features of the stages' outputs."""
    # On the meta device a pass computes shapes alone.
    shadow = copy.deepcopy(network).to("meta").eval()
    with _stage_outputs(shadow) as outputs:
        shadow(torch.zeros(1, *shape, device="meta"))
    return [output.shape[1] for output in outputs]
