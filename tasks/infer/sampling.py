"""Several predictions of each item: passes with dropout left on, the members of an ensemble, or both."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tasks.errors import ConfigError
from tasks.infer.dropout import Cut, cut, evaluating, has_dropout, uncut, unrepeated
from tasks.infer.samples import Accumulator, Samples
from tasks.infer.spread import Numbers, NumbersTaken
from tasks.models.inputs import Inputs, tensor
from tasks.models.view import View
from tasks.task_type import Regression


@dataclass(frozen=True)
class Budget:
    """Bytes of the largest value that one call makes."""

    prefix: int
    suffix: int


_FLOAT32 = torch.finfo(torch.float32).eps

#: About what a CPU keeps in its caches, and what fills a GPU.
_BUDGETS = {"cpu": Budget(8 * 2**20, 2 * 2**20), "cuda": Budget(256 * 2**20, 256 * 2**20)}


def sample_batches(
    models: Sequence[nn.Module],
    items: Inputs,
    rows: npt.NDArray[np.int64],
    view: View,
    passes: int,
    batch_size: int,
) -> Iterator[tuple[int, Samples | Numbers]]:
    """Statistics of ``len(models) * passes`` predictions per item, batch by batch, in the order of ``rows``.

    Memory grows with the batch size, not with the number of predictions.

    Args:
        models: at least one, on the view's device; left in the modes that they are in.
        items: as the model takes them, N of them, in memory or memory-mapped; only one batch is copied at a time.
        rows: positions in ``items``; may be empty.
        view: its precision is the network's; what follows on it is computed in float32 at least in any case.
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
        batch = tensor(items[rows[start : start + batch_size]]).to(view.device, non_blocking=True)
        with torch.inference_mode(), autocast:
            samples = _samples(predictors, view, view.laid_out(view.normalised(batch)))
        yield start, samples


def _samples(predictors: Sequence["Passes"], view: View, batch: Tensor) -> Samples | Numbers:
    accumulator: Accumulator | NumbersTaken | None = None
    for predictor in predictors:
        for first, outputs in predictor.outputs(batch):
            accumulator = accumulator or _accumulator(view, len(batch), outputs)
            accumulator.add(view.task.predictions(outputs), first)
    assert accumulator is not None
    return accumulator.samples()


def _accumulator(view: View, items: int, outputs: Tensor) -> Accumulator | NumbersTaken:
    if isinstance(view.task, Regression):
        return NumbersTaken(items, outputs.device)
    return Accumulator(items, outputs.shape[2], outputs.device)


