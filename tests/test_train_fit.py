"""The training loop."""

import hashlib
import math
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from tasks import progress
from tasks.config_train import LossPredictionConfig, TrainConfig
from tasks.errors import ConfigError, FrugalError
from tasks.models import ceal_cnn, linear, resnet18
from tasks.models.forward import predict
from tasks.models.loss_prediction import LossPredicting, margin_loss
from tasks.models.taps import Taps, tapped
from tasks.task_type import class_scores
from tasks.train import fit as fitting
from tasks.train.examples import Examples
from tasks.train.fit import check_batches, fit
from tasks.train.joint import objective
from tasks.train.schedule import learning_rate
from tests.model_helpers import examples, quick, view

LINEAR = partial(linear.build, (1, 8, 8), 2)
CNN = partial(ceal_cnn.build, (1, 8, 8), 2)


def weights(model: nn.Module) -> bytes:
    """All of a model's state as bytes."""
    return b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_every_optimizer_learns(optimizer) -> None:
    model, history = fit(LINEAR, examples(), None, quick(optimizer=optimizer, epochs=5), view(), 0)
    assert history[-1]["loss"] < history[0]["loss"] / 2
    assert not model.training


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("channels_last", [True, False])
def test_every_precision_and_layout_learns(precision, channels_last) -> None:
    how = view(precision=precision, channels_last=channels_last)
    _, history = fit(CNN, examples(), None, quick(precision=precision, epochs=8), how, 0)
    assert history[-1]["loss"] < 0.4


def test_equal_arguments_give_equal_bytes_and_another_seed_gives_others() -> None:
    settings = quick(augment={"flip": True, "crop": 1, "brightness": 0.1})
    first, again, other = (fit(CNN, examples(), None, settings, view(), seed) for seed in (1, 1, 2))
    assert weights(first[0]) == weights(again[0])
    assert first[1] == again[1]
    assert weights(first[0]) != weights(other[0])


def fitted_digest() -> str:
    """SHA-256 of the weights of a short training."""
    model, _ = fit(CNN, examples(), None, quick(precision="bf16"), view(precision="bf16"), 1)
    return hashlib.sha256(weights(model)).hexdigest()


def test_another_process_gives_the_same_bytes() -> None:
    script = "from tests.test_train_fit import fitted_digest; print(fitted_digest())"
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == fitted_digest()


