"""Several predictions of each item, in parts that keep memory bounded."""

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from tasks.datasets.texts import Texts
from tasks.errors import ConfigError
from tasks.infer import sampling
from tasks.infer.disagreement import bald
from tasks.infer.dropout import evaluating
from tasks.infer.sampling import Budget, Passes, sample_batches
from tasks.models import ceal_cnn, linear
from tasks.models.building import build, settings_of
from tasks.models.forward import predict
from tasks.models.trial import Trial
from tasks.models.view import View
from tests.model_helpers import quick, view

CLASSES = 4


@pytest.fixture
def items() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (7, 1, 8, 8)).astype(np.uint8)


def dropping(p: float = 0.5) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Dropout(p), nn.Linear(16, CLASSES))


def seeded(seed: int, *args) -> list:
    torch.manual_seed(seed)
    return list(sample_batches(*args))


def rows_per_call(passes: Passes, layer: nn.Module, batch: Tensor) -> list[int]:
    """Rows that ``layer`` is given, call by call, once the passes know how large a row is."""
    seen: list[int] = []
    with torch.inference_mode():
        list(passes.outputs(batch))
        hook = layer.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
        list(passes.outputs(batch))
    hook.remove()
    return seen


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [(1000, [42]), (12, [12, 12, 12, 6]), (6, [6] * 7), (4, [4, 2] * 7), (1, [1] * 42), (0.5, [1] * 42)],
)
def test_no_call_of_what_is_repeated_has_more_rows_than_the_budget_allows(allowed, expected) -> None:
    model, row_bytes = dropping(0.3), 16 * 4
    passes = Passes(model, 6, Budget(2**20, int(allowed * row_bytes)))
    assert rows_per_call(passes, model[3], torch.randn(7, 1, 8, 8)) == expected


@pytest.mark.parametrize(("passes", "allowed", "expected"), [(1, 3, [3, 3, 1]), (6, 4, [4, 3]), (6, 0.1, [1] * 7)])
def test_no_call_of_the_rest_has_more_items_than_the_budget_allows(passes, allowed, expected) -> None:
    model, item_bytes = dropping(), 64 * 4
    looked = Passes(model, passes, Budget(int(allowed * item_bytes), 2**20))
    assert rows_per_call(looked, model[1], torch.randn(7, 1, 8, 8)) == expected


def test_the_largest_value_counts_even_where_it_lies_behind_the_first_dropout() -> None:
    model = nn.Sequential(nn.Dropout(0.3), nn.Linear(4, 1000), nn.Linear(1000, 2))
    passes = Passes(model, 8, Budget(2**20, 3 * 4000))
    assert rows_per_call(passes, model[2], torch.randn(1, 4)) == [3, 3, 2]


class Turned(nn.Module):
    """Its dropout sees the items in the second dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.last = nn.Dropout(0.5), nn.Linear(64, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.drop(x.flatten(1).t()).t())


class Sized(nn.Module):
    """Hands a number of items on to what is repeated."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.last = nn.Dropout(0.5), nn.Linear(64, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        count = x.size(0)
        return self.last(self.drop(x).view(count, 64))


@pytest.mark.parametrize("make", [dropping, Turned, Sized])
@pytest.mark.parametrize("budget", [Budget(1, 256), Budget(600, 2560), Budget(2**20, 2**28)], ids=str)
def test_the_passes_average_to_the_network_without_dropout_where_it_is_linear(make, budget) -> None:
    torch.manual_seed(0)
    model, batch = make().eval(), torch.randn(3, 1, 8, 8)
    total, count = torch.zeros(3, CLASSES), torch.zeros(3, 1)
    with torch.inference_mode():
        for start, outputs in Passes(model, 500, budget).outputs(batch):
            here = slice(start, start + outputs.shape[1])
            total[here] += outputs.sum(dim=0)
            count[here] += len(outputs)
        assert count.tolist() == [[500.0]] * 3
        torch.testing.assert_close(total / count, model(batch), rtol=0, atol=0.25)


def test_one_pass_of_one_model_is_its_prediction_without_dropout(items) -> None:
    model, rows = dropping(), np.array([5, 0, 3])
    ((start, samples),) = sample_batches([model], items, rows, view(), 1, 10)
    expected = np.exp(predict(model, items[rows], view()).astype(np.float64))
    assert (start, samples.count) == (0, 1)
    np.testing.assert_allclose(samples.mean, expected, rtol=1e-6)
    assert samples.std.max() == 0


