"""Squared norms of the gradient of each item of a batch, of all parameters of a network, in one backward pass.

The backward pass computes gradients of what the layers hand on and none of weights: those of the parameters would be
summed over the batch, and what is wanted is each item's own. A layer's input and the gradient of its output determine
them, and mostly their norms at less cost. Nothing of the model is changed, so that nothing has to be put back.

Source: Goodfellow, Efficient Per-Example Gradient Computations, arXiv 1510.01799 (linear layers); for convolutions
Rochette et al., Efficient Per-Example Gradient Computations in Convolutional Neural Networks, arXiv 1912.06015.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from tasks.errors import ConfigError
from tasks.models.gradients import layers

#: What the items that are computed at once may take, by the kind of device.
BYTES = {"cpu": 256 * 2**20, "cuda": 8 * 2**30}

#: What an item takes in a model, by its shape and type; to find out costs a pass.
_sizes: WeakKeyDictionary[nn.Module, dict[Any, int]] = WeakKeyDictionary()


def gradient_norms(model: nn.Module, batch: Tensor, seed: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """‖∂loss_i/∂w‖² of each item i and parameter tensor w.

    Args:
        model: in evaluation mode, in which no item has a part in what becomes of another.
        batch: float, (n, …), n at least 1, on the model's device.
        seed: from logits (n, classes) to ∂loss/∂logits of the same shape, row by row.

    Returns:
        Squared norms, (tensors, n), float32 or float64; parameters that had no part in the logits are left out.
        Logits, (n, classes), detached.

    Raises:
        ConfigError: a layer with parameters is not supported, or has its parameters used more than once.
    """
    size = _chunk(model, batch)
    parts = [_chunk_norms(model, items, seed) for items in torch.split(batch, size)]
    norms, logits = zip(*parts, strict=True)
    return torch.cat(norms, dim=1), torch.cat(logits)


def check_model(model: nn.Module, shape: tuple[int, ...]) -> None:
    """Refuse a model of whose layers ``gradient_norms`` could not tell the gradients.

    Args:
        model: on the meta device; is put into evaluation mode.
        shape: of one item.

    Raises:
        ConfigError: as there; the layer is named.
    """
    for name, module in model.named_modules():
        # What these read is no tensor of floats, so that there is no item of zeros to try them on.
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            raise _unknown(name, module)
    _item_bytes(model.eval(), torch.zeros(1, *shape, device="meta"))


def _chunk_norms(model: nn.Module, items: Tensor, seed: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    norms: list[Tensor] = []
    # The one thing that asks for a gradient; whatever has been watched depends on it.
    anchor = torch.zeros((), device=items.device, requires_grad=True)

    def watch(module: nn.Module, x: Tensor, output: Tensor) -> Tensor:
        # A view's place in the graph is its base's; linear layers return one of inputs with several positions.
        output = output.clone() if output._is_view() else output
        watched: Tensor = _Watch.apply(anchor, output, x.detach(), module, norms)
        return watched

    with torch.enable_grad(), _each_call(model, len(items), watch):
        logits = model(items)
    slopes = seed(logits.detach()).to(logits.dtype)
    torch.autograd.grad(logits, anchor, slopes, allow_unused=True)
    return torch.stack(norms), logits.detach()


class _Watch(torch.autograd.Function):
    """Stands behind a layer; adds the norms of its parameters' gradients to a list as the backward pass comes by."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, output: Tensor, x: Tensor, module: nn.Module, norms: list[Tensor]) -> Tensor:
        # As if changed in place: then the network may do so as well, as ReLUs do, where a view would forbid it.
        ctx.mark_dirty(output)
        # Saved this way, an input that is changed in place after its use is an error instead of a wrong norm.
        ctx.save_for_backward(x)
        ctx.module, ctx.norms = module, norms
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (x,), g = ctx.saved_tensors, gradients[0]
        with torch.no_grad(), torch.autocast(g.device.type, enabled=False):
            ctx.norms += layers.squared_norms(ctx.module, x, g)
        return None, g, None, None, None