def test_training_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    fit(CNN, examples(), None, quick(), view(), 0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("count", [2, 9, 15])
def test_no_batch_of_one_item_reaches_batch_normalisation(count) -> None:
    build = partial(resnet18.build, (1, 8, 8), 2)
    _, history = fit(build, examples(count), None, quick(epochs=1), view(), 0)
    assert math.isfinite(history[0]["loss"])


@pytest.mark.parametrize(("count", "batch_size"), [(1, 8), (9, 1)])
def test_batch_normalisation_with_single_items_is_refused(count, batch_size) -> None:
    build = partial(resnet18.build, (1, 8, 8), 2)
    with pytest.raises(ConfigError, match=r"train\.batch_size"):
        fit(build, examples(count), None, quick(batch_size=batch_size), view(), 0)


@pytest.mark.parametrize(("count", "batch_size"), [(1, 8), (9, 1)])
def test_single_items_are_refused_before_any_weight_is_made(count, batch_size) -> None:
    with torch.device("meta"):
        normalised, plain = resnet18.build((1, 8, 8), 2), CNN()
    check_batches(plain, count, batch_size)
    check_batches(normalised, 2, 2)
    with pytest.raises(ConfigError, match=r"train\.batch_size"):
        check_batches(normalised, count, batch_size)


@pytest.mark.parametrize(("count", "batch_size"), [(1, 8), (3, 1)])
def test_single_items_train_a_model_without_batch_normalisation(count, batch_size) -> None:
    fit(LINEAR, examples(count), None, quick(batch_size=batch_size), view(), 0)


def test_every_item_is_met_once_an_epoch(monkeypatch) -> None:
    seen: list[int] = []
    batches = fitting._batches

    def spy(order, batch_size):
        found = batches(order, batch_size)
        seen.append(sorted(torch.cat(found).tolist()))
        return found

    monkeypatch.setattr(fitting, "_batches", spy)
    fit(LINEAR, examples(17), None, quick(epochs=2), view(), 0)
    assert seen == [list(range(17))] * 3


def test_read_only_items_train_without_a_warning() -> None:
    items, labels = examples().items, examples().labels
    items.setflags(write=False)
    fit(LINEAR, Examples(items, labels), None, quick(), view(), 0)


def test_divergence_stops_with_epoch_and_learning_rate() -> None:
    with pytest.raises(
        FrugalError,
        match=r"diverged in epoch \d+ at a learning rate of 1e\+38$",
    ):
        fit(LINEAR, examples(), None, quick(optimizer="sgd", lr=1e38), view(), 0)


def test_divergence_seen_only_in_validation_stops_too(monkeypatch) -> None:
    monkeypatch.setattr(class_scores, "nll", lambda scores, labels: math.nan)
    with pytest.raises(FrugalError, match="diverged in epoch 1"):
        fit(LINEAR, examples(), examples(10), quick(), view(), 0)


def test_history_holds_no_times() -> None:
    _, history = fit(LINEAR, examples(), examples(10), quick(epochs=2), view(), 0)
    assert [list(record) for record in history] == [
        ["epoch", "loss", "lr", "validation_loss", "validation_accuracy"]
    ] * 2


def test_best_epoch_by_validation_loss_is_kept() -> None:
    # Wrong validation labels: the loss on them is lowest after the first epoch.
    wrong = Examples(examples().items, 1 - examples().labels)
    kept, history = fit(LINEAR, examples(), wrong, quick(epochs=4), view(), 0)
    first, _ = fit(LINEAR, examples(), None, quick(epochs=1), view(), 0)
    assert len(history) == 4
    assert weights(kept) == weights(first)


def test_patience_stops_early() -> None:
    wrong = Examples(examples().items, 1 - examples().labels)
    settings = quick(epochs=50, validation=0.2, patience=2)
    _, history = fit(LINEAR, examples(), wrong, settings, view(), 0)
    assert len(history) == 3


def test_label_smoothing_keeps_the_model_less_sure() -> None:
    losses = [
        fit(LINEAR, examples(), None, quick(epochs=10, label_smoothing=smoothing), view(), 0)[1][-1]["loss"]
        for smoothing in (0.0, 0.2)
    ]
    assert losses[0] < 0.1 < losses[1]


def test_progress_counts_record_epochs() -> None:
    class Counter(progress.Silent):
        done = 0

        def start(self, label: str, total: int) -> None:
            self.announced = (label, total)

        def advance(self, units: int, note: str = "") -> None:
            self.done += units

    counter = Counter()
    with progress.shown_by(counter):
        fit(LINEAR, examples(17), None, quick(epochs=2), view(), 0)
    assert counter.announced == ("TRAIN", 34)
    assert counter.done == 34


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", [1, 1, 1, 1]),
        ("step", [1, 1, 0.5, 0.25]),
        ("cosine", [1, (1 + math.cos(0.3 * math.pi)) / 2, (1 + math.cos(0.6 * math.pi)) / 2, 0.0244717]),
        ("one_cycle", [0.04, 1, (1 + math.cos(3 / 7 * math.pi)) / 2, 0.0495156]),
    ],
)
def test_learning_rate_follows_the_schedule(schedule, rates) -> None:
    settings = TrainConfig(lr=1.0, schedule=schedule, step_at=(0.5, 0.8), step_factor=0.5)
    assert [learning_rate(settings, done) for done in (0, 0.3, 0.6, 0.9)] == pytest.approx(rates, abs=1e-6)


def test_one_cycle_has_no_jump() -> None:
    settings = TrainConfig(lr=1.0, schedule="one_cycle")
    rates = np.array([learning_rate(settings, done) for done in np.arange(0, 1, 0.001)])
    assert np.abs(np.diff(rates)).max() < 0.01
    assert rates.argmax() == 300


