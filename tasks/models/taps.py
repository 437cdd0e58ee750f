"""Where a model's stages and its last layer are, so that nobody else has to know the model."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

from tasks.errors import ConfigError


@dataclass(frozen=True)
class Taps:
    """Names of modules, as ``named_modules`` has them."""

    #: The last linear layer, which is called once; its input, (n, features), are the penultimate features.
    head: str
    #: In order; the outputs are (n, channels, height, width) or (n, features). Empty: the model has no stages.
    stages: tuple[str, ...] = ()


def tapped(model: nn.Module, taps: Taps) -> nn.Module:
    """``model``, which says from now on where its taps are."""
    model.taps = taps  # type: ignore[assignment]
    return model


def taps_of(model: nn.Module) -> Taps:
    """What the model says of itself.

    Raises:
        ConfigError: it says nothing.
    """
    taps = getattr(model, "taps", None)
    if not isinstance(taps, Taps):
        raise ConfigError(
            f"train.model: the model {type(model).__name__} does not say where its features are; have its build() "
            "return tapped(model, Taps(…)) (tasks/models/taps.py)"
        )
    return taps


def head_of(model: nn.Module) -> nn.Linear:
    """The last linear layer.

    Raises:
        ConfigError: the model does not say which it is, or it is not linear.
    """
    head = model.get_submodule(taps_of(model).head)
    if not isinstance(head, nn.Linear):
        raise ConfigError(f"train.model: the last layer of {type(model).__name__} is not linear, but {head}")
    return head


@contextmanager
def penultimate(model: nn.Module) -> Iterator[list[Tensor]]:
    """A list to which each call of the model in the block adds its penultimate features, (n, features).

    Raises:
        ConfigError: the model does not say where they are.
    """
    seen: list[Tensor] = []
    handle = head_of(model).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().flatten(1)))
    try:
        yield seen
    finally:
        handle.remove()
