"""What a model makes of an item before its last layer."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from tasks.errors import ConfigError
from tasks.models.forward import log_probability_batches
from tasks.models.view import View


def feature_batches(
    model: nn.Module, items: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64], view: View, batch_size: int
) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """The input of the model's last linear layer, batch by batch, in the order of ``rows``.

    The last is the one that is defined last, which in a model of ours is also the one that is called last.

    Yields:
        The position in ``rows`` of the batch's first item, and float32 (batch, features).

    Raises:
        ConfigError: the model has no linear layer.
    """
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ConfigError(
            f"infer.scope: the model {type(model).__name__} has no linear layer whose input could be clustered; leave "
            "clusters out, or take another train.model"
        )
    last = linear[-1]
    seen: list[Tensor] = []
    handle = last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        for start, _ in log_probability_batches(model, items, rows, view, batch_size):
            yield start, seen.pop().flatten(1).to(torch.float32).cpu().numpy()
    finally:
        handle.remove()
