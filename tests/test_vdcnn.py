"""The very deep networks that read characters."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tasks.datasets.texts import Texts
from tasks.errors import ConfigError
from tasks.models import vdcnn
from tasks.models.characters import PADDING, TOKENS, CharacterEncoding
from tasks.models.device import reproducible
from tasks.models.loss_prediction import LossPredicting
from tasks.models.taps import head_of, penultimate, taps_of

ALL = {"vdcnn9": vdcnn.vdcnn9, "vdcnn29": vdcnn.vdcnn29, "vdcnn29_conv": vdcnn.vdcnn29_conv}
BUILDS = pytest.mark.parametrize("build", ALL.values(), ids=ALL)
CPU = torch.device("cpu")


def characters(count: int, length: int, kind: torch.dtype = torch.uint8) -> Tensor:
    """Random texts."""
    return torch.randint(0, TOKENS, (count, length), generator=torch.Generator().manual_seed(0)).to(kind)


def stage_outputs(model: nn.Module, batch: Tensor) -> list[Tensor]:
    """Of one call, in order."""
    seen: list[Tensor] = []
    for stage in taps_of(model).stages:
        model.get_submodule(stage).register_forward_hook(lambda _, inputs, output: seen.append(output))
    model(batch)
    return seen


@pytest.mark.parametrize(("name", "units"), [("vdcnn9", (1, 1, 1, 1)), ("vdcnn29", (5, 5, 2, 2))])
def test_parameters_are_those_of_the_published_layers(name, units) -> None:
    with torch.device("meta"):
        model = ALL[name]((1014,), 5)
    convolutions, before = 3 * 16 * 64, 64
    for width, count in zip((64, 128, 256, 512), units, strict=True):
        convolutions += 3 * width * (before + (2 * count - 1) * width) + 2 * count * 2 * width
        before = width
    linear = (4096 + 1) * 2048 + (2048 + 1) * 2048 + (2048 + 1) * 5
    assert sum(parameter.numel() for parameter in model.parameters()) == 69 * 16 + convolutions + linear


@BUILDS
def test_networks_have_as_many_convolutions_as_they_are_named_for(build) -> None:
    with torch.device("meta"):
        model = build((1014,), 2)
    found = [part for part in model.modules() if isinstance(part, nn.Conv2d)]
    halving = [part for part in found if part.stride == (1, 2)]
    pooling = [part for part in model.modules() if isinstance(part, nn.MaxPool2d)]
    assert len(found) == (9 if build is vdcnn.vdcnn9 else 29)
    assert (len(halving), len(pooling)) == ((3, 0) if build is vdcnn.vdcnn29_conv else (0, 3))
    assert all(part.bias is None for part in found)


@BUILDS
@pytest.mark.parametrize(("length", "lengths"), [(1014, (1014, 507, 254, 127)), (128, (128, 64, 32, 16))])
def test_each_stage_halves_the_length(build, length, lengths) -> None:
    with torch.device("meta"):
        outputs = stage_outputs(build((length,), 2).eval(), torch.zeros(3, length))
    assert [output.shape for output in outputs] == [
        (3, width, 1, size) for width, size in zip((64, 128, 256, 512), lengths, strict=True)
    ]


@BUILDS
def test_last_layer_is_given_the_penultimate_features(build) -> None:
    torch.manual_seed(0)
    model = build((57,), 3).eval()
    with torch.inference_mode():
        with penultimate(model) as seen:
            outputs = model(characters(2, 57))
        [features] = seen
        torch.testing.assert_close(head_of(model)(features), outputs)
    assert features.shape == (2, 2048)
    assert outputs.shape == (2, 3)


@BUILDS
@pytest.mark.parametrize("shape", [(56,), (1, 57, 57), ()])
def test_texts_too_short_and_other_items_are_refused_in_one_line(build, shape) -> None:
    with pytest.raises(ConfigError, match=r"train\.model: vdcnn.*at least 57, padding included, not items") as refusal:
        build(shape, 2)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("kind", [torch.int32, torch.int64, torch.float32])
def test_type_of_the_characters_does_not_matter(kind) -> None:
    model = vdcnn.vdcnn9((64,), 2).eval()
    assert torch.equal(model(characters(2, 64, kind)), model(characters(2, 64)))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_largest_values_of_each_channel_stay_in_their_order(layout) -> None:
    x = torch.randperm(3 * 5 * 20).view(3, 5, 1, 20).float().contiguous(memory_format=layout)
    expected = []
    for row in x.flatten(2).flatten(0, 1).tolist():
        least = sorted(row)[-8]
        expected.append([value for value in row if value >= least])
    assert vdcnn._Largest()(x).flatten(0, 1).tolist() == expected


def test_gradient_reaches_the_largest_values_alone() -> None:
    x = torch.randperm(2 * 3 * 20).view(2, 3, 1, 20).float().requires_grad_()
    vdcnn._Largest()(x).sum().backward()
    assert torch.equal(x.grad, (x >= x.topk(8, dim=3).values[..., -1:]).float())


@pytest.mark.parametrize(("place", "radii"), [(96, (3, 4, 4, 4)), (0, (3, 4, 4, 4))])
def test_stages_stay_aligned_with_the_text(place, radii) -> None:
    torch.manual_seed(0)
    model = vdcnn.vdcnn9((192,), 2).eval()
    text = characters(1, 192).repeat(2, 1)
    text[1, place] = (text[0, place] + 1) % TOKENS
    with torch.inference_mode():
        outputs = stage_outputs(model, text)
    for stage, (output, radius) in enumerate(zip(outputs, radii, strict=True)):
        changed = (output[0] != output[1]).any(0).flatten().nonzero().flatten().tolist()
        centre = place // 2**stage
        assert centre in changed
        assert min(changed) >= centre - radius
        assert max(changed) <= centre + radius


def test_convolutions_are_drawn_by_their_inputs() -> None:
    torch.manual_seed(0)
    for name, part in vdcnn.vdcnn9((64,), 2).named_modules():
        if isinstance(part, nn.Conv2d):
            expected = (2 / (3 * part.in_channels)) ** 0.5
            assert part.weight.std().item() == pytest.approx(expected, rel=0.05), name


def test_padding_is_embedded_as_zeros_and_learns_nothing() -> None:
    model = vdcnn.vdcnn9((64,), 2)
    text = characters(4, 64)
    text[:, 40:] = PADDING
    model(text).sum().backward()
    [embedding] = (part for part in model.modules() if isinstance(part, nn.Embedding))
    assert not embedding.weight[PADDING].any()
    assert not embedding.weight.grad[PADDING].any()
    assert embedding.weight.grad.any()


def train(model: nn.Module, texts: Tensor, labels: Tensor, steps: int) -> None:
    """By SGD, all items at once."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        functional.cross_entropy(model(texts), labels).backward()
        optimizer.step()


