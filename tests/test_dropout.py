"""Passes that repeat only what is random, against repeats of the whole network with the same masks."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from tasks.infer import dropout
from tasks.infer.dropout import Cut, cut, evaluating, half_dropped, has_dropout, max_pooled
from tasks.models import ceal_cnn, linear, resnet18
from tasks.models.half_dropout import HalfDropout

PASSES = 6


class Recorded(nn.Dropout):
    """Dropout that keeps its masks, or takes them from a list."""

    def __init__(self) -> None:
        super().__init__(0.5)
        self.drawn: list[Tensor] = []
        self.given: Iterator[Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        mask = next(self.given) if self.given else torch.empty_like(x).bernoulli_(0.5) * 2
        self.drawn.append(mask)
        return x * mask


class Residual(nn.Module):
    """A block whose skip joins after its dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(8, 8), nn.ReLU(inplace=True))
        self.drop = Recorded()
        self.second = nn.Linear(8, 8)
        self.shift = nn.Parameter(torch.ones(8))

    def forward(self, x: Tensor) -> Tensor:
        skip = x * 2
        out = self.second(self.drop(self.first(x)))
        out += skip
        return torch.relu_(out) + self.shift * 3


class Flowing(nn.Module):
    """Its control flow depends on values, which symbolic tracing cannot follow."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.last = Recorded(), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.drop(x) if x.shape[0] >= 0 and x.isfinite().all() else x)


class Opaque(nn.Module):
    """Not traceable inside, and free of dropout."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.isfinite().all() else -x


class Overwriting(nn.Module):
    """Changes in place, after dropout has read it, what dropout read."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = Recorded()

    def forward(self, x: Tensor) -> Tensor:
        x = x * 1
        dropped = self.drop(x)
        x.relu_()
        return dropped + x


def sequential() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(inplace=True), Recorded(), nn.Linear(8, 3))


def nested() -> nn.Module:
    trunk = nn.Sequential(nn.Linear(8, 8), nn.Sequential(Recorded(), nn.ReLU(inplace=True)))
    return nn.Sequential(Opaque(), trunk, nn.BatchNorm1d(8), Recorded(), nn.Linear(8, 3))


def dropout_first() -> nn.Module:
    return nn.Sequential(Recorded(), nn.Linear(8, 3))


def dropout_last() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 3), Recorded())


MODELS = [sequential, nested, dropout_first, dropout_last, Residual, Flowing, Overwriting]


def built(make) -> nn.Module:
    """The model in training mode, its running statistics not those of a fresh one."""
    torch.manual_seed(3)
    model = make()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return model


def drops(model: nn.Module) -> list[Recorded]:
    return [module for module in model.modules() if isinstance(module, Recorded)]


def replayed(model: nn.Module, batch: Tensor, masks: list[Tensor]) -> Tensor:
    """One pass of the whole network over ``batch`` with one mask for each of its dropouts."""
    for drop, mask in zip(drops(model), masks, strict=True):
        drop.given = iter([mask])
    with evaluating(model, drawing=True):
        return model(batch)


def cut_outputs(model: nn.Module, batch: Tensor, network: Cut | None = None) -> Tensor:
    """Outputs (PASSES, n, *output) of a network that was cut."""
    network = network or cut(model)
    for drop in drops(model):
        drop.drawn.clear()
    with evaluating(model, drawing=True):
        outputs = network.suffix(PASSES, *network.prefix(batch))
    return outputs.view(PASSES, len(batch), *outputs.shape[1:])


@pytest.mark.parametrize("make", MODELS)
@torch.inference_mode()
def test_the_same_masks_give_the_values_of_whole_network_repeats(make) -> None:
    model, batch = built(make), torch.randn(5, 8)
    kept = batch.clone()
    outputs = cut_outputs(model, batch)
    masks = [drop.drawn[0].view(PASSES, 5, *drop.drawn[0].shape[1:]) for drop in drops(model)]
    for number in range(PASSES):
        expected = replayed(model, batch, [mask[number] for mask in masks])
        torch.testing.assert_close(outputs[number], expected, rtol=0, atol=1e-6)
    assert torch.equal(batch, kept)


def images() -> nn.Module:
    """Half dropout and max-pooling of every kind that the cut replaces, on odd sides."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 2),
        nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(4, 4, 2)),
        nn.Dropout(0.5),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 6, 1),
        nn.MaxPool2d(2),
        HalfDropout(),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24, 3),
    )


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@torch.inference_mode()
def test_the_same_factors_give_the_values_of_whole_network_repeats_in_both_layouts(layout, monkeypatch) -> None:
    drawn = []

    def recorded(count: int, dtype: torch.dtype) -> Tensor:
        drawn.append(half_factors(count, dtype))
        return drawn[-1].clone()

    half_factors = dropout.half_factors
    monkeypatch.setattr(dropout, "half_factors", recorded)
    model = built(images).to(memory_format=layout).eval()
    batch = torch.randn(5, 2, 12, 13).contiguous(memory_format=layout)
    outputs = cut_outputs(model, batch)
    assert len(drawn) == 2
    factors = [_laid_out(values, (PASSES * 5, *shape), layout) for values, shape in zip(drawn, SHAPES, strict=True)]
    for number in range(PASSES):
        model[2], model[6] = (Recorded() for _ in range(2))
        expected = replayed(model, batch, [factor[5 * number :][:5] for factor in factors])
        torch.testing.assert_close(outputs[number], expected, rtol=0, atol=1e-6)


