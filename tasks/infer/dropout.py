"""What of a network dropout makes random, so that repeated passes repeat only that.

A network is cut, on its traced graph, into a prefix that no dropout reaches and a suffix, which can take many passes
in one call. That gives the distribution of whole-network repeats, and with the same masks the same values, where

- the prefix draws no random numbers, which its graph does not show of all that can be called, and
- the suffix, if it takes several passes in one call, draws anew for each of its rows: dropout of a weight, say, draws
  one mask for the whole call.

Whoever runs the two parts has to see to it, as ``tasks.infer.sampling`` does.

Source: Gal & Ghahramani, Dropout as a Bayesian Approximation, ICML 2016, section 4 (the passes).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.modules.dropout import _DropoutNd
from torch.overrides import handle_torch_function, has_torch_function_unary

from tasks.models.half_dropout import BITS, HalfDropout, half_factors

#: Modules that multiply what they keep by a positive number, so that they may change places with ReLU.
_SCALING = (HalfDropout, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
_FUNCTIONS = {
    getattr(functional, name)
    for name in ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
}
_RELUS = {torch.relu, torch.relu_, functional.relu, functional.relu_, "relu", "relu_"}


def has_dropout(model: nn.Module) -> bool:
    """Whether a module of the model drops anything; it may be on any device, meta included.

    What counts is PyTorch's dropout modules and this project's, and the attention and recurrent modules that have a
    dropout of their own; not dropout that a ``forward`` calls as a function.
    """
    return any(_active(module) for module in model.modules())


def _active(module: nn.Module) -> bool:
    if isinstance(module, nn.MultiheadAttention):
        return bool(module.dropout > 0)
    if isinstance(module, nn.RNNBase):
        return module.dropout > 0 and module.num_layers > 1
    return isinstance(module, HalfDropout) or (isinstance(module, _DropoutNd) and module.p > 0)


@contextmanager
def evaluating(model: nn.Module, drawing: bool = False) -> Iterator[None]:
    """Evaluation mode, for the block only; ``drawing`` puts the modules that drop into training mode."""
    before = [(module, module.training) for module in model.modules()]
    fast = torch.backends.mha.get_fastpath_enabled()
    try:
        for module, _ in before:
            module.training = drawing and _active(module)
        # A Transformer layer in evaluation mode would be run by one fused function, which leaves its dropouts out.
        torch.backends.mha.set_fastpath_enabled(fast and not drawing)
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for module, mode in before:
            module.training = mode


@dataclass(frozen=True)
class Cut:
    """A network in two parts. Both share its modules and are run while it is ``evaluating`` and drawing."""

    #: From a batch to the values that the suffix reads.
    prefix: Callable[[Tensor], Sequence[Tensor]]
    #: From a number of repeats and these values to outputs of repeats * items rows, the items varying fastest.
    suffix: Callable[..., Tensor]
    #: Whether nothing is known of what the suffix draws, so that each repeat has to be a call of its own.
    whole: bool = False


def cut(model: nn.Module) -> Cut:
    """Cut before the first dropouts; a model that cannot be traced, or taken apart safely, is repeated as a whole.

    Dropout that a ``forward`` calls as a function with ``training=self.training`` is off, as in evaluation mode. The
    cut is right only if the prefix draws no random numbers and the values that it gives have as many rows as there
    are items, which is seen by running it; otherwise use ``uncut``. Several repeats in one call of the suffix are
    right only if it draws anew for each row, which is seen by running it, too.

    Args:
        model: takes one batch, items first, and returns one tensor, items first.
    """
    with evaluating(model, drawing=True):
        return _halves(model) or uncut(model)


def uncut(model: nn.Module) -> Cut:
    """The whole network as the suffix, which one repeat at a time is right for every model."""
    return Cut(lambda batch: (batch,), lambda repeats, batch: model(_repeated(batch, repeats)), whole=True)


def unrepeated(model: nn.Module) -> Cut:
    """The whole network as the prefix, for a single pass in which nothing is random."""
    return Cut(lambda batch: (model(batch),), lambda repeats, outputs: outputs)


class _Tracer(fx.Tracer):
    """Goes only into plain sequences and what holds dropout, so that the inside of others need not be traceable."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if type(m) is nn.Sequential:
            return False
        return _active(m) or not has_dropout(m) or super().is_leaf_module(m, module_qualified_name)