def test_the_members_of_an_ensemble_are_predictions_of_equal_weight(items) -> None:
    models = [linear.build((1, 8, 8), CLASSES) for _ in range(3)]
    ((_, samples),) = sample_batches(models, items, np.arange(7), view(), 1, 10)
    p = np.exp([predict(model, items, view()).astype(np.float64) for model in models])
    assert samples.count == 3
    np.testing.assert_allclose(samples.mean, p.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(samples.std, p.std(axis=0), rtol=1e-5, atol=1e-9)


def test_members_and_passes_multiply(items) -> None:
    batches = list(sample_batches([dropping(), dropping()], items, np.arange(7), view(), 5, 3))
    assert [start for start, _ in batches] == [0, 3, 6]
    assert [len(samples.mean) for _, samples in batches] == [3, 3, 1]
    assert all(samples.count == 10 and (samples.votes.sum(axis=1) == 10).all() for _, samples in batches)
    assert all((bald(samples) > 0).all() for _, samples in batches)


def test_equal_seeds_give_equal_samples_and_others_do_not(items) -> None:
    args = ([ceal_cnn.build((1, 8, 8), CLASSES)], items, np.arange(7), view(), 6, 4)
    ((_, first), *_), ((_, again), *_), ((_, other), *_) = (seeded(seed, *args) for seed in (1, 1, 2))
    assert np.array_equal(first.mean, again.mean)
    assert np.array_equal(first.std, again.std)
    assert not np.array_equal(first.mean, other.mean)


def test_no_rows_no_batches(items) -> None:
    assert list(sample_batches([dropping()], items, np.arange(0), view(), 5, 3)) == []


@pytest.mark.parametrize("passes", [1, 3])
def test_models_are_left_in_their_modes(items, passes) -> None:
    model = dropping().train()
    model[1].eval()
    modes = [module.training for module in model.modules()]
    for _ in sample_batches([model], items, np.arange(7), view(), passes, 3):
        assert [module.training for module in model.modules()] == modes


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_passes_of_a_convolutional_network_agree_with_repeats_of_the_whole(items, precision) -> None:
    model, shown = ceal_cnn.build((1, 8, 8), CLASSES), view(precision=precision)
    shown.placed(model)
    ((_, samples),) = seeded(0, [model], items, np.arange(7), shown, 800, 10)
    for module in model.modules():
        module.training = type(module).__name__ == "HalfDropout"
    batch = shown.laid_out(shown.normalised(torch.from_numpy(items)))
    with torch.inference_mode(), shown.autocast():
        p = torch.stack([torch.softmax(model(batch).float(), dim=1) for _ in range(800)]).numpy()
    np.testing.assert_allclose(samples.mean, p.mean(axis=0), atol=0.02)
    np.testing.assert_allclose(samples.std, p.std(axis=0), atol=0.02)


def test_several_passes_without_dropout_are_refused_with_a_way_out(items) -> None:
    with pytest.raises(ConfigError, match=r"infer\.passes: the model \w+ has no dropout.*train\.members") as refusal:
        list(sample_batches([linear.build((1, 8, 8), CLASSES)], items, np.arange(7), view(), 2, 10))
    assert "\n" not in str(refusal.value)


class Weights(nn.Module):
    """Drops its weights, and its units with a rate of their own."""

    def __init__(self, units: float = 0.0) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 6), nn.Linear(6, CLASSES)
        self.drop, self.units = nn.Dropout(0.5), nn.Dropout(units)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(self.units(self.first(x)), self.drop(self.last.weight), self.last.bias)


class Mixed(Weights):
    """Drops weights, and nearly no units."""

    def __init__(self) -> None:
        super().__init__(1e-3)


class FlowingWeights(Weights):
    """Its control flow depends on values, which symbolic tracing cannot follow."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if x.isfinite().all() else -x)


class Positions(nn.Module):
    """Drops a parameter, of which it takes as much as the input is wide."""

    def __init__(self) -> None:
        super().__init__()
        self.shift, self.drop, self.last = nn.Parameter(torch.ones(9)), nn.Dropout(0.5), nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x + self.drop(self.shift[: x.size(1)]))


class Locked(nn.Dropout):
    """One mask for all rows of a call."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.empty_like(x[:1]).bernoulli_(0.5) * 2 if self.training else x


