"""The multi-layer perceptron for rows of numbers."""

from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tasks.config_train import MlpConfig, TrainConfig
from tasks.errors import ConfigError
from tasks.infer.dropout import has_dropout
from tasks.models import mlp
from tasks.models.building import build, settings_from, settings_of
from tasks.models.encoded import check_kind
from tasks.models.forward import predict
from tasks.models.half_dropout import HalfDropout
from tasks.models.taps import head_of, penultimate, taps_of
from tasks.models.view import View
from tasks.task_type import Classification
from tasks.train.examples import Examples
from tasks.train.fit import fit
from tests.model_helpers import quick


def made(shape: tuple[int, ...] = (7,), outputs: int = 3, **settings: Any) -> nn.Module:
    torch.manual_seed(0)
    return mlp.build(shape, outputs, MlpConfig(**settings))


def test_each_hidden_layer_is_followed_by_a_relu_and_dropout() -> None:
    assert [str(layer) for layer in made(hidden=(16, 8), dropout=0.25)] == [
        "Flatten(start_dim=1, end_dim=-1)",
        "Linear(in_features=7, out_features=16, bias=True)",
        "ReLU()",
        "Dropout(p=0.25, inplace=False)",
        "Linear(in_features=16, out_features=8, bias=True)",
        "ReLU()",
        "Dropout(p=0.25, inplace=False)",
        "Linear(in_features=8, out_features=3, bias=True)",
    ]


@pytest.mark.parametrize("hidden", [(5,), (16, 8), (4, 4, 4, 4)])
@pytest.mark.parametrize("dropout", [0.0, 0.3, 0.5])
def test_outputs_are_those_of_a_calculation_by_hand(hidden: tuple[int, ...], dropout: float) -> None:
    model, items = made((7,), 3, hidden=hidden, dropout=dropout).eval(), torch.randn(4, 7)
    linear = [layer for layer in model if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == list(pairwise((7, *hidden, 3)))
    x = items.double().numpy()
    for layer in linear:
        x = x @ layer.weight.detach().double().numpy().T + layer.bias.detach().double().numpy()
        x = x if layer is linear[-1] else np.maximum(x, 0)
    with torch.inference_mode():
        np.testing.assert_allclose(model(items).numpy(), x, atol=1e-5)


def test_several_axes_are_taken_as_one() -> None:
    model, items = made((3, 4, 2)).eval(), torch.randn(5, 3, 4, 2)
    with torch.inference_mode():
        assert torch.equal(model(items), model(items.flatten(1)))


def test_without_dropout_there_is_none_and_of_a_half_it_is_quick() -> None:
    assert not has_dropout(made(dropout=0.0))
    assert has_dropout(made(dropout=0.1))
    kinds = [type(layer) for layer in made(dropout=0.5)]
    assert kinds.count(HalfDropout) == 2
    assert nn.Dropout not in kinds


def test_stages_are_the_hidden_layers_and_the_head_reads_the_last() -> None:
    model, items = made(hidden=(16, 8), dropout=0.1).eval(), torch.randn(4, 7)
    seen: list[torch.Tensor] = []
    for stage in taps_of(model).stages:
        model.get_submodule(stage).register_forward_hook(lambda _, inputs, output: seen.append(output))
    with torch.inference_mode(), penultimate(model) as features:
        outputs = model(items)
        assert torch.equal(head_of(model)(features[0]), outputs)
    assert [tuple(output.shape) for output in seen] == [(4, 16), (4, 8)]
    assert torch.equal(features[0], seen[1])


def test_what_no_straight_line_divides_is_learnt() -> None:
    draw = np.random.default_rng(0)
    items = draw.uniform(-1, 1, (400, 2)).astype(np.float32)
    data = Examples(items, (items[:, 0] * items[:, 1] > 0).astype(np.int64))
    view = View(torch.device("cpu"), (0.0, 0.0), (0.6, 0.6), task=Classification(("no", "yes")))

    def accuracy(name: str) -> float:
        settings = quick(model=name, epochs=25, batch_size=32)
        model, _ = fit(partial(build, name, (2,), 2, settings=settings_of(settings)), data, None, settings, view, 0)
        return float((predict(model, items, view).argmax(axis=1) == data.labels).mean())

    assert accuracy("mlp") > 0.95
    assert accuracy("linear") < 0.7


def test_settings_come_back_from_what_is_stored_of_them() -> None:
    settings = settings_of(TrainConfig(model="mlp", mlp={"hidden": [9, 4], "dropout": 0.2}))
    assert settings == MlpConfig(hidden=(9, 4), dropout=0.2)
    assert settings_from("mlp", settings.model_dump(mode="json")) == settings
    assert settings_from("ceal_cnn", None) is None


@pytest.mark.parametrize("stored", [None, {"hidden": []}, {"hidden": [0]}, {"dropout": 1.0}, {"width": 3}])
def test_settings_that_cannot_be_are_refused(stored: Any) -> None:
    with pytest.raises(ValueError, match="MlpConfig"):
        settings_from("mlp", stored)


@pytest.mark.parametrize(
    ("model", "kind", "fitting"),
    [
        ("mlp", "texts", r"fasttext, vdcnn9, vdcnn29, vdcnn29_conv$"),
        ("ceal_cnn", "numbers", r"linear, mlp$"),
        ("fasttext", "numbers", r"linear, mlp$"),
        ("fasttext", "images", r"linear, ceal_cnn, .*vgg11_bn, mlp$"),
    ],
)
def test_a_model_that_does_not_take_the_items_is_refused_with_those_that_do(
    model: str, kind: str, fitting: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^train\.model: {model} takes .*, and the items are {kind}; .*{fitting}"):
        check_kind(TrainConfig(model=model), kind)


@pytest.mark.parametrize("model", ["mlp", "linear"])
@pytest.mark.parametrize("kind", ["images", "numbers"])
def test_a_model_that_takes_the_items_is_accepted(model: str, kind: str) -> None:
    check_kind(TrainConfig(model=model), kind)
