"""One forward pass over items."""

import numpy as np
import pytest
import torch
from torch import nn

from tasks.errors import ConfigError
from tasks.infer.scoring import score_items
from tasks.models import ceal_cnn
from tasks.models.forward import predict
from tests.model_helpers import examples, view


def telling(probabilities: list[float], *layers: nn.Module) -> nn.Module:
    """A network that says these probabilities of every item, whatever its dropout; 0 is exactly 0 in float32."""
    last = nn.Linear(64, len(probabilities))
    nn.init.zeros_(last.weight)
    with torch.no_grad():
        last.bias.copy_(torch.tensor(probabilities).log().clamp(min=-1000))
    return nn.Sequential(nn.Flatten(), *layers, last)


@pytest.fixture
def model() -> nn.Module:
    """An untrained network for 8x8 images, in training mode."""
    torch.manual_seed(0)
    return ceal_cnn.build((1, 8, 8), 2)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_rows_are_float32_log_probabilities(model, precision) -> None:
    scores = predict(model, examples().items, view(precision=precision))
    assert scores.dtype == np.float32
    assert np.exp(scores).sum(axis=1) == pytest.approx(np.ones(40), abs=1e-5)


def test_values_are_those_of_the_plain_network_without_dropout(model) -> None:
    items = examples().items
    scores = predict(model, items, view())
    with torch.no_grad():
        plain = model.eval()((torch.from_numpy(items) / 255 - 0.4) / 0.3).log_softmax(1)
    assert scores == pytest.approx(plain.numpy(), abs=1e-5)


@pytest.mark.parametrize("batch_size", [1, 7, 39, 40, 1000])
def test_batch_size_does_not_change_scores(model, batch_size) -> None:
    items = examples().items
    whole = predict(model, items, view())
    assert predict(model, items, view(), batch_size) == pytest.approx(whole, abs=1e-5)


def test_mapped_file_reads_like_memory(model, tmp_path) -> None:
    items = examples().items
    np.save(tmp_path / "items.npy", items)
    mapped = np.load(tmp_path / "items.npy", mmap_mode="r")
    assert (predict(model, mapped, view()) == predict(model, items, view())).all()


def test_scores_follow_the_rows_asked_for(model) -> None:
    items = examples().items
    everything = score_items([model], view(), items, np.arange(40), "entropy", 16)
    some = score_items([model], view(), items, np.array([30, 2, 17]), "entropy", 16)
    assert some.score == pytest.approx(everything.score[[30, 2, 17]], abs=1e-5)
    assert (some.proposal == everything.proposal[[30, 2, 17]]).all()
    assert ((some.certainty >= 0.5) & (some.certainty <= 1)).all()


def test_no_rows_give_empty_scores(model) -> None:
    scored = score_items([model], view(), examples().items, np.array([], dtype=np.int64), "entropy", 16)
    assert len(scored.score) == len(scored.proposal) == len(scored.certainty) == 0


def test_half_precision_on_a_cpu_is_refused(model) -> None:
    with pytest.raises(ConfigError, match="fp16 needs a GPU"):
        predict(model, examples().items, view(precision="fp16"))


@pytest.mark.parametrize(
    ("acquisition", "doubtful"),
    [("entropy", -0.6 * np.log(0.6) - 0.4 * np.log(0.4)), ("margin", 0.8), ("least_confidence", 0.4)],
)
def test_classes_of_mean_probability_zero_add_nothing(acquisition, doubtful) -> None:
    mean = [0.6, 0.4, 0.0]
    cases = [
        ([telling(mean, nn.Dropout())], 3, doubtful, 0.6),
        ([telling([0.8, 0.2, 0.0]), telling([0.4, 0.6, 0.0])], 1, doubtful, 0.6),
        ([telling([1.0, 0.0, 0.0], nn.Dropout())], 3, 0.0, 1.0),
    ]
    for models, passes, score, confidence in cases:
        scored = score_items(models, view(), examples(4).items, np.arange(4), acquisition, 3, passes)
        assert scored.score == pytest.approx([score] * 4, abs=1e-6)
        assert scored.certainty == pytest.approx([confidence] * 4, abs=1e-6)
        assert scored.proposal.tolist() == [0] * 4


@pytest.mark.parametrize("acquisition", ["entropy", "margin", "least_confidence"])
def test_a_mean_that_is_sure_of_one_class_has_the_score_zero(acquisition) -> None:
    models = [telling([1.0, 0.0, 0.0]), telling([1.0, 0.0, 0.0])]
    scored = score_items(models, view(), examples(4).items, np.arange(4), acquisition, 3)
    assert scored.score.tolist() == [0.0] * 4
