"""Norms of the entropy's gradient, against one backward pass per item."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tasks import registry
from tasks.errors import ConfigError
from tasks.infer import gradnorm
from tasks.models.gradients import convolution, engine
from tasks.models.gradients.convolution import Geometry
from tasks.models.gradients.products import product_norms
from tasks.models.loss_prediction import LossPredicting
from tasks.models.taps import Taps, tapped
from tests.model_helpers import MODELS_AND_KINDS, named

#: Large enough for every model.
SHAPE = (3, 32, 32)
CONVOLUTIONS = {
    "plain": {"padding": 1},
    "unpadded": {},
    "strided": {"stride": 2, "padding": 1},
    "unequal": {"kernel_size": (3, 1), "stride": (1, 2), "padding": (2, 0), "dilation": (2, 1)},
    "dilated": {"padding": 2, "dilation": 2},
    "grouped": {"groups": 2, "padding": 1},
    "depthwise": {"groups": 4, "stride": 2, "padding": 1},
    "pointwise": {"kernel_size": 1},
    "strided pointwise": {"kernel_size": 1, "stride": 2},
    "wider padding than image": {"padding": 9},
    "without bias": {"padding": 1, "bias": False},
    "same": {"kernel_size": 5, "padding": "same", "dilation": (1, 2)},
    "circular": {"padding": 1, "padding_mode": "circular"},
}


def entropies(logits: Tensor) -> Tensor:
    logarithms = torch.log_softmax(logits, dim=1)
    return -(logarithms.exp() * logarithms).sum(dim=1)


def looped(model: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
    """Global norms, and sums of norms, of one backward pass per item."""
    parameters = list(model.parameters())
    rows = []
    for item in batch.split(1):
        gradients = torch.autograd.grad(entropies(model(item)).sum(), parameters, allow_unused=True)
        rows.append(torch.stack([gradient.norm() for gradient in gradients if gradient is not None]))
    norms = torch.stack(rows)
    return norms.norm(dim=1), norms.sum(dim=1)


def stirred(model: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """``model`` in evaluation mode, its normalisations with weights and statistics as if it had learnt something."""
    normalisations = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    for module in normalisations:
        nn.init.uniform_(module.weight, 0.5, 1.5)
        nn.init.normal_(module.bias, std=0.2)
        module.momentum = None
    if normalisations:
        with torch.no_grad():
            model.train()(torch.randn(8, *shape))
    return model.eval()


def check(model: nn.Module, batch: Tensor, rtol: float = 1e-4) -> None:
    """Both norms of the whole gradient equal the loop's."""
    together, summed = looped(model, batch)
    for function, expected in ((gradnorm.global_norm, together), (gradnorm.sum_of_norms, summed)):
        scores, logits = function(model, batch)
        assert {scores.requires_grad, logits.requires_grad} == {False}
        assert expected.min() > 0
        torch.testing.assert_close(scores, expected, rtol=rtol, atol=0)
        torch.testing.assert_close(logits, model(batch).detach())


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def headed(*layers: nn.Module, features: int, bias: bool = True) -> nn.Module:
    """``layers`` and a last linear layer that classifies what they make of an item."""
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, 5, bias=bias)).double().eval()


@pytest.mark.parametrize(("name", "kind"), [pair for pair in MODELS_AND_KINDS if pair[1] != "texts"])
def test_norms_are_those_of_a_loop_for_each_model(name: str, kind: str) -> None:
    # In double precision, as a ReLU that rounding turns round is no error of the norms.
    model, batch = named(name, kind, 7, SHAPE if "224" in name or "vgg" in name else (3, 8, 8))
    shape = batch.shape[1:]
    check(stirred(model, shape).double(), torch.randn(2, *shape, dtype=torch.float64))


@pytest.mark.parametrize("name", [name for name, kind in MODELS_AND_KINDS if kind == "texts"])
def test_models_whose_embeddings_have_gradients_too_are_refused_beforehand(name: str) -> None:
    model, batch = named(name, "texts", 7, device="meta")
    with pytest.raises(ConfigError, match=r"does not know the gradients of layer .*embedding' \(Embedding"):
        engine.check_model(model, batch.shape[1:])


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_norms_in_single_precision_are_those_of_a_loop(layout: torch.memory_format) -> None:
    model = stirred(registry.resolve(registry.MODELS, "resnet18")((3, 16, 16), 10), (3, 16, 16)).to(
        memory_format=layout
    )
    check(model, torch.randn(3, 3, 16, 16).contiguous(memory_format=layout), rtol=1e-3)