def _halves(model: nn.Module) -> Cut | None:
    """The two sides of the first dropouts; None where they cannot be told apart."""
    try:
        graph = _Tracer().trace(model)
    # A forward that cannot be traced fails in whatever way it likes.
    except Exception:
        return None
    _rectify_first(model, graph)
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    results = graph.output_node().all_input_nodes
    random = _reached(graph, _sources(model, graph))
    fixed = _reached(graph, inputs) - random
    if len(inputs) != 1 or len(results) != 1 or results[0] not in random or _overwrites(model, graph, random):
        return None
    border = [node for node in graph.nodes if node in fixed and not random.isdisjoint(node.users)]
    prefix, suffix = fx.Graph(), fx.Graph()
    # What depends neither on the input nor on dropout, such as a parameter, is worked out on both sides.
    taken = {inputs[0]: prefix.placeholder("batch")}
    _copy(model, graph, prefix, taken, random)
    prefix.output(tuple(taken[node] for node in border))
    taken = _dropped(model, border, suffix)
    _copy(model, graph, suffix, taken, fixed)
    suffix.output(taken[results[0]])
    return Cut(fx.GraphModule(model, prefix), fx.GraphModule(model, suffix))


def _copy(
    model: nn.Module, graph: fx.Graph, part: fx.Graph, taken: dict[fx.Node, fx.Node], without: set[fx.Node]
) -> None:
    """Copy into ``part`` all nodes that are neither in ``taken``, where the copies go, nor in ``without``."""
    for node in graph.nodes:
        if node.op == "output" or node in without or node in taken:
            continue
        if _halves_units(model, node):
            taken[node] = part.call_function(half_dropped, (taken[node.all_input_nodes[0]], 1))
        elif _pools_pairs(model, node):
            taken[node] = part.call_function(max_pooled, (taken[node.all_input_nodes[0]],))
        else:
            taken[node] = part.node_copy(node, taken.__getitem__)


def _dropped(model: nn.Module, border: list[fx.Node], suffix: fx.Graph) -> dict[fx.Node, fx.Node]:
    """The beginning of the suffix: each value of the border repeated, or dropped and repeated in one go."""
    repeats = suffix.placeholder("repeats")
    values = {node: suffix.placeholder(node.name) for node in border}
    taken: dict[fx.Node, fx.Node] = {}
    for node, value in values.items():
        halved = [user for user in node.users if _halves_units(model, user)]
        for user in halved:
            taken[user] = suffix.call_function(half_dropped, (value, repeats))
        if len(halved) < len(node.users):
            taken[node] = suffix.call_function(_repeated, (value, repeats))
    return taken


def _reached(graph: fx.Graph, sources: list[fx.Node]) -> set[fx.Node]:
    """``sources`` and all that depends on them; graphs are in topological order."""
    reached = set(sources)
    for node in graph.nodes:
        if not reached.isdisjoint(node.all_input_nodes):
            reached.add(node)
    return reached


def _sources(model: nn.Module, graph: fx.Graph) -> list[fx.Node]:
    """The nodes that draw random numbers."""
    return [
        node
        for node in graph.nodes
        if ((module := _module(model, node)) and has_dropout(module)) or (node.target in _FUNCTIONS and _is_on(node))
    ]


def _is_on(node: fx.Node) -> bool:
    """Whether a call of a dropout function has it switched on, as it is unless told otherwise."""
    return bool(node.args[2] if len(node.args) > 2 else node.kwargs.get("training", True))


def _module(model: nn.Module, node: fx.Node) -> nn.Module | None:
    return model.get_submodule(str(node.target)) if node.op == "call_module" else None


def _halves_units(model: nn.Module, node: fx.Node) -> bool:
    # Exactly these types: a subclass may draw in its own way. In place, others would have to see what it does.
    module = _module(model, node)
    return type(module) is HalfDropout or (type(module) is nn.Dropout and module.p == 0.5 and not module.inplace)


