"""Several predictions of each item: passes with dropout left on, the members of an ensemble, or both."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tasks.errors import ConfigError
from tasks.infer.dropout import Cut, cut, evaluating, has_dropout, uncut, unrepeated
from tasks.infer.samples import Accumulator, Samples
from tasks.models.view import View


@dataclass(frozen=True)
class Budget:
    """Bytes of the largest value that one call makes."""

    prefix: int
    suffix: int


#: About what a CPU keeps in its caches, and what fills a GPU.
_BUDGETS = {"cpu": Budget(8 * 2**20, 2 * 2**20), "cuda": Budget(256 * 2**20, 256 * 2**20)}


def sample_batches(
    models: Sequence[nn.Module],
    items: npt.NDArray[np.uint8],
    rows: npt.NDArray[np.int64],
    view: View,
    passes: int,
    batch_size: int,
) -> Iterator[tuple[int, Samples]]:
    """Statistics of ``len(models) * passes`` predictions per item, batch by batch, in the order of ``rows``.

    Memory grows with the batch size, not with the number of predictions.

    Args:
        models: at least one, on the view's device; left in the modes that they are in.
        items: uint8, (N, channels, height, width), in memory or memory-mapped; only one batch is copied at a time.
        rows: positions in ``items``; may be empty.
        view: its precision is the network's; the softmax is computed in float32 from the logits in any case.
        passes: 1 is one pass without dropout for each model; from 2 on dropout is left on.
        batch_size: items per batch.

    Yields:
        The position in ``rows`` of the batch's first item, and the statistics of the batch's items.

    Raises:
        ConfigError: fp16 on a CPU, or several passes through a model without dropout.
    """
    autocast = view.autocast()
    predictors = [Passes(model, passes) for model in models]
    for start in range(0, len(rows), batch_size):
        # Indexing copies, so that torch never sees read-only memory.
        batch = torch.from_numpy(items[rows[start : start + batch_size]]).to(view.device, non_blocking=True)
        with torch.inference_mode(), autocast:
            samples = _samples(predictors, view.laid_out(view.normalised(batch)))
        yield start, samples


def _samples(predictors: Sequence["Passes"], batch: Tensor) -> Samples:
    accumulator: Accumulator | None = None
    for predictor in predictors:
        for first, logits in predictor.outputs(batch):
            if accumulator is None:
                accumulator = Accumulator(len(batch), logits.shape[2], batch.device)
            accumulator.add(torch.log_softmax(logits.float(), dim=2), first)
    assert accumulator is not None
    return accumulator.samples()


class Passes:
    """Passes through one model, with dropout left on if there are several and all else in evaluation mode."""

    def __init__(self, model: nn.Module, passes: int, budget: Budget | None = None) -> None:
        """Check that the passes can differ.

        Args:
            model: takes one batch, items first, and returns one tensor, items first.
            passes: K; 1 is one pass without dropout.
            budget: of one call; default by kind of device.

        Raises:
            ConfigError: several passes, and the model has no dropout.
        """
        if passes > 1 and not has_dropout(model):
            raise ConfigError(
                f"infer.passes: the model {type(model).__name__} has no dropout, so its passes would all be equal; "
                "set infer.passes=1, choose a model with dropout (ceal_cnn, vgg11_bn), or use an ensemble "
                "(train.members)"
            )
        self._model, self._passes, self._budget = model, passes, budget
        #: Known from the first batch on.
        self._plan: _Plan | None = None

    def outputs(self, batch: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Outputs of all passes over ``batch``, (n, *item) with n at least 1, part by part.

        Yields:
            The position in the batch of the part's first item, and the outputs (k, items of the part, *output). Every
            item gets K passes in all.
        """
        plan = self._plan = self._plan or self._planned(batch[:1])
        for start in range(0, len(batch), plan.items):
            with evaluating(self._model, drawing=self._passes > 1):
                values = plan.network.prefix(batch[start : start + plan.items])
            for first, outputs in self._repeated(plan, values):
                yield start + first, outputs

    def _repeated(self, plan: "_Plan", values: Sequence[Tensor]) -> Iterator[tuple[int, Tensor]]:
        at_once = min(self._passes, plan.rows)
        # All passes of a few items, so that these stay in the cache; some passes of one item where there are many.
        items = plan.rows // at_once
        for first in range(0, len(values[0]), items):
            part = [value[first : first + items] for value in values]
            for done in range(0, self._passes, at_once):
                repeats = min(at_once, self._passes - done)
                with evaluating(self._model, drawing=self._passes > 1):
                    outputs = plan.network.suffix(repeats, *part)
                yield first, outputs.reshape(repeats, -1, *outputs.shape[1:])

    def _planned(self, item: Tensor) -> "_Plan":
        budget = self._budget or _BUDGETS[item.device.type]
        # What is drawn for a look at the model shall not change what is drawn for the predictions.
        devices = [item.device] if item.is_cuda else []
        with torch.random.fork_rng(devices), evaluating(self._model, drawing=self._passes > 1):
            network = cut(self._model) if self._passes > 1 else unrepeated(self._model)
            (one, two), item_bytes = _tried(lambda count: network.prefix(torch.cat([item] * count)))
            if not all(_by_items(*pair) for pair in zip(one, two, strict=True)):
                network, one, item_bytes = uncut(self._model), (item,), 1
            _, row_bytes = _tried(lambda count: network.suffix(count, *one))
            return _Plan(network, max(1, budget.prefix // item_bytes), max(1, budget.suffix // row_bytes))


@dataclass(frozen=True)
class _Plan:
    network: Cut
    #: Items in one call of the prefix.
    items: int
    #: Rows in one call of the suffix.
    rows: int


def _by_items(one: Any, two: Any) -> bool:
    """Whether a value that the prefix gives for one item and for two has as many rows as there are items."""
    if not (isinstance(one, Tensor) and isinstance(two, Tensor)):
        return False
    return one.shape[:1] == (1,) and two.shape == (2, *one.shape[1:])


def _tried(work: Callable[[int], Any]) -> tuple[list[Any], int]:
    """What ``work`` gives for 1 and 2 rows, and the bytes that a row adds to the largest value made on the way."""
    results, sizes = [], []
    for count in (1, 2):
        with _Sizes() as made:
            results.append(work(count))
        sizes.append(made.bytes)
    # The difference leaves out what does not grow, such as a parameter that was scaled.
    added = (second - first for first, second in zip(*sizes, strict=False))
    return results, max([1, *added])


class _Sizes(TorchFunctionMode):
    """The sizes of the tensors that the functions called in the block return."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes: list[int] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        made = result if isinstance(result, tuple) else (result,)
        self.bytes.append(sum(value.nbytes for value in made if isinstance(value, Tensor)))
        return result