class Hidden(Locked):
    """Draws where no mode sees it, as compiled code does."""

    def forward(self, x: Tensor) -> Tensor:
        with torch._C.DisableTorchFunction():
            return super().forward(x)


class Noisy(nn.Module):
    """Adds noise before its dropout, which drops nearly nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.drop, self.last = nn.Linear(8, 6), nn.Dropout(1e-3), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.drop(self.noisy(self.first(x))))

    def noisy(self, h: Tensor) -> Tensor:
        return h + torch.randn_like(h)


class Dropping(Noisy):
    """Calls dropout as a function before its dropout module."""

    def noisy(self, h: Tensor) -> Tensor:
        return torch.dropout(h, 0.5, True)


class Private(nn.Module):
    """Adds noise of a generator of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn(x.shape, generator=self.generator)


def locked() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 6), Locked(), nn.Linear(6, CLASSES))


def hidden() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 6), Hidden(), nn.Linear(6, CLASSES))


def unseen() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 6), Private(), nn.Dropout(1e-9), nn.Linear(6, CLASSES))


def transformer() -> nn.Module:
    layer = nn.TransformerEncoderLayer(4, 2, 6, dropout=0.5, batch_first=True)
    return nn.Sequential(nn.Unflatten(1, (2, 4)), layer, nn.Flatten(), nn.Linear(8, CLASSES))


def attention() -> nn.Module:
    """Random in its attention alone."""
    model = transformer()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


