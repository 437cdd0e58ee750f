"""Which models there are, what they take, and where they compute."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save
from torch import nn

from tasks import files
from tasks.errors import ConfigError, DataError
from tasks.models import ceal_cnn, device, linear, resnet18, stored, vgg11_bn
from tasks.models.features import feature_batches
from tasks.models.half_dropout import HalfDropout
from tests.model_helpers import examples, view


@pytest.mark.parametrize("build", [linear.build, ceal_cnn.build, resnet18.build])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 9, 30), (1, 28, 28)])
def test_images_become_one_logit_per_class(build, shape) -> None:
    assert build(shape, 7)(torch.zeros(2, *shape)).shape == (2, 7)


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
    assert 11.1e6 < sum(parameter.numel() for parameter in model.parameters()) < 11.3e6


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


@pytest.mark.parametrize("build", [ceal_cnn.build, resnet18.build])
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
    items, rows = examples(7).items, np.array([4, 0, 6])
    parts = list(feature_batches(model, items, rows, view(), 2))
    with torch.no_grad():
        expected = model[:3]((torch.from_numpy(items[rows]) / 255 - 0.4) / 0.3)
    assert [start for start, _ in parts] == [0, 2]
    np.testing.assert_allclose(np.concatenate([part for _, part in parts]), expected, atol=1e-5)


def test_a_model_without_a_linear_layer_has_no_features() -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 8), nn.Flatten())
    with pytest.raises(
        ConfigError, match=r"infer\.scope: the model Sequential has no linear layer .* leave clusters out"
    ):
        next(feature_batches(model, examples(2).items, np.arange(2), view(), 2))