def test_texts_of_the_same_characters_in_another_order_are_told_apart(tmp_path: Path) -> None:
    words = ["good stop", "stop good"]
    texts = Texts.of([f"{'.' * number}{words[number % 2]}{' ' * (32 - number)}!" for number in range(32)])
    encoding = CharacterEncoding(64)
    encoding.write(tmp_path / "texts.npy", texts, texts)
    batch, labels = torch.from_numpy(np.array(encoding.open(tmp_path / "texts.npy"))), torch.arange(32) % 2
    with reproducible(CPU, 0):
        model = vdcnn.vdcnn9(encoding.shape(texts), 2)
        train(model, batch, labels, 20)
        assert (model(batch).argmax(1) == labels).all()


@BUILDS
def test_training_is_deterministic(build) -> None:
    trained = []
    for _ in range(2):
        with reproducible(CPU, 3):
            model = build((64,), 2).to(memory_format=torch.channels_last)
            train(model, characters(4, 64), torch.tensor([0, 1, 1, 0]), 2)
            trained.append(model.state_dict())
    for name, value in trained[0].items():
        assert torch.equal(value, trained[1][name]), name


@BUILDS
def test_weights_move_from_one_network_to_another(build) -> None:
    model = build((64,), 2).eval()
    with torch.device("meta"):
        other = build((64,), 2).eval()
    other.load_state_dict(model.state_dict(), assign=True)
    batch = characters(2, 64)
    assert torch.equal(model(batch), other(batch))


def test_loss_is_predicted_from_the_stages() -> None:
    model = LossPredicting(vdcnn.vdcnn9((64,), 2), (64,))
    outputs, predicted = model.joint(characters(3, 64), detach=False)
    (predicted.sum() + outputs.sum()).backward()
    assert predicted.shape == (3,)
    assert [stage.in_features for stage in model.predictor.stages] == [64, 128, 256, 512]
