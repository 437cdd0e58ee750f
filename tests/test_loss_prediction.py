"""Models that predict their losses, and the acquisition function that goes by it."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from tasks.errors import ConfigError
from tasks.infer.dropout import cut
from tasks.infer.predicted_loss import learning_loss
from tasks.models.building import build
from tasks.models.loss_prediction import LossPredicting, margin_loss
from tasks.models.taps import Taps, taps_of
from tasks.train.examples import Examples
from tasks.train.fit import fit
from tasks.train.start import Start
from tests.model_helpers import quick, view

VIEW = view()


def predicting(name: str = "ceal_cnn", shape: tuple[int, ...] = (1, 8, 8), classes: int = 2) -> LossPredicting:
    """A model with its head, the same at every call."""
    torch.manual_seed(0)
    model = build(name, shape, classes, loss_prediction=True)
    assert isinstance(model, LossPredicting)
    return model


def by_hand(predicted: list[float], losses: list[float], margin: float) -> float:
    """The loss, pair by pair."""
    pairs = [(i, len(losses) - 1 - i) for i in range(len(losses) // 2)]
    terms = [max(0.0, margin - (1 if losses[i] > losses[j] else -1) * (predicted[i] - predicted[j])) for i, j in pairs]
    return sum(terms) / len(terms) if terms else 0.0


def test_margin_loss_of_two_pairs() -> None:
    # The first pair is right by its margin; the second is the wrong way round by 1.5.
    found = margin_loss(torch.tensor([1.0, 2.0, 0.5, 0.0]), torch.tensor([5.0, 1.0, 2.0, 4.0]), margin=1.0)
    assert found.item() == (0 + 2.5) / 2


@given(
    st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 4)), min_size=1, max_size=9),
    st.sampled_from([0.5, 1.0, 3.0]),
)
def test_margin_loss_is_that_of_a_loop_over_the_pairs(items: list[tuple[int, int]], margin: float) -> None:
    predicted, losses = ([float(value) for value in values] for values in zip(*items, strict=True))
    found = margin_loss(torch.tensor(predicted), torch.tensor(losses), margin)
    assert found.item() == pytest.approx(by_hand(predicted, losses, margin))


def test_margin_loss_moves_the_predictions_of_pairs_and_nothing_else() -> None:
    predicted, losses = torch.zeros(5, requires_grad=True), torch.arange(5.0).requires_grad_()
    margin_loss(predicted, losses, 1.0).backward()
    # The last two losses are the higher ones: their predictions rise against the gradient.
    assert predicted.grad.tolist() == [0.5, 0.5, 0.0, -0.5, -0.5]
    assert losses.grad is None


def test_one_item_has_no_pair_but_a_gradient() -> None:
    predicted = torch.tensor([3.0], requires_grad=True)
    loss = margin_loss(predicted, torch.tensor([1.0]), 1.0)
    loss.backward()
    assert (loss.item(), predicted.grad.tolist()) == (0.0, [0.0])


def test_undefined_predictions_have_an_undefined_loss() -> None:
    assert margin_loss(torch.tensor([float("nan"), 1.0]), torch.tensor([1.0, 2.0]), 1.0).isnan()


def test_head_of_resnet18_has_the_published_size() -> None:
    with torch.device("meta"):
        model = predicting("resnet18", (3, 32, 32), 10)
    assert sum(parameter.numel() for parameter in model.predictor.parameters()) == 123_905
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}


@pytest.mark.parametrize("name", ["ceal_cnn", "resnet18_224", "preact_resnet164", "vgg11_bn"])
def test_head_fits_every_model_with_stages(name) -> None:
    logits, predicted = predicting(name, (3, 32, 32), 7).eval().joint(torch.rand(3, 3, 32, 32), detach=False)
    assert (logits.shape, predicted.shape, predicted.dtype) == ((3, 7), (3,), torch.float32)


def test_model_without_stages_cannot_predict_its_losses() -> None:
    with pytest.raises(ConfigError, match=r"train\.loss_prediction: the model linear has no stages") as refusal:
        build("linear", (1, 8, 8), 2, loss_prediction=True)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["ceal_cnn", "preact_resnet8"])
def test_network_is_drawn_the_same_with_and_without_a_head(name) -> None:
    torch.manual_seed(0)
    alone = build(name, (1, 8, 8), 2)
    network = predicting(name).network.state_dict()
    assert network.keys() == alone.state_dict().keys()
    assert all(torch.equal(tensor, network[key]) for key, tensor in alone.state_dict().items())


def test_taps_are_the_networks() -> None:
    assert taps_of(predicting()) == Taps("network.12", ("network.3", "network.7", "network.11"))


def test_classifying_never_asks_the_predictor() -> None:
    model, batch = predicting().eval(), torch.rand(3, 1, 8, 8)
    model.predictor.register_forward_hook(lambda *_: pytest.fail("was asked"))
    assert torch.equal(model(batch), model.network(batch))


def test_the_head_is_given_the_mean_of_each_stage() -> None:
    model, batch = predicting().eval(), torch.rand(4, 1, 8, 8)
    first, second, third = model.network[:4](batch), model.network[:8](batch), model.network[:12](batch)
    stages = [first.flatten(2).mean(2), second.flatten(2).mean(2), third]
    units = [layer(values).relu() for layer, values in zip(model.predictor.stages, stages, strict=True)]
    expected = model.predictor.last(torch.cat(units, dim=1))[:, 0]
    torch.testing.assert_close(model.joint(batch, detach=False)[1], expected)


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


def test_no_hook_stays_behind() -> None:
    model = predicting()
    model.joint(torch.rand(2, 1, 8, 8), detach=False)
    assert hooks(model) == 0
    with pytest.raises(RuntimeError):
        model.joint(torch.rand(2, 5, 8, 8), detach=False)
    assert hooks(model) == 0


def gradients(model: LossPredicting, loss: Callable[[Tensor, Tensor], Tensor], detach: bool) -> list[Tensor]:
    """Of the network's parameters."""
    model.zero_grad()
    torch.manual_seed(1)
    loss(*model.joint(torch.rand(6, 1, 8, 8), detach)).backward()
    return [parameter.grad.clone() for parameter in model.network.parameters()]