def _pools_pairs(model: nn.Module, node: fx.Node) -> bool:
    module = _module(model, node)
    if type(module) is not nn.MaxPool2d or module.ceil_mode or module.return_indices:
        return False
    settings = (module.kernel_size, module.stride, module.padding, module.dilation)
    return all(value in (wanted, (wanted, wanted)) for value, wanted in zip(settings, (2, 2, 0, 1), strict=True))


def _rectify_first(model: nn.Module, graph: fx.Graph) -> None:
    """Put a ReLU that alone follows a first dropout before it, into the prefix; the values stay the same."""
    random = _reached(graph, _sources(model, graph))
    scaling = [node for node in graph.nodes if type(_module(model, node)) in _SCALING and not _in_place(model, node)]
    for drop in scaling:
        (before,), users = drop.all_input_nodes, list(drop.users)
        if before not in random and len(users) == 1 and _is_relu(model, users[0]):
            with graph.inserting_before(drop):
                drop.replace_input_with(before, graph.call_function(torch.relu, (before,)))
            users[0].replace_all_uses_with(drop)
            graph.erase_node(users[0])


def _is_relu(model: nn.Module, node: fx.Node) -> bool:
    return isinstance(_module(model, node), nn.ReLU) or (node.op != "call_module" and node.target in _RELUS)


def _overwrites(model: nn.Module, graph: fx.Graph, random: set[fx.Node]) -> bool:
    """Whether one side would change in place what the other has to read in the state before or after the change."""
    nodes = list(graph.nodes)
    first = next(position for position, node in enumerate(nodes) if node in random)
    for position, node in enumerate(nodes[first:], first):
        if _in_place(model, node):
            changed = node.all_input_nodes[0]
            read_later = any(user in nodes[position + 1 :] for user in changed.users)
            if node not in random or (changed not in random and read_later):
                return True
    return False


def _in_place(model: nn.Module, node: fx.Node) -> bool:
    if module := _module(model, node):
        return any(getattr(part, "inplace", False) for part in module.modules())
    name = getattr(node.target, "__name__", str(node.target))
    if node.op == "call_function" and getattr(node.target, "__module__", "") == "_operator":
        return name.startswith("i") and name not in ("index", "inv", "invert", "is_", "is_not")
    return (name.endswith("_") and not name.endswith("__")) or bool(node.kwargs.get("inplace"))


def _repeated(value: Tensor, repeats: int) -> Tensor:
    # A copy even for one repeat, as the suffix may work in place; unlike Tensor.repeat, cat keeps the memory layout.
    return torch.cat([value] * repeats)


def half_dropped(value: Tensor, repeats: int) -> Tensor:
    """``value``, (n, …), repeated, each unit of each repeat dropped with probability exactly 1/2 or doubled.

    Returns:
        (repeats * n, …), items varying fastest, laid out in memory as ``value`` is.
    """
    # To whoever watches the functions called, this is one, as dropout is: a word of random bits may serve two rows.
    if has_torch_function_unary(value):
        dropped: Tensor = handle_torch_function(half_dropped, (value,), value, repeats)
        return dropped
    if value.device.type != "cpu" or value.dtype not in BITS:
        return functional.dropout(_repeated(value, repeats), 0.5)
    units = value.numel()
    strides = (units, *torch.empty_like(value).stride())
    factors = half_factors(repeats * units, value.dtype).as_strided((repeats, *value.shape), strides)
    return factors.mul_(value).flatten(0, 1)


def max_pooled(values: Tensor) -> Tensor:
    """What ``max_pool2d(values, 2)`` gives, which on a CPU takes twice as long, as it also notes where maxima lie."""
    if values.device.type != "cpu":
        return functional.max_pool2d(values, 2)
    height, width = (side // 2 * 2 for side in values.shape[-2:])
    rows = torch.maximum(values[..., 0:height:2, :width], values[..., 1:height:2, :width])
    return torch.maximum(rows[..., 0::2], rows[..., 1::2])