#: Of one item at the two dropouts of ``images``.
SHAPES = [(4, 4, 5), (6, 2, 2)]


def _laid_out(values: Tensor, shape: tuple[int, ...], layout: torch.memory_format) -> Tensor:
    return values.as_strided(shape, torch.empty(shape).contiguous(memory_format=layout).stride())


def rows_of(model: nn.Module, batch: Tensor) -> dict[str, list[int]]:
    """How many rows each of the model's layers was given, call by call."""
    seen: dict[str, list[int]] = {}
    network = cut(model)
    for name, layer in model.named_modules():
        if not list(layer.children()):
            layer.register_forward_pre_hook(lambda _, args, name=name: seen.setdefault(name, []).append(len(args[0])))
    cut_outputs(model, batch, network)
    return seen


@torch.inference_mode()
def test_what_no_dropout_reaches_runs_once() -> None:
    model = built(nested)
    rows = rows_of(model, torch.randn(4, 8))
    once, repeated = [4], [4 * PASSES]
    assert rows == {"0": once, "1.0": once, "1.1.0": repeated, "1.1.1": repeated} | dict.fromkeys("234", repeated)


@torch.inference_mode()
def test_a_relu_after_the_first_dropout_runs_once() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.2), nn.ReLU(), nn.Linear(8, 3))
    batch = torch.randn(4, 8)
    (value,) = cut(model).prefix(batch)
    torch.testing.assert_close(value, torch.relu(model[0](batch)))
    assert rows_of(model, batch) == {"0": [4], "1": [4 * PASSES], "3": [4 * PASSES]}


@pytest.mark.parametrize("make", [Flowing, Overwriting])
@torch.inference_mode()
def test_a_network_that_cannot_be_taken_apart_is_repeated_as_a_whole(make) -> None:
    batch = torch.ones(2, 8)
    (value,) = cut(built(make)).prefix(batch)
    assert value is batch