@contextmanager
def _each_call(
    model: nn.Module, items: int, visit: Callable[[nn.Module, Tensor, Tensor], Tensor | None]
) -> Iterator[set[int]]:
    """``visit`` each layer with parameters of its own as it is called on ``items`` items, with its input and output.

    What it returns takes the output's place. Layers of which gradients could not be told are refused. The block is
    given the ids of the parameters of all layers called so far.
    """
    used: set[int] = set()

    def check(module: nn.Module, inputs: tuple[Tensor, ...], name: str) -> None:
        own = {id(parameter) for parameter in module.parameters(recurse=False)}
        if not layers.supported(module):
            raise _unknown(name, module)
        if own & used:
            raise _refusal(f"needs each parameter to be used once, but those of layer {name!r} are used again")
        used.update(own)

    def called(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor, name: str) -> Tensor | None:
        if len(output) != items:
            raise _refusal(f"needs the items in the first dimension, where layer {name!r} has {len(output)} of {items}")
        if not inputs:
            raise _refusal(f"needs the input of layer {name!r} as a positional argument")
        return visit(module, inputs[0], output)

    with ExitStack() as stack:
        for name, module in model.named_modules():
            if next(module.parameters(recurse=False), None) is not None:
                stack.callback(module.register_forward_pre_hook(partial(check, name=name)).remove)
                stack.callback(module.register_forward_hook(partial(called, name=name)).remove)
        yield used


def _unknown(name: str, module: nn.Module) -> ConfigError:
    return _refusal(f"does not know the gradients of layer {name!r} ({type(module).__name__})")


def _refusal(reason: str) -> ConfigError:
    return ConfigError(
        f"infer.acquisition: the norm of the whole gradient {reason}; take the last layer's with "
        "entropy_gradnorm_last, or another train.model"
    )


def _chunk(model: nn.Module, batch: Tensor) -> int:
    """How many items to compute at once, of about the same number each time."""
    known = _sizes.setdefault(model, {})
    kind = (batch.shape[1:], batch.dtype, torch.is_autocast_enabled(batch.device.type))
    if kind not in known:
        known[kind] = _item_bytes(model, batch[:1])
    fitting = max(1, BYTES[batch.device.type] // known[kind])
    return -(-len(batch) // -(-len(batch) // fitting))


def _item_bytes(model: nn.Module, item: Tensor) -> int:
    """At most what one item takes from the forward to the backward pass."""
    held: list[int] = []
    largest = 0

    def measure(module: nn.Module, x: Tensor, output: Tensor) -> None:
        nonlocal largest
        held.append(x.nbytes + output.nbytes)
        # Patches, and Gram matrices where they are cheaper, are at most the kernel's area times as large.
        largest = max(largest, held[-1] * math.prod(getattr(module, "kernel_size", ())))

    # Without gradients, autocast would keep weights that cannot be used with them.
    with torch.enable_grad(), _each_call(model, 1, measure) as layered:
        logits = model(item)
    _check_uses(model, logits, layered)
    return max(1, sum(held) + largest)


def _check_uses(model: nn.Module, logits: Tensor, layered: set[int]) -> None:
    """Refuse parameters that the logits depend on otherwise than by the one call of their layer.

    Args:
        layered: ids of those that belong to layers that were called.
    """
    uses = _uses(logits)
    for name, parameter in model.named_parameters():
        count = uses[id(parameter)]
        if count > 1 or (count and id(parameter) not in layered):
            raise _refusal(f"needs each parameter to be used once, by its layer, but {name!r} is used elsewhere")


def _uses(logits: Tensor) -> Counter[int]:
    """How often each parameter, by its id, enters the computation of ``logits``."""
    uses: Counter[int] = Counter()
    known, left = set(), [logits.grad_fn]
    while left:
        node = left.pop()
        for before, _ in node.next_functions if node is not None else ():
            if before is None:
                continue
            if hasattr(before, "variable"):
                uses[id(before.variable)] += 1
            elif before not in known:
                known.add(before)
                left.append(before)
    return uses