class Recurrent(nn.Module):
    """Drops between its recurrent layers."""

    def __init__(self) -> None:
        super().__init__()
        self.units = nn.GRU(4, CLASSES, num_layers=2, dropout=0.5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.units(x.view(-1, 2, 4))[0][:, -1]


SHARING = [Weights, Mixed, FlowingWeights, Positions, locked, hidden]
RANDOM = [*SHARING, Noisy, Dropping, unseen, transformer, attention, Recurrent]
TOY = Budget(2**20, 2**20)


def drawn(model: nn.Module, passes: int, batch: Tensor, budget: Budget = TOY) -> Tensor:
    """All outputs, (passes, n, classes), of a batch whose items are not taken apart."""
    with torch.inference_mode():
        return torch.cat([outputs for _, outputs in Passes(model, passes, budget).outputs(batch)])


def looped(model: nn.Module, passes: int, batch: Tensor) -> Tensor:
    with torch.inference_mode(), evaluating(model, drawing=True):
        return torch.stack([model(batch) for _ in range(passes)])


@pytest.mark.parametrize("make", RANDOM)
@torch.no_grad()
def test_passes_vary_as_repeats_of_the_whole_network_do_wherever_the_randomness_lies(make) -> None:
    torch.manual_seed(5)
    model, batch = make(), torch.randn(3, 8)
    ours, theirs = drawn(model, 500, batch), looped(model, 500, batch)
    assert (theirs.std(dim=0) > 0.05).any()
    torch.testing.assert_close(ours.std(dim=0), theirs.std(dim=0), rtol=0.16, atol=0.01)
    assert ((ours.mean(dim=0) - theirs.mean(dim=0)).abs() < theirs.std(dim=0).max() / 5).all()


@pytest.mark.parametrize("make", RANDOM)
def test_the_passes_of_an_item_are_independent(make) -> None:
    torch.manual_seed(6)
    model, batch = make(), torch.randn(1, 8)
    spread = looped(model, 400, batch).var(dim=0).clamp_min(1e-9)
    means = torch.stack([drawn(model, 16, batch).mean(dim=0) for _ in range(40)])
    # 40 means of 16 independent passes vary by a 16th, give or take; of 16 equal passes, 16 times as much.
    assert (16 * means.var(dim=0) / spread).mean() < 2.5


@pytest.mark.parametrize("make", SHARING)
def test_what_is_dropped_for_all_rows_at_once_is_drawn_for_each_pass(make) -> None:
    torch.manual_seed(6)
    outputs = drawn(make(), 64, torch.randn(1, 8))
    pairs = (outputs.unsqueeze(0) == outputs.unsqueeze(1)).all(dim=-1).double().mean()
    assert pairs < 0.1


@pytest.mark.parametrize(("make", "expected"), [(dropping, [42]), (Sized, [7] * 6)])
def test_passes_share_a_call_only_where_that_is_known_to_be_right(make, expected) -> None:
    model = make()
    assert rows_per_call(Passes(model, 6, TOY), list(model.modules())[-1], torch.randn(7, 1, 8, 8)) == expected


def test_weights_dropped_behind_a_layer_leave_that_to_run_once() -> None:
    model = Weights(0.5)
    assert rows_per_call(Passes(model, 6, TOY), model.first, torch.randn(7, 8)) == [7]


def test_a_collapsed_network_is_no_error() -> None:
    model = nn.Sequential(nn.Linear(8, 6), nn.Dropout(0.5), nn.Linear(6, CLASSES))
    nn.init.zeros_(model[2].weight)
    outputs = drawn(model, 6, torch.randn(7, 8))
    assert outputs.shape == (6, 7, CLASSES)
    assert torch.equal(outputs, model[2].bias.detach().expand_as(outputs))


@pytest.mark.parametrize("before", [True, False])
def test_the_fast_path_of_transformers_is_left_as_it_was(before) -> None:
    model, seen = transformer(), []
    model[-1].register_forward_pre_hook(lambda *_: seen.append(torch.backends.mha.get_fastpath_enabled()))
    fast = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(before)
        drawn(model, 3, torch.randn(2, 8))
        assert torch.backends.mha.get_fastpath_enabled() == before
        assert not any(seen)
        drawn(model, 1, torch.randn(2, 8))
        assert seen[-1] == before
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def test_the_look_at_the_model_leaves_the_random_numbers_as_they_were() -> None:
    model, batch = dropping(), torch.randn(3, 1, 8, 8)
    passes = Passes(model, 6, TOY)
    torch.manual_seed(0)
    with torch.inference_mode():
        (_, first), *_ = passes.outputs(batch)
        torch.manual_seed(0)
        (_, again), *_ = passes.outputs(batch)
    assert torch.equal(first, again)


class Live(TorchDispatchMode):
    """Bytes of the largest tensor made in the block, and of all those alive at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = self.peak = self._live = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else (result,):
            if isinstance(value, Tensor):
                self._count(value.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        place, size = storage._cdata, storage.nbytes()
        if place not in self._known:
            self._known.add(place)
            self._live += size
            weakref.finalize(storage, self._freed, place, size)
            self.largest, self.peak = max(self.largest, size), max(self.peak, self._live)

    def _freed(self, place: int, size: int) -> None:
        self._known.discard(place)
        self._live -= size


def test_memory_does_not_grow_with_the_number_of_passes(monkeypatch) -> None:
    monkeypatch.setitem(sampling._BUDGETS, "cpu", Budget(2**14, 2**13))
    images = np.random.default_rng(0).integers(0, 256, (16, 1, 8, 8)).astype(np.uint8)
    model, seen = dropping(), []
    for passes in (8, 512):
        with Live() as live:
            list(sample_batches([model], images, np.arange(16), view(), passes, 16))
        seen.append(live)
    few, many = seen
    assert many.largest == pytest.approx(few.largest, rel=0.05)
    assert many.largest < 1.1 * 2**13
    assert many.peak == pytest.approx(few.peak, rel=0.05)


def test_members_that_take_bags_are_sampled_as_they_predict() -> None:
    torch.manual_seed(0)
    settings = quick(model="fasttext", fasttext={"buckets": 50})
    items, shape = Trial("texts", (), Texts.of(["a b", "c", "", "b c d"])).fed(settings, 9)
    models = [build("fasttext", shape, CLASSES, settings=settings_of(settings)) for _ in range(3)]
    for model in models:
        nn.init.normal_(model.embedding.weight)
    plain = View(torch.device("cpu"), (), ())
    expected = np.mean([np.exp(predict(model.eval(), items, plain).astype(np.float64)) for model in models], axis=0)
    found = [samples.mean for _, samples in sample_batches(models, items, np.arange(9), plain, 1, 4)]
    np.testing.assert_allclose(np.concatenate(found), expected, rtol=1e-6)
    with pytest.raises(ConfigError, match="has no dropout"):
        list(sample_batches(models, items, np.arange(9), plain, 2, 4))