@pytest.mark.parametrize("make", MODELS)
@torch.inference_mode()
def test_the_model_is_left_as_it_was(make) -> None:
    model = built(make).train()
    drops(model)[0].eval()
    modes = [module.training for module in model.modules()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    cut_outputs(model, torch.randn(3, 8))
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_a_failure_leaves_the_modes_as_they_were() -> None:
    model = built(sequential)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        cut_outputs(model, torch.randn(3, 9))
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_units_are_dropped_or_doubled_with_equal_probability_and_independently(dtype, layout) -> None:
    torch.manual_seed(0)
    value = torch.full((3, 4, 40, 5), 3.0, dtype=dtype).contiguous(memory_format=layout)
    dropped = half_dropped(value, 50)
    assert dropped.shape == (150, 4, 40, 5)
    assert dropped.dtype == dtype
    assert dropped.is_contiguous(memory_format=layout)
    assert set(dropped.unique().tolist()) == {0.0, 6.0}
    kept = (dropped > 0).double().flatten(1)
    assert abs(kept.mean() - 0.5) < 0.005
    between_rows = torch.corrcoef(kept).fill_diagonal_(0)
    between_units = torch.corrcoef(kept.T[:200]).fill_diagonal_(0)
    assert between_rows.abs().max() < 0.2
    assert between_units.abs().max() < 0.5


def test_random_bits_serve_one_unit_each() -> None:
    torch.manual_seed(0)
    for dtype, lanes in ((torch.bfloat16, 15), (torch.float32, 31)):
        kept = dropout.half_factors(lanes * 20_000, dtype).double().view(lanes, -1) - 1
        assert (torch.corrcoef(kept).fill_diagonal_(0).abs().max() < 0.035).item()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(2, 3, 4, 6), (2, 3, 5, 7), (1, 1, 2, 3)])
def test_pooling_pairs_is_max_pooling(shape, layout) -> None:
    images = torch.randn(shape).contiguous(memory_format=layout)
    images[0, 0, 0, 0] = torch.nan
    pooled = max_pooled(images)
    torch.testing.assert_close(pooled, nn.functional.max_pool2d(images, 2), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("settings", [{"stride": 1}, {"padding": 1}, {"ceil_mode": True}, {"dilation": 2}])
@torch.inference_mode()
def test_other_pooling_is_left_as_it_is(settings) -> None:
    model = nn.Sequential(nn.MaxPool2d(2, **settings), nn.Dropout(0.2)).eval()
    batch = torch.randn(2, 3, 7, 7)
    torch.testing.assert_close(cut(model).prefix(batch)[0], model[0](batch))


@pytest.mark.parametrize("drop", [nn.Dropout2d(0.5), nn.AlphaDropout(0.3), nn.FeatureAlphaDropout(0.3)])
@torch.inference_mode()
def test_every_kind_of_dropout_draws_anew_for_each_row(drop) -> None:
    model = nn.Sequential(nn.Conv2d(1, 16, 3), drop, nn.ReLU(), nn.Flatten())
    equal_items = torch.randn(1, 1, 4, 4).expand(2, 1, 4, 4)
    outputs = cut_outputs(model, equal_items)
    assert len(outputs.flatten(0, 1).unique(dim=0)) == 2 * PASSES


class InPlace(nn.Module):
    """Reads the input of its dropout after that has overwritten it."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.drop, self.relu = nn.Dropout(p, inplace=True), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = x * 1
        dropped = self.relu(self.drop(x))
        return dropped - x.relu()


@pytest.mark.parametrize("p", [0.3, 0.5])
@torch.inference_mode()
def test_what_dropout_does_in_place_is_seen_by_all(p) -> None:
    model = InPlace(p)
    assert not cut_outputs(model, torch.randn(2, 8)).any()


class Functional(nn.Module):
    """Dropout as a function, beside a module that hardly ever drops."""

    def __init__(self, **settings: bool) -> None:
        super().__init__()
        self.drop, self.settings = nn.Dropout(1e-9), settings

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(nn.functional.dropout(x, 0.5, **self.settings))


@pytest.mark.parametrize(("settings", "differ"), [({}, True), ({"training": True}, True), ({"training": False}, False)])
@torch.inference_mode()
def test_dropout_called_as_a_function_is_random_where_it_is_switched_on(settings, differ) -> None:
    model = Functional(**settings)
    outputs = cut_outputs(model, torch.ones(2, 64))
    assert (not torch.equal(outputs[0], outputs[1])) == differ


@pytest.mark.parametrize("model", [linear.build((1, 4, 4), 3), resnet18.build((1, 8, 8), 3), nn.Dropout(0.0)])
def test_dropout_that_is_not_there_or_drops_nothing_does_not_count(model) -> None:
    assert not has_dropout(model)


def test_dropout_is_found_before_the_weights_exist() -> None:
    with torch.device("meta"):
        assert has_dropout(ceal_cnn.build((1, 28, 28), 10))
        assert has_dropout(nn.Sequential(nn.Sequential(nn.Dropout3d(0.1))))