def test_detached_head_learns_without_shaping_the_network() -> None:
    model, labels = predicting("preact_resnet8"), torch.tensor([0, 1, 0, 0, 1, 1])

    def alone(logits: Tensor, _: Tensor) -> Tensor:
        return functional.cross_entropy(logits, labels)

    def both(logits: Tensor, predicted: Tensor) -> Tensor:
        each = functional.cross_entropy(logits, labels, reduction="none")
        return each.mean() + margin_loss(predicted, each, 1.0)

    expected, shaped, detached = (
        gradients(model, alone, False),
        gradients(model, both, False),
        gradients(model, both, True),
    )
    for ours, theirs in zip(detached, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert not all(torch.allclose(ours, theirs) for ours, theirs in zip(shaped, expected, strict=True))
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.predictor.parameters() if parameter.ndim > 1)


def test_predictions_are_as_fine_in_half_precision() -> None:
    model = predicting().eval()
    with torch.autocast("cpu", torch.bfloat16):
        scores, logits = learning_loss(model, torch.rand(64, 1, 8, 8))
    assert (scores.dtype, logits.dtype) == (torch.float32, torch.bfloat16)
    assert len(scores.unique()) > 50


def test_repeated_passes_repeat_only_what_dropout_reaches() -> None:
    assert not cut(predicting()).whole


def test_warm_start_takes_the_head_along() -> None:
    before = {name: tensor + 1 for name, tensor in predicting().state_dict().items()}
    after = Start((before,)).build(predicting, 0).state_dict()
    assert any(name.startswith("predictor.") for name in after)
    assert all(torch.equal(tensor, before[name]) for name, tensor in after.items())


@pytest.fixture(scope="module")
def trained() -> LossPredicting:
    """A small network and its head, after a short training on the first 300 digits."""
    settings = quick(model="ceal_cnn", epochs=10, batch_size=16, lr=2e-3, loss_prediction={})
    model, _ = fit(lambda: build("ceal_cnn", (1, 8, 8), 10, True), digits(0, 300), None, settings, VIEW, 0)
    assert isinstance(model, LossPredicting)
    return model


def digits(start: int, stop: int) -> Examples:
    found = load_digits()
    items = (found.images[start:stop, None] * 15.9375).astype(np.uint8)
    return Examples(items, found.target[start:stop].astype(np.int64))


def scored(model: LossPredicting, examples: Examples) -> tuple[Tensor, Tensor]:
    """The scores, and the true losses."""
    scores, logits = learning_loss(model, VIEW.laid_out(VIEW.normalised(torch.from_numpy(examples.items))))
    return scores, functional.cross_entropy(logits, torch.from_numpy(examples.labels), reduction="none")


def test_a_trained_head_ranks_new_items_by_their_losses(trained) -> None:
    assert spearmanr(*scored(trained, digits(300, 1500))).statistic > 0.3


def test_higher_scores_mean_label_me(trained) -> None:
    scores, losses = scored(trained, digits(300, 1500))
    order = scores.argsort(descending=True)
    assert losses[order[:100]].mean() > 2 * losses[order[-100:]].mean()


def test_scores_are_the_predicted_losses_without_gradients(trained) -> None:
    batch = torch.rand(5, 1, 8, 8)
    scores, logits = learning_loss(trained, batch)
    expected = trained.joint(batch, detach=False)
    assert torch.equal(scores, expected[1])
    assert torch.equal(logits, expected[0])
    assert not scores.requires_grad
    assert not logits.requires_grad


def test_model_without_a_head_has_no_predicted_loss() -> None:
    with pytest.raises(
        ConfigError, match=r"infer\.acquisition: learning_loss needs .* train\.loss_prediction"
    ) as fault:
        learning_loss(build("ceal_cnn", (1, 8, 8), 2), torch.rand(2, 1, 8, 8))
    assert "\n" not in str(fault.value)