@pytest.mark.parametrize("precision", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("settings", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_every_form_of_a_convolution_has_the_norms_of_a_loop(settings: dict, precision: torch.dtype) -> None:
    layer = nn.Conv2d(4, 8, **{"kernel_size": 3} | settings)
    features = layer(torch.zeros(1, 4, 7, 6)).numel()
    model = headed(layer, nn.Tanh(), features=features)
    batch = torch.randn(3, 4, 7, 6, dtype=torch.float64)
    if precision == torch.float64:
        check(model, batch, rtol=1e-6)
    else:
        with torch.autocast("cpu", precision):
            scores, _ = gradnorm.global_norm(model.float(), batch.float())
        torch.testing.assert_close(scores.double(), looped(model.double(), batch)[0], rtol=0.05, atol=0)


@pytest.mark.parametrize("name", sorted(CONVOLUTIONS.keys() - {"same", "circular"}))
def test_forms_of_a_convolution_agree(name: str) -> None:
    layer = nn.Conv2d(4, 8, **{"kernel_size": 3} | CONVOLUTIONS[name]).double()
    x = torch.randn(3, 4, 7, 6, dtype=torch.float64)
    g = torch.randn_like(layer(x))
    geometry = Geometry(layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups)
    expected = convolution.item_form(x, g, layer.weight.detach(), geometry)
    torch.testing.assert_close(convolution.gram_form(x, g, geometry), expected)
    torch.testing.assert_close(convolution.patch_form(x, g, geometry), expected)


@pytest.mark.parametrize("positions", [1, 2, 40])
def test_products_have_the_norm_of_their_matrix(positions: int) -> None:
    x, g = torch.randn(3, 6, positions), torch.randn(3, 5, positions)
    torch.testing.assert_close(product_norms(x, g), (x @ g.mT).square().sum((1, 2)))


@pytest.mark.parametrize("settings", [{}, {"stride": 2, "padding": 2, "dilation": 2}, {"groups": 2}])
def test_convolutions_of_one_dimension_have_the_norms_of_a_loop(settings: dict) -> None:
    layer = nn.Conv1d(4, 6, 3, **settings)
    model = headed(layer, nn.BatchNorm1d(6), nn.ReLU(), features=layer(torch.zeros(1, 4, 9)).numel())
    check(model, torch.randn(3, 4, 9, dtype=torch.float64))


@pytest.mark.parametrize("positions", [(2,), (9,), (3, 4)])
def test_a_linear_layer_at_several_positions_has_the_norms_of_a_loop(positions: tuple[int, ...]) -> None:
    model = headed(nn.Linear(4, 3), nn.ReLU(inplace=True), features=3 * torch.Size(positions).numel(), bias=False)
    check(model, torch.randn(3, *positions, 4, dtype=torch.float64))


def test_a_normalisation_of_features_has_the_norms_of_a_loop() -> None:
    check(headed(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), features=6), torch.randn(3, 4, dtype=torch.float64))


def test_relus_in_place_behind_any_layer_do_no_harm() -> None:
    layers = (nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
    check(headed(*layers, features=64), torch.randn(3, 3, 6, 6, dtype=torch.float64))


def test_parameters_without_a_part_in_the_logits_do_not_count() -> None:
    network = stirred(registry.resolve(registry.MODELS, "preact_resnet8")((3, 8, 8), 4), (3, 8, 8))
    model = LossPredicting(network, (3, 8, 8)).double().eval()
    batch = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(gradnorm.global_norm(model, batch), gradnorm.global_norm(network, batch))
    check(model, batch)


def test_a_layer_whose_output_is_thrown_away_does_not_count() -> None:
    class Distracted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused, self.used = nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            self.unused(x)
            return self.used(x)

    check(Distracted().eval().double(), torch.randn(3, 4, dtype=torch.float64))


@pytest.mark.parametrize("bias", [True, False])
def test_last_layer_norms_are_those_of_a_loop_over_the_last_layer(bias: bool) -> None:
    model = tapped(headed(nn.Linear(6, 4), nn.ReLU(), features=4, bias=bias), Taps("3"))
    batch = torch.randn(5, 6, dtype=torch.float64)
    model[0].requires_grad_(False)
    expected = []
    for item in batch.split(1):
        gradients = torch.autograd.grad(entropies(model(item)).sum(), list(model[3].parameters()))
        expected.append(torch.stack([gradient.norm() for gradient in gradients]))
    norms = torch.stack(expected)
    scores, logits = gradnorm.last_layer_norm(model, batch)
    torch.testing.assert_close(scores.double(), norms.norm(dim=1), rtol=1e-5, atol=0)
    torch.testing.assert_close(logits, model(batch).detach())
    scores, _ = gradnorm.last_layer_sum_of_norms(model, batch)
    torch.testing.assert_close(scores.double(), norms.sum(dim=1), rtol=1e-5, atol=0)


@pytest.mark.parametrize(("name", "kind"), MODELS_AND_KINDS)
def test_every_model_says_where_its_last_layer_is(name: str, kind: str) -> None:
    model, batch = named(name, kind, 7, SHAPE)
    scores, logits = gradnorm.last_layer_norm(model.eval(), batch)
    assert scores.shape == (2,)
    assert logits.shape == (2, 7)
    assert scores.isfinite().all()


@pytest.fixture
def small() -> nn.Module:
    """Convolution, normalisation and two linear layers, for images (3, 8, 8)."""
    layers = (nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Flatten())
    return tapped(stirred(nn.Sequential(*layers, nn.Linear(512, 16), nn.Linear(16, 5)), (3, 8, 8)), Taps("5"))


ALL = [
    getattr(gradnorm, name) for name in ("global_norm", "sum_of_norms", "last_layer_norm", "last_layer_sum_of_norms")
]


@pytest.mark.parametrize("function", ALL)
def test_an_items_score_does_not_depend_on_its_batch(function: Callable, small: nn.Module) -> None:
    batch = torch.randn(7, 3, 8, 8)
    whole = function(small, batch)[0]
    for items in (1, 3):
        parts = torch.cat([function(small, part)[0] for part in batch.split(items)])
        torch.testing.assert_close(parts, whole, rtol=1e-5, atol=0)


def test_a_batch_larger_than_memory_is_split(small: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = torch.randn(7, 3, 8, 8)
    whole = gradnorm.global_norm(small, batch)
    calls: list[int] = []
    handle = small.register_forward_pre_hook(lambda _, inputs: calls.append(len(inputs[0])))
    for limit, sizes in ((1, [1] * 7), (engine._item_bytes(small, batch[:1]) * 4, [4, 3])):
        monkeypatch.setitem(engine.BYTES, "cpu", limit)
        calls.clear()
        torch.testing.assert_close(gradnorm.global_norm(small, batch), whole)
        assert calls == sizes
    handle.remove()


@pytest.mark.parametrize("function", ALL)
@pytest.mark.parametrize("logits", [[0.0] * 5, [1e4, 0.0, 0.0, 0.0, 0.0], [3e38, -3e38, 0.0, 0.0, 0.0]])
def test_uniform_and_saturated_predictions_score_zero(function: Callable, logits: list, small: nn.Module) -> None:
    with torch.no_grad():
        small[5].weight.zero_()
        small[5].bias.copy_(torch.tensor(logits))
    assert function(small, torch.randn(2, 3, 8, 8))[0].tolist() == [0.0, 0.0]


def test_slopes_are_those_of_autograd_and_ignore_impossible_classes() -> None:
    logits = (torch.randn(50, 7, dtype=torch.float64) * 3).requires_grad_()
    (expected,) = torch.autograd.grad(entropies(logits).sum(), logits)
    torch.testing.assert_close(gradnorm.entropy_slopes(logits.detach()), expected)
    masked = torch.cat([logits.detach(), torch.full((50, 1), -torch.inf)], dim=1)
    torch.testing.assert_close(gradnorm.entropy_slopes(masked)[:, :7], expected)


def test_a_model_is_as_it_was_afterwards_also_after_an_error(small: nn.Module) -> None:
    small[0].weight.requires_grad_(False)
    before = {name: (parameter.requires_grad, parameter.clone()) for name, parameter in small.named_parameters()}
    gradnorm.global_norm(small, torch.randn(2, 3, 8, 8))
    with pytest.raises(RuntimeError):
        gradnorm.global_norm(small, torch.randn(2, 3, 9, 9))
    for name, parameter in small.named_parameters():
        assert parameter.requires_grad == before[name][0]
        assert parameter.grad is None
        assert torch.equal(parameter, before[name][1])
    assert not any(module._forward_hooks for module in small.modules())


def test_frozen_parameters_count_like_all_others(small: nn.Module) -> None:
    batch = torch.randn(2, 3, 8, 8)
    expected = gradnorm.global_norm(small, batch)
    with torch.no_grad():
        torch.testing.assert_close(gradnorm.global_norm(small.requires_grad_(False), batch), expected)


def test_a_layer_of_an_unknown_kind_is_named() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 3)).eval()
    with pytest.raises(ConfigError, match=r"layer '1' \(LayerNorm\).*entropy_gradnorm_last"):
        gradnorm.global_norm(model, torch.randn(2, 4))


@pytest.mark.parametrize(
    "layer",
    [nn.BatchNorm1d(4, track_running_stats=False), nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))],
    ids=["statistics of the batch", "weight norm"],
)
def test_a_layer_that_computes_something_else_is_refused(layer: nn.Module) -> None:
    with pytest.raises(ConfigError, match="does not know the gradients of layer '0'"):
        gradnorm.global_norm(nn.Sequential(layer, nn.Linear(4, 3)).eval(), torch.randn(2, 4))


