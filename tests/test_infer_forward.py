"""One forward pass over items."""

import numpy as np
import pytest
import torch
from torch import nn

from tasks.errors import ConfigError
from tasks.infer.scoring import score_items
from tasks.models import ceal_cnn
from tasks.models.forward import log_probabilities
from tests.model_helpers import examples, view


@pytest.fixture
def model() -> nn.Module:
    """An untrained network for 8x8 images, in training mode."""
    torch.manual_seed(0)
    return ceal_cnn.build((1, 8, 8), 2)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_rows_are_float32_log_probabilities(model, precision) -> None:
    scores = log_probabilities(model, examples().items, view(precision=precision))
    assert scores.dtype == np.float32
    assert np.exp(scores).sum(axis=1) == pytest.approx(np.ones(40), abs=1e-5)


def test_values_are_those_of_the_plain_network_without_dropout(model) -> None:
    items = examples().items
    scores = log_probabilities(model, items, view())
    with torch.no_grad():
        plain = model.eval()((torch.from_numpy(items) / 255 - 0.4) / 0.3).log_softmax(1)
    assert scores == pytest.approx(plain.numpy(), abs=1e-5)


@pytest.mark.parametrize("batch_size", [1, 7, 39, 40, 1000])
def test_batch_size_does_not_change_scores(model, batch_size) -> None:
    items = examples().items
    whole = log_probabilities(model, items, view())
    assert log_probabilities(model, items, view(), batch_size) == pytest.approx(whole, abs=1e-5)


def test_mapped_file_reads_like_memory(model, tmp_path) -> None:
    items = examples().items
    np.save(tmp_path / "items.npy", items)
    mapped = np.load(tmp_path / "items.npy", mmap_mode="r")
    assert (log_probabilities(model, mapped, view()) == log_probabilities(model, items, view())).all()


def test_scores_follow_the_rows_asked_for(model) -> None:
    items = examples().items
    everything = score_items([model], view(), items, np.arange(40), "entropy", 16)
    some = score_items([model], view(), items, np.array([30, 2, 17]), "entropy", 16)
    assert some.score == pytest.approx(everything.score[[30, 2, 17]], abs=1e-5)
    assert (some.proposal == everything.proposal[[30, 2, 17]]).all()
    assert ((some.confidence >= 0.5) & (some.confidence <= 1)).all()


def test_no_rows_give_empty_scores(model) -> None:
    scored = score_items([model], view(), examples().items, np.array([], dtype=np.int64), "entropy", 16)
    assert len(scored.score) == len(scored.proposal) == len(scored.confidence) == 0


def test_half_precision_on_a_cpu_is_refused(model) -> None:
    with pytest.raises(ConfigError, match="fp16 needs a GPU"):
        log_probabilities(model, examples().items, view(precision="fp16"))