class Passes:
    """Passes through one model, with dropout left on if there are several and all else in evaluation mode.

    A look at the model on the first batch says how it is run:

    - What no dropout reaches is run once for all passes, unless it draws random numbers itself.
    - One call takes several passes if everything that draws random numbers in it draws more for more rows. Otherwise,
      as where a weight is dropped, and where the model cannot be traced, each pass is a call of its own.
    - If all passes over the first batch are equal but for rounding, each pass is a call of the whole model. That is no
      error, as a network may have collapsed, but some randomness may have been taken for fixed.

    Random numbers are seen where they come from PyTorch's default generators. Unseen are those of other generators
    (unless all passes are equal for them), and a mask that is shared by the rows of what is dropped although the result
    has an item axis, such as that of ``nn.Dropout1d`` on (features, items).
    """

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
                "set infer.passes=1, choose a model with dropout (ceal_cnn, vgg11_bn, mlp), or use an ensemble "
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
        if batch.layout != torch.strided:
            # Bags of features cannot be cut into parts, and their models have no dropout.
            with evaluating(self._model):
                yield 0, self._model(batch).unsqueeze(0)
            return
        plan = self._plan = self._plan or self._planned(batch)
        yield from self._drawn(plan, batch)

    def _drawn(self, plan: "_Plan", batch: Tensor) -> Iterator[tuple[int, Tensor]]:
        for start in range(0, len(batch), plan.items):
            with evaluating(self._model, drawing=self._passes > 1):
                values = plan.network.prefix(batch[start : start + plan.items])
            for first, outputs in self._repeated(plan, values):
                yield start + first, outputs

    def _repeated(self, plan: "_Plan", values: Sequence[Tensor]) -> Iterator[tuple[int, Tensor]]:
        at_once = min(self._passes, plan.repeats)
        # All passes of a few items, so that these stay in the cache; some passes of one item where there are many.
        items = plan.rows // at_once
        for first in range(0, len(values[0]), items):
            part = [value[first : first + items] for value in values]
            for done in range(0, self._passes, at_once):
                repeats = min(at_once, self._passes - done)
                with evaluating(self._model, drawing=self._passes > 1):
                    outputs = plan.network.suffix(repeats, *part)
                yield first, outputs.reshape(repeats, -1, *outputs.shape[1:])

    def _planned(self, batch: Tensor) -> "_Plan":
        item = batch[:1]
        # What is drawn for a look at the model shall not change what is drawn for the predictions.
        with torch.random.fork_rng([item.device] if item.is_cuda else []):
            if self._passes == 1:
                return self._measured(unrepeated(self._model), item)
            plan = self._measured(cut(self._model), item)
            # One item nearly always tells, so that only a suspicion costs a batch.
            if all(self._all_equal(plan, looked_at) for looked_at in (item, batch)):
                plan = self._measured(uncut(self._model), item)
            return plan

    def _measured(self, network: Cut, item: Tensor) -> "_Plan":
        budget = self._budget or _BUDGETS[item.device.type]
        with evaluating(self._model, drawing=self._passes > 1):
            prefix = _tried(lambda count: network.prefix(torch.cat([item] * count)), item.device)
            by_items = all(_by_items(*values) for values in zip(prefix.one, prefix.two, strict=True))
            if not network.whole and (prefix.draws or not by_items):
                return self._measured(uncut(self._model), item)
            suffix = _tried(lambda count: network.suffix(count, *prefix.one), item.device)
        items, rows = max(1, budget.prefix // prefix.row_bytes), max(1, budget.suffix // suffix.row_bytes)
        return _Plan(network, items, rows, rows if suffix.draws_by_rows and not network.whole else 1)

    def _all_equal(self, plan: "_Plan", batch: Tensor) -> bool:
        """Whether each item's passes are equal but for rounding; the first difference ends the search."""
        current, one = -1, torch.empty(0)
        for first, outputs in self._drawn(plan, batch):
            if first != current:
                current, one = first, outputs[:1]
            # Equal rows of a product of matrices may differ in their last bits, by their places in it.
            # What is float64 has come from float32.
            rounding = 8 * max(torch.finfo(outputs.dtype).eps, _FLOAT32) * one.abs().max()
            if not bool(((outputs - one).abs() <= rounding).all()):
                return False
        return True


@dataclass(frozen=True)
class _Plan:
    network: Cut
    #: Items in one call of the prefix.
    items: int
    #: Rows in one call of the suffix.
    rows: int
    #: Passes in one call of the suffix.
    repeats: int


@dataclass(frozen=True)
class _Trial:
    """What came of trying one part of a network with 1 and 2 rows."""

    #: What it gives for 1 row and for 2.
    one: Any
    two: Any
    #: What a row adds to the largest value made on the way.
    row_bytes: int
    #: Whether random numbers were drawn.
    draws: bool
    #: Whether they were, and everything that drew gave more for 2 rows.
    draws_by_rows: bool


def _tried(work: Callable[[int], Any], device: torch.device) -> _Trial:
    (one, first), (two, second) = (_watched(work, count, device) for count in (1, 2))
    # The difference leaves out what does not grow, such as a parameter that was scaled.
    added = (after - before for before, after in zip(first.bytes, second.bytes, strict=False))
    drawn = list(zip_longest(first.drawn, second.drawn, fillvalue=0))
    return _Trial(
        one,
        two,
        row_bytes=max([1, *added]),
        draws=bool(drawn),
        draws_by_rows=bool(drawn) and all(0 < before < after for before, after in drawn),
    )


def _watched(work: Callable[[int], Any], count: int, device: torch.device) -> tuple[Any, "_Watch"]:
    with _Watch(device) as watch:
        result = work(count)
    watch.note(0)
    return result, watch


def _by_items(one: Any, two: Any) -> bool:
    """Whether a value that the prefix gives for one item and for two has as many rows as there are items."""
    if not (isinstance(one, Tensor) and isinstance(two, Tensor)):
        return False
    return one.shape[:1] == (1,) and two.shape == (2, *one.shape[1:])


class _Watch(TorchFunctionMode):
    """The sizes of the tensors that the functions called in the block return, and which of them draw at random."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.bytes: list[int] = []
        #: Those of functions that drew from the default generators; 0 for what drew out of sight, as scripted code.
        self.drawn: list[int] = []
        self._device = device
        self._state = self._generators()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.note(0)
        result = func(*args, **(kwargs or {}))
        made = result if isinstance(result, tuple) else (result,)
        self.bytes.append(sum(value.nbytes for value in made if isinstance(value, Tensor)))
        self.note(self.bytes[-1])
        return result

    def note(self, size: int) -> None:
        """Keep ``size`` if random numbers were drawn since the last call."""
        before, self._state = self._state, self._generators()
        if self._state != before:
            self.drawn.append(size)

    def _generators(self) -> list[bytes]:
        states = [torch.get_rng_state()]
        if self._device.type == "cuda":
            states.append(torch.cuda.get_rng_state(self._device))
        return [state.numpy().tobytes() for state in states]