def test_a_layer_that_is_called_twice_is_refused() -> None:
    twice = nn.Linear(4, 4)
    with pytest.raises(ConfigError, match="used again"):
        gradnorm.global_norm(nn.Sequential(twice, nn.ReLU(), twice).eval(), torch.randn(2, 4))


def test_a_layer_that_sees_items_in_another_dimension_is_refused() -> None:
    model = nn.Sequential(nn.Flatten(0, 1), nn.Linear(4, 4), nn.Unflatten(0, (2, 3)), nn.Flatten()).eval()
    with pytest.raises(ConfigError, match=r"first dimension, where layer '1' has 3 of 1"):
        gradnorm.global_norm(model, torch.randn(2, 3, 4))


def test_layers_that_share_a_weight_are_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)).eval()
    model[1].weight = model[0].weight
    with pytest.raises(ConfigError, match="layer '1' are used again"):
        gradnorm.global_norm(model, torch.randn(2, 4))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16, torch.float16])
def test_norms_on_a_gpu_are_those_of_a_loop(precision: torch.dtype) -> None:
    model = stirred(registry.resolve(registry.MODELS, "resnet18")(SHAPE, 10), SHAPE).cuda()
    batch = torch.randn(8, *SHAPE, device="cuda")
    expected = looped(model.double(), batch.double())[0]
    with torch.autocast("cuda", precision, enabled=precision != torch.float32):
        scores, _ = gradnorm.global_norm(model.float(), batch)
    rtol = 1e-2 if precision == torch.float32 else 0.1
    torch.testing.assert_close(scores.double(), expected, rtol=rtol, atol=0)


class Elsewhere(nn.Module):
    """Uses a weight without calling its layer, or once more besides."""

    def __init__(self, call: bool) -> None:
        super().__init__()
        self.first, self.head, self.call = nn.Linear(4, 4), nn.Linear(4, 3), call
        tapped(self, Taps("head"))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x) if self.call else x
        return self.head(nn.functional.linear(hidden, self.first.weight))


@pytest.mark.parametrize("call", [False, True])
def test_a_weight_that_is_used_without_its_layer_is_refused(call: bool) -> None:
    with pytest.raises(ConfigError, match=r"'first\.weight' is used elsewhere"):
        gradnorm.global_norm(Elsewhere(call).eval(), torch.zeros(2, 4))


def test_a_layer_that_is_called_by_keyword_is_refused() -> None:
    class Named(Elsewhere):
        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.first(input=x))

    with pytest.raises(ConfigError, match="'first' as a positional argument"):
        gradnorm.global_norm(Named(True).eval(), torch.zeros(2, 4))