def predicting() -> nn.Module:
    """A network without anything random that predicts its losses from its hidden layer."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 2))
    return LossPredicting(tapped(network, Taps(head="3", stages=("2",))), (1, 8, 8))


def test_predicting_losses_is_learnt_and_recorded_beside_the_loss() -> None:
    settings = quick(epochs=12, loss_prediction={})
    model, history = fit(predicting, examples(), None, settings, view(), 0)
    assert [list(record) for record in history] == [["epoch", "loss", "loss_prediction", "lr"]] * 12
    assert history[-1]["loss"] < history[0]["loss"] / 2
    assert history[-1]["loss_prediction"] < history[0]["loss_prediction"]
    assert weights(model) == weights(fit(predicting, examples(), None, settings, view(), 0)[0])


def test_recorded_loss_is_the_cross_entropy_alone() -> None:
    still = quick(epochs=1, optimizer="sgd", lr=1e-30, loss_prediction={"weight": 7.0})
    model, [record] = fit(predicting, examples(), None, still, view(), 0)
    scores = predict(model, examples().items, view())
    assert record["loss"] == pytest.approx(class_scores.nll(scores, examples().labels), rel=1e-5)


def test_head_learns_at_the_rate_of_the_schedule() -> None:
    # From the second step on there is no learning rate worth the name.
    settings = quick(epochs=2, batch_size=64, optimizer="sgd", lr=0.1, schedule="step", step_at=(0.4,))
    settings = settings.model_copy(update={"step_factor": 1e-30, "loss_prediction": LossPredictionConfig()})
    one = fit(predicting, examples(), None, settings.model_copy(update={"epochs": 1}), view(), 0)[0]
    assert weights(fit(predicting, examples(), None, settings, view(), 0)[0]) == weights(one)
    assert weights(one) != weights(fitting.untrained(predicting, view(), 0))


@pytest.mark.parametrize(("share", "detached"), [(0.6, [0, 0, 0, 1, 1]), (0.0, [1] * 5), (1.0, [0] * 5)])
def test_head_no_longer_shapes_the_network_after_a_share_of_the_epochs(monkeypatch, share, detached) -> None:
    seen: list[int] = []
    joint = LossPredicting.joint

    def spy(self, x, detach):
        seen.append(int(detach))
        return joint(self, x, detach)

    monkeypatch.setattr(LossPredicting, "joint", spy)
    settings = quick(epochs=5, batch_size=64, loss_prediction={"detach_at": share})
    fit(predicting, examples(), None, settings, view(), 0)
    assert seen == detached


def test_weight_and_margin_reach_the_sum() -> None:
    model = predicting()
    settings = quick(label_smoothing=0.1, loss_prediction={"weight": 3.0, "margin": 2.0})
    batch, labels = torch.rand(6, 1, 8, 8), torch.tensor([0, 1, 0, 0, 1, 1])
    total, parts = objective(model, settings, view().task)(batch, labels, 0.0)
    logits, predicted = model.joint(batch, detach=False)
    each = nn.functional.cross_entropy(logits, labels, label_smoothing=0.1, reduction="none")
    expected = torch.stack([each.mean(), margin_loss(predicted, each, 2.0)])
    torch.testing.assert_close(parts, expected.detach())
    torch.testing.assert_close(total, expected[0] + 3 * expected[1])


def test_divergence_of_the_predicted_losses_stops_too() -> None:
    with pytest.raises(FrugalError, match="diverged in epoch 1"):
        fit(predicting, examples(), None, quick(loss_prediction={"margin": 1e39}), view(), 0)


@pytest.mark.parametrize(("count", "batch_size"), [(1, 8), (3, 1), (9, 4)])
def test_batches_without_a_partner_for_each_item_train_a_head(count, batch_size) -> None:
    settings = quick(batch_size=batch_size, loss_prediction={})
    _, history = fit(predicting, examples(count), None, settings, view(), 0)
    assert math.isfinite(history[-1]["loss_prediction"])


def test_weights_of_the_best_epoch_include_the_head() -> None:
    wrong = Examples(examples().items, 1 - examples().labels)
    settings = quick(epochs=4, loss_prediction={"detach_at": 1.0})
    kept, _ = fit(predicting, examples(), wrong, settings, view(), 0)
    first, _ = fit(predicting, examples(), None, settings.model_copy(update={"epochs": 1}), view(), 0)
    assert weights(kept) == weights(first)
