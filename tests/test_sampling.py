"""Several predictions of each item, in parts that keep memory bounded."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tasks.errors import ConfigError
from tasks.infer.disagreement import bald
from tasks.infer.sampling import Budget, Passes, sample_batches
from tasks.models import ceal_cnn, linear
from tasks.models.forward import log_probabilities
from tests.model_helpers import view

CLASSES = 4


@pytest.fixture
def items() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (7, 1, 8, 8)).astype(np.uint8)


def dropping(p: float = 0.5) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Dropout(p), nn.Linear(16, CLASSES))


def seeded(seed: int, *args) -> list:
    torch.manual_seed(seed)
    return list(sample_batches(*args))


def rows_per_call(passes: Passes, layer: nn.Module, batch: Tensor) -> list[int]:
    """Rows that ``layer`` is given, call by call, once the passes know how large a row is."""
    seen: list[int] = []
    with torch.inference_mode():
        list(passes.outputs(batch))
        hook = layer.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
        list(passes.outputs(batch))
    hook.remove()
    return seen


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [(1000, [42]), (12, [12, 12, 12, 6]), (6, [6] * 7), (4, [4, 2] * 7), (1, [1] * 42), (0.5, [1] * 42)],
)
def test_no_call_of_what_is_repeated_has_more_rows_than_the_budget_allows(allowed, expected) -> None:
    model, row_bytes = dropping(0.3), 16 * 4
    passes = Passes(model, 6, Budget(2**20, int(allowed * row_bytes)))
    assert rows_per_call(passes, model[3], torch.randn(7, 1, 8, 8)) == expected


@pytest.mark.parametrize(("passes", "allowed", "expected"), [(1, 3, [3, 3, 1]), (6, 4, [4, 3]), (6, 0.1, [1] * 7)])
def test_no_call_of_the_rest_has_more_items_than_the_budget_allows(passes, allowed, expected) -> None:
    model, item_bytes = dropping(), 64 * 4
    looked = Passes(model, passes, Budget(int(allowed * item_bytes), 2**20))
    assert rows_per_call(looked, model[1], torch.randn(7, 1, 8, 8)) == expected


def test_the_largest_value_counts_even_where_it_lies_behind_the_first_dropout() -> None:
    model = nn.Sequential(nn.Dropout(0.3), nn.Linear(4, 1000), nn.Linear(1000, 2))
    passes = Passes(model, 8, Budget(2**20, 3 * 4000))
    assert rows_per_call(passes, model[2], torch.randn(1, 4)) == [3, 3, 2]


class Turned(nn.Module):
    """Its dropout sees the items in the second dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.last = nn.Dropout(0.5), nn.Linear(64, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.drop(x.flatten(1).t()).t())


class Sized(nn.Module):
    """Hands a number of items on to what is repeated."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.last = nn.Dropout(0.5), nn.Linear(64, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        count = x.size(0)
        return self.last(self.drop(x).view(count, 64))


@pytest.mark.parametrize("make", [dropping, Turned, Sized])
@pytest.mark.parametrize("budget", [Budget(1, 256), Budget(600, 2560), Budget(2**20, 2**28)], ids=str)
def test_the_passes_average_to_the_network_without_dropout_where_it_is_linear(make, budget) -> None:
    torch.manual_seed(0)
    model, batch = make().eval(), torch.randn(3, 1, 8, 8)
    total, count = torch.zeros(3, CLASSES), torch.zeros(3, 1)
    with torch.inference_mode():
        for start, outputs in Passes(model, 500, budget).outputs(batch):
            here = slice(start, start + outputs.shape[1])
            total[here] += outputs.sum(dim=0)
            count[here] += len(outputs)
        assert count.tolist() == [[500.0]] * 3
        torch.testing.assert_close(total / count, model(batch), rtol=0, atol=0.25)


def test_one_pass_of_one_model_is_its_prediction_without_dropout(items) -> None:
    model, rows = dropping(), np.array([5, 0, 3])
    ((start, samples),) = sample_batches([model], items, rows, view(), 1, 10)
    expected = np.exp(log_probabilities(model, items[rows], view()).astype(np.float64))
    assert (start, samples.count) == (0, 1)
    np.testing.assert_allclose(samples.mean, expected, rtol=1e-6)
    assert samples.std.max() == 0


def test_the_members_of_an_ensemble_are_predictions_of_equal_weight(items) -> None:
    models = [linear.build((1, 8, 8), CLASSES) for _ in range(3)]
    ((_, samples),) = sample_batches(models, items, np.arange(7), view(), 1, 10)
    p = np.exp([log_probabilities(model, items, view()).astype(np.float64) for model in models])
    assert samples.count == 3
    np.testing.assert_allclose(samples.mean, p.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(samples.std, p.std(axis=0), rtol=1e-5, atol=1e-9)


def test_members_and_passes_multiply(items) -> None:
    batches = list(sample_batches([dropping(), dropping()], items, np.arange(7), view(), 5, 3))
    assert [start for start, _ in batches] == [0, 3, 6]
    assert [len(samples.mean) for _, samples in batches] == [3, 3, 1]
    assert all(samples.count == 10 and (samples.votes.sum(axis=1) == 10).all() for _, samples in batches)
    assert all((bald(samples) > 0).all() for _, samples in batches)


def test_equal_seeds_give_equal_samples_and_others_do_not(items) -> None:
    args = ([ceal_cnn.build((1, 8, 8), CLASSES)], items, np.arange(7), view(), 6, 4)
    ((_, first), *_), ((_, again), *_), ((_, other), *_) = (seeded(seed, *args) for seed in (1, 1, 2))
    assert np.array_equal(first.mean, again.mean)
    assert np.array_equal(first.std, again.std)
    assert not np.array_equal(first.mean, other.mean)


def test_no_rows_no_batches(items) -> None:
    assert list(sample_batches([dropping()], items, np.arange(0), view(), 5, 3)) == []


@pytest.mark.parametrize("passes", [1, 3])
def test_models_are_left_in_their_modes(items, passes) -> None:
    model = dropping().train()
    model[1].eval()
    modes = [module.training for module in model.modules()]
    for _ in sample_batches([model], items, np.arange(7), view(), passes, 3):
        assert [module.training for module in model.modules()] == modes


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_passes_of_a_convolutional_network_agree_with_repeats_of_the_whole(items, precision) -> None:
    model, shown = ceal_cnn.build((1, 8, 8), CLASSES), view(precision=precision)
    shown.placed(model)
    ((_, samples),) = seeded(0, [model], items, np.arange(7), shown, 800, 10)
    for module in model.modules():
        module.training = type(module).__name__ == "HalfDropout"
    batch = shown.laid_out(shown.normalised(torch.from_numpy(items)))
    with torch.inference_mode(), shown.autocast():
        p = torch.stack([torch.softmax(model(batch).float(), dim=1) for _ in range(800)]).numpy()
    np.testing.assert_allclose(samples.mean, p.mean(axis=0), atol=0.02)
    np.testing.assert_allclose(samples.std, p.std(axis=0), atol=0.02)


def test_several_passes_without_dropout_are_refused_with_a_way_out(items) -> None:
    with pytest.raises(ConfigError, match=r"infer\.passes: the model \w+ has no dropout.*train\.members") as refusal:
        list(sample_batches([linear.build((1, 8, 8), CLASSES)], items, np.arange(7), view(), 2, 10))
    assert "\n" not in str(refusal.value)
