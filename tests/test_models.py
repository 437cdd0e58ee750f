"""Which models there are, what they take, and where they compute."""

import pytest
import torch
from torch import nn

from tasks.errors import ConfigError
from tasks.models import ceal_cnn, device, linear, resnet18
from tasks.models.half_dropout import HalfDropout
from tests.model_helpers import view


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
