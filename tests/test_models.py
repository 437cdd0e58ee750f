"""Which models there are, what they take, and where they compute."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save
from torch import nn

from tasks import files
from tasks.errors import ConfigError, DataError
from tasks.models import ceal_cnn, device, imagenet, linear, preact_resnet, resnet18, stored, vgg11_bn
from tasks.models.building import build as build_named
from tasks.models.features import feature_batches
from tasks.models.half_dropout import HalfDropout
from tasks.models.loss_prediction import LossPredicting
from tasks.models.taps import Taps, head_of, penultimate, tapped, taps_of
from tests.model_helpers import MODELS_AND_KINDS, examples, named, view

#: The stages' outputs of one item: of images of 3 channels and 64 px.
STAGES: dict[str, list[tuple[int, ...]]] = {
    "linear": [],
    "ceal_cnn": [(32, 30, 30), (64, 13, 13), (128,)],
    "resnet18": [(64, 64, 64), (128, 32, 32), (256, 16, 16), (512, 8, 8)],
    "resnet18_224": [(64, 16, 16), (128, 8, 8), (256, 4, 4), (512, 2, 2)],
    "resnet50_224": [(256, 16, 16), (512, 8, 8), (1024, 4, 4), (2048, 2, 2)],
    "preact_resnet164": [(64, 64, 64), (128, 32, 32), (256, 16, 16)],
    "vgg11_bn": [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 2, 2)],
    "mlp": [(128,), (128,)],
    "fasttext": [],
} | {f"preact_resnet{depth}": [(16, 64, 64), (32, 32, 32), (64, 16, 16)] for depth in (8, 14, 20, 56, 110)}
#: Of a text of 1014 characters.
VERY_DEEP = [(64, 1, 1014), (128, 1, 507), (256, 1, 254), (512, 1, 127)]
STAGES |= {f"vdcnn{depth}": VERY_DEEP for depth in ("9", "29", "29_conv")}


@pytest.mark.parametrize("build", [linear.build, ceal_cnn.build, resnet18.build, preact_resnet.resnet8])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 9, 30), (1, 28, 28)])
def test_images_become_one_logit_per_class(build, shape) -> None:
    assert build(shape, 7)(torch.zeros(2, *shape)).shape == (2, 7)


@pytest.mark.parametrize(("name", "kind"), MODELS_AND_KINDS)
def test_every_model_says_where_its_stages_are(name, kind) -> None:
    # Without numbers where items have a shape: the larger networks take their time.
    device = "cpu" if kind == "texts" else "meta"
    model, batch = named(name, kind, 10, (3, 64, 64), device)
    seen: list[tuple[int, ...]] = []
    for stage in taps_of(model).stages:
        model.get_submodule(stage).register_forward_hook(lambda _, inputs, output: seen.append(tuple(output.shape[1:])))
    with torch.inference_mode():
        model.eval()(batch[:1].to(device) if batch.layout == torch.strided else batch)
    assert seen == STAGES[name]


@pytest.mark.parametrize(("name", "kind"), MODELS_AND_KINDS)
def test_every_model_says_where_its_last_layer_is(name, kind) -> None:
    torch.manual_seed(0)
    model, batch = named(name, kind, 5)
    with torch.inference_mode():
        with penultimate(model.eval()) as seen:
            logits = model(batch)
        [features] = seen
        torch.testing.assert_close(head_of(model)(features), logits)
    assert logits.shape == (2, 5)
    assert head_of(model).out_features == 5


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "millions", "features"),
    [
        ("preact_resnet20", 0.27, 64),
        ("preact_resnet56", 0.85, 64),
        ("preact_resnet110", 1.7, 64),
        ("preact_resnet164", 1.7, 256),
        ("resnet18", 11.17, 512),
    ],
)
def test_residual_networks_have_as_many_parameters_as_published(name, millions, features) -> None:
    with torch.device("meta"):
        model = build_named(name, (3, 32, 32), 10)
    assert parameters(model) / 1e6 == pytest.approx(millions, rel=0.02)
    assert head_of(model).in_features == features


@pytest.mark.parametrize(("name", "layers"), [(f"preact_resnet{n}", n) for n in (8, 14, 20, 56, 110, 164)])
def test_preactivation_networks_have_as_many_layers_as_they_are_named_for(name, layers) -> None:
    with torch.device("meta"):
        model = build_named(name, (3, 32, 32), 10)
    shortcuts = [part for path, part in model.named_modules() if path.endswith("shortcut")]
    weighted = [part for part in model.modules() if isinstance(part, nn.Conv2d | nn.Linear) and part not in shortcuts]
    assert len(weighted) == layers
    assert len(shortcuts) == 3


def test_preactivation_unit_adds_its_input_as_it_is_and_the_first_its_activation() -> None:
    torch.manual_seed(0)
    first, later = preact_resnet.resnet14((1, 8, 8), 2).eval()[1]
    x = torch.randn(2, 16, 8, 8)
    for unit, added in ((later, x), (first, torch.relu(first.normalise(x)))):
        nn.init.zeros_(unit.residual[-1].weight)
        assert torch.equal(unit(x), added)


def test_preactivation_convolutions_are_drawn_by_their_outputs() -> None:
    torch.manual_seed(0)
    for name, part in preact_resnet.resnet164((3, 8, 8), 10).named_modules():
        if isinstance(part, nn.Conv2d) and part.weight.numel() > 8000:
            expected = (2 / (part.out_channels * part.kernel_size[0] ** 2)) ** 0.5
            assert part.weight.std().item() == pytest.approx(expected, rel=0.05), name


@pytest.mark.parametrize(("build", "millions"), [(imagenet.resnet18, 11.69), (imagenet.resnet50, 25.56)])
def test_imagenet_models_are_torchvisions(build, millions) -> None:
    with torch.device("meta"):
        model = build((3, 224, 224), 1000)
    assert parameters(model) / 1e6 == pytest.approx(millions, rel=0.001)
    assert str(model.conv1) == "Conv2d(3, 64, kernel_size=(7, 7), stride=(2, 2), padding=(3, 3), bias=False)"


@pytest.mark.parametrize("channels", [1, 5])
def test_imagenet_models_take_any_number_of_channels_and_32_px(channels) -> None:
    model = imagenet.resnet18((channels, 32, 40), 7)
    assert model(torch.zeros(2, channels, 32, 40)).shape == (2, 7)
    assert model.conv1.weight.std().item() == pytest.approx((2 / (64 * 49)) ** 0.5, rel=0.05)


def test_ceal_cnn_at_28_px_is_the_published_network() -> None:
    layers = [str(layer) for layer in ceal_cnn.build((1, 28, 28), 10) if not isinstance(layer, HalfDropout | nn.ReLU)]
    assert layers == [
        "Conv2d(1, 32, kernel_size=(5, 5), stride=(1, 1))",
        "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)",
        "Conv2d(32, 64, kernel_size=(5, 5), stride=(1, 1))",
        "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)",
        "Flatten(start_dim=1, end_dim=-1)",
        "Linear(in_features=1024, out_features=128, bias=True)",
        "Linear(in_features=128, out_features=10, bias=True)",
    ]


def test_resnet18_keeps_small_images_large_in_its_stem() -> None:
    model = resnet18.build((3, 32, 32), 10)
    assert model.conv1.stride == (1, 1)
    assert isinstance(model.maxpool, nn.Identity)


@pytest.mark.parametrize("shape", [(1, 32, 40), (3, 64, 32), (5, 33, 33)])
def test_vgg11_bn_takes_any_number_of_channels_and_size_from_32_px_on(shape) -> None:
    with torch.device("meta"):
        assert vgg11_bn.build(shape, 7)(torch.zeros(2, *shape)).shape == (2, 7)


def test_vgg11_bn_has_the_published_convolutions_and_dropout_in_its_head_alone() -> None:
    from torchvision.models.vgg import cfgs, make_layers

    model = vgg11_bn.build((3, 32, 32), 10)
    with torch.device("meta"):
        published = make_layers(cfgs["A"], batch_norm=True)
    assert str(model[0]) == str(published)
    assert {name: value.shape for name, value in model[0].state_dict().items()} == {
        name: value.shape for name, value in published.state_dict().items()
    }
    assert [str(layer) for layer in model[2:]] == [
        "Flatten(start_dim=1, end_dim=-1)",
        "HalfDropout()",
        "Linear(in_features=512, out_features=512, bias=True)",
        "BatchNorm1d(512, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)",
        "ReLU()",
        "Linear(in_features=512, out_features=10, bias=True)",
    ]
    assert sum(isinstance(layer, HalfDropout) for layer in model.modules()) == 1


@pytest.mark.parametrize("shape", [(10,), (3, 31, 32), (1, 40, 28)])
def test_vgg11_bn_refuses_what_its_poolings_would_shrink_to_nothing(shape) -> None:
    with pytest.raises(ConfigError, match=r"train\.model: vgg11_bn.*at least 32 px, not items of shape"):
        vgg11_bn.build(shape, 10)


@pytest.mark.parametrize(
    "build", [ceal_cnn.build, resnet18.build, preact_resnet.resnet20, imagenet.resnet18, imagenet.resnet50]
)
@pytest.mark.parametrize("shape", [(10,), (1, 3, 28)])
def test_items_that_are_no_images_or_too_small_are_refused_in_one_line(build, shape) -> None:
    with pytest.raises(ConfigError, match=r"train\.model.*px, not items of shape \(1.*\n?") as refusal:
        build(shape, 10)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_half_dropout_drops_half_and_doubles_the_rest(layout) -> None:
    torch.manual_seed(0)
    ones = torch.ones(16, 8, 13, 13).contiguous(memory_format=layout).requires_grad_()
    dropped = HalfDropout()(ones)
    dropped.sum().backward()
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert abs(dropped.mean().item() - 1) < 0.05
    assert torch.equal(ones.grad, dropped)


def test_half_dropout_treats_neighbours_independently() -> None:
    torch.manual_seed(0)
    kept = HalfDropout()(torch.ones(100_000)).view(-1, 8) - 1
    correlations = torch.corrcoef(kept.T) - torch.eye(8)
    assert correlations.abs().max() < 0.04


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_half_dropout_keeps_the_type_and_does_nothing_in_evaluation(dtype) -> None:
    x = torch.ones(3, 5, dtype=dtype)
    assert HalfDropout()(x).dtype == dtype
    assert HalfDropout().eval()(x) is x


def test_cuda_without_a_gpu_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="device: cuda"):
        device.resolve("cuda")
    assert device.resolve("auto").type == "cpu"


def test_fp16_on_a_cpu_is_refused() -> None:
    with pytest.raises(ConfigError, match="fp16 needs a GPU"):
        view(precision="fp16").autocast()


def test_reproducible_puts_the_global_state_back_even_after_a_failure() -> None:
    def fail() -> None:
        with device.reproducible(torch.device("cpu"), 1):
            assert torch.are_deterministic_algorithms_enabled()
            torch.rand(3)
            raise ZeroDivisionError

    before = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError):
        fail()
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory


def test_device_seconds_add_up_by_kind() -> None:
    seconds = {"cpu": 1.0}
    with device.timed(torch.device("cpu"), seconds):
        pass
    assert 1.0 <= seconds["cpu"] < 1.5


@pytest.fixture
def ensemble(tmp_path: Path) -> Path:
    """A folder that holds three linear models."""
    card = {"model": "linear", "shape": [1, 4, 4], "classes": ["a", "b"], "mean": [0.4], "std": [0.3]}
    models = [linear.build((1, 4, 4), 2) for _ in range(3)]
    stored.write(tmp_path, models, card | {"precision": "fp32", "channels_last": True})
    return tmp_path


def test_stored_members_are_read_back_in_their_order(ensemble) -> None:
    models, _, card = stored.read(ensemble, torch.device("cpu"))
    weights = load_file(ensemble / "model.safetensors")
    assert sorted(weights) == [f"member.{member}.1.{name}" for member in range(3) for name in ("bias", "weight")]
    assert (card["members"], card["parameters"]) == (3, 3 * (16 * 2 + 2))
    for member, model in enumerate(models):
        assert not model.training
        assert torch.equal(model[1].weight, weights[f"member.{member}.1.weight"])


def test_single_model_is_stored_under_its_own_names(tmp_path) -> None:
    model = linear.build((1, 4, 4), 2)
    stored.write(tmp_path, [model], {"model": "linear"})
    assert (tmp_path / "model.safetensors").read_bytes() == save(model.state_dict())
    assert files.read_json(tmp_path / "model.json").keys() == {"model", "parameters", "digest"}


@pytest.mark.parametrize("members", [1, 2])
def test_models_that_predict_their_losses_are_read_back_as_such(tmp_path, members) -> None:
    models = [build_named("ceal_cnn", (1, 8, 8), 2, loss_prediction=True).eval() for _ in range(members)]
    card = {"model": "ceal_cnn", "shape": [1, 8, 8], "classes": ["a", "b"], "mean": [0.4], "std": [0.3]}
    stored.write(tmp_path, models, card | {"precision": "fp32", "channels_last": True})
    again, _, card = stored.read(tmp_path, torch.device("cpu"))
    assert (card["loss_prediction"], card["parameters"]) == (True, sum(map(parameters, models)))
    batch = torch.rand(3, 1, 8, 8)
    for before, after in zip(models, again, strict=True):
        assert isinstance(after, LossPredicting)
        for one, other in zip(before.joint(batch, detach=True), after.joint(batch, detach=True), strict=True):
            torch.testing.assert_close(one, other)


def test_weights_with_a_head_that_their_card_does_not_speak_of_are_refused(tmp_path) -> None:
    card = {"model": "ceal_cnn", "shape": [1, 8, 8], "classes": ["a", "b"], "mean": [0.4], "std": [0.3]}
    model = build_named("ceal_cnn", (1, 8, 8), 2, loss_prediction=True)
    stored.write(tmp_path, [model], card | {"precision": "fp32", "channels_last": True})
    path = tmp_path / "model.json"
    files.write_json(path, {key: value for key, value in files.read_json(path).items() if key != "loss_prediction"})
    with pytest.raises(DataError, match="the stored model does not load"):
        stored.read(tmp_path, torch.device("cpu"))


@pytest.mark.parametrize("members", [None, 0, 1, 2, 4, "three"])
def test_number_of_members_that_the_weights_do_not_have_is_refused(ensemble, members) -> None:
    path = ensemble / "model.json"
    files.write_json(path, files.read_json(path) | {"members": members})
    with pytest.raises(DataError, match="the stored model does not load"):
        stored.read(ensemble, torch.device("cpu"))


def test_lost_members_are_refused(ensemble) -> None:
    (ensemble / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"model\.safetensors: missing; restore it"):
        stored.read(ensemble, torch.device("cpu"))


def test_features_are_what_the_last_linear_layer_is_given() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.ReLU(), nn.Linear(5, 3)).eval()
    tapped(model, Taps(head="3"))
    items, rows = examples(7).items, np.array([4, 0, 6])
    parts = list(feature_batches(model, items, rows, view(), 2))
    with torch.no_grad():
        expected = model[:3]((torch.from_numpy(items[rows]) / 255 - 0.4) / 0.3)
    assert [start for start, _ in parts] == [0, 2]
    np.testing.assert_allclose(np.concatenate([part for _, part in parts]), expected, atol=1e-5)


def test_features_of_a_model_that_predicts_its_losses_are_its_networks() -> None:
    model = build_named("ceal_cnn", (1, 8, 8), 2, loss_prediction=True)
    items, rows = examples(3).items, np.arange(3)
    [(_, ours)] = feature_batches(model, items, rows, view(), 4)
    [(_, networks)] = feature_batches(model.network, items, rows, view(), 4)
    np.testing.assert_array_equal(ours, networks)


def test_a_model_that_does_not_say_where_its_features_are_has_none() -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 8), nn.Flatten())
    with pytest.raises(ConfigError, match=r"train\.model: the model Sequential does not say where its features are"):
        next(feature_batches(model, examples(2).items, np.arange(2), view(), 2))
