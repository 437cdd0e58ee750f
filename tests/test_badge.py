from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import FrugalError
from tasks.select import badge, kmeanspp
from tasks.select.badge import Gradients
from tasks.select.choice import Candidates, Chosen, Embedded

SEED = np.random.SeedSequence(7)
RANDOM = "random, gradient among the chosen"


def candidates(count: int, seed: np.random.SeedSequence = SEED) -> Candidates:
    ids = pa.array([f"i{number:05d}" for number in range(count)], pa.string())
    return Candidates(ids, np.full(count, np.nan), seed)


def seen(count: int, classes: int, width: int, seed: int = 0) -> Embedded:
    generator = np.random.default_rng(seed)
    logits = torch.from_numpy(2 * generator.standard_normal((count, classes)))
    features = np.maximum(generator.standard_normal((count, width)), 0) + 0.1
    probabilities = torch.softmax(logits, dim=1).float().numpy()
    return Embedded(
        features.astype(np.float32), probabilities, np.empty((0, width), dtype=np.float32), torch.device("cpu")
    )


def explicit(given: Embedded) -> npt.NDArray[np.float64]:
    """The gradient embeddings that the product never makes, (n, classes * d)."""
    residuals = given.probabilities.astype(np.float64)
    residuals[np.arange(len(residuals)), residuals.argmax(axis=1)] -= 1
    outer = residuals[:, :, None] * given.unlabeled.astype(np.float64)[:, None, :]
    return outer.reshape(len(outer), -1)


def distances(embedding: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(((embedding[:, None] - embedding[None]) ** 2).sum(axis=2), dtype=np.float64)


def test_embedding_is_the_gradient_of_the_last_layer_for_the_most_probable_label() -> None:
    features, layer = torch.rand(5, 4), torch.nn.Linear(4, 3)
    logits = layer(features)
    gradients = Gradients.of(torch.softmax(logits, dim=1).detach().numpy(), features.numpy())
    for item in range(5):
        loss = torch.nn.functional.cross_entropy(logits[item], logits[item].argmax())
        (expected,) = torch.autograd.grad(loss, layer.weight, retain_graph=True)
        np.testing.assert_allclose(np.outer(gradients.residuals[item], features[item]), expected, atol=1e-6)


@pytest.mark.parametrize(("classes", "width"), [(2, 1), (3, 5), (40, 70)])
def test_factored_distances_are_those_of_the_explicit_embeddings(classes: int, width: int) -> None:
    given = seen(1100, classes, width)
    gradients, expected = Gradients.of(given.probabilities, given.unlabeled), explicit(given)
    np.testing.assert_allclose(gradients.norms, (expected**2).sum(axis=1), rtol=1e-5, atol=1e-8)
    centres = np.array([3, 1050, 400])
    differences = ((expected[:, None] - expected[centres]) ** 2).sum(axis=2)
    scale = gradients.norms.max()
    np.testing.assert_allclose(gradients.nearest(centres), differences.min(axis=1), rtol=1e-4, atol=1e-5 * scale)
    np.testing.assert_allclose(gradients.between(centres), differences[centres], rtol=1e-4, atol=1e-5 * scale)


def test_gradient_of_an_almost_certain_item_keeps_its_digits() -> None:
    sure = np.array([[1.0, 1e-9, 3e-9]], dtype=np.float32)
    residuals = Gradients.of(sure, np.ones((1, 2), dtype=np.float32)).residuals
    np.testing.assert_allclose(residuals, [[-4e-9, 1e-9, 3e-9]], rtol=1e-6)


@pytest.mark.parametrize("proposed", [1, 3, 64])
def test_batches_have_the_probabilities_of_sequential_seeding(proposed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kmeanspp, "_PROPOSED", proposed)
    given, draws = seen(6, 3, 2), 1500
    squared = distances(explicit(given))
    first = int((explicit(given) ** 2).sum(axis=1).argmax())
    outcomes = dict.fromkeys(permutations([item for item in range(6) if item != first], 2), 0)
    for entropy in range(draws):
        chosen = badge.select(candidates(6, np.random.SeedSequence(entropy)), given, 3).positions.tolist()
        assert chosen[0] == first
        outcomes[(chosen[1], chosen[2])] += 1
    expected = []
    for second, third in outcomes:
        after = np.minimum(squared[first], squared[second])
        expected.append(draws * squared[first, second] / squared[first].sum() * after[third] / after.sum())
    statistic = ((np.array(list(outcomes.values())) - expected) ** 2 / np.array(expected)).sum()
    # Chi-square with 19 degrees of freedom: 43.8 is the 0.1 % point.
    assert statistic < 43.8


def test_first_is_the_largest_gradient_and_the_seed_draws_the_others() -> None:
    given = seen(50, 4, 6)
    batches = [badge.select(candidates(50, np.random.SeedSequence(s)), given, 5).positions.tolist() for s in range(20)]
    assert {batch[0] for batch in batches} == {int((explicit(given) ** 2).sum(axis=1).argmax())}
    assert len({tuple(batch) for batch in batches}) > 10
    assert batches[3] == badge.select(candidates(50, np.random.SeedSequence(3)), given, 5).positions.tolist()


@given(st.integers(1, 150), st.integers(1, 5), st.integers(1, 4), st.integers(1, 30), st.data())
def test_batches_are_distinct_and_complete(
    count: int, classes: int, width: int, different: int, data: st.DataObject
) -> None:
    size = data.draw(st.integers(0, count))
    several = seen(different, classes, width)
    rows = np.arange(count) % different
    given = replace(several, unlabeled=several.unlabeled[rows], probabilities=several.probabilities[rows])
    chosen = badge.select(candidates(count), given, size)
    assert len(np.unique(chosen.positions)) == size == len(chosen.origins)
    drawn = chosen.origins.count("badge")
    assert chosen.origins == ["badge"] * drawn + [RANDOM] * (size - drawn)
    # Equal items are at distance 0, so each gradient is drawn once at most.
    assert len(np.unique(rows[chosen.positions[:drawn]])) == drawn <= different


@given(st.integers(1, 60), st.randoms(use_true_random=False), st.data())
def test_the_order_of_rows_does_not_matter(count: int, shuffle: Any, data: st.DataObject) -> None:
    size = data.draw(st.integers(0, count))
    rows = list(range(count))
    shuffle.shuffle(rows)
    plain, given = candidates(count), seen(count, 3, 4)
    mixed = replace(plain, ids=plain.ids.take(pa.array(rows, pa.int64())))
    again = replace(given, unlabeled=given.unlabeled[rows], probabilities=given.probabilities[rows])
    first = plain.ids.take(badge.select(plain, given, size).positions)
    second = mixed.ids.take(badge.select(mixed, again, size).positions)
    assert first.to_pylist() == second.to_pylist()


def all_random(chosen: Chosen, size: int) -> bool:
    return chosen.origins == [RANDOM] * size and len(np.unique(chosen.positions)) == size


def test_certain_items_and_a_single_class_have_no_gradient_and_are_drawn_at_random() -> None:
    features = seen(30, 3, 4).unlabeled
    nothing = np.empty((0, 4), dtype=np.float32)
    for probabilities in (np.eye(3)[np.arange(30) % 3], np.ones((30, 1))):
        given = Embedded(features, probabilities.astype(np.float32), nothing, torch.device("cpu"))
        assert all_random(badge.select(candidates(30), given, 7), 7)
        batches = {
            tuple(badge.select(candidates(30, np.random.SeedSequence(s)), given, 2).positions.tolist())
            for s in range(20)
        }
        assert len(batches) > 10


def test_items_that_are_all_alike_are_drawn_at_random_after_the_first() -> None:
    one = seen(1, 10, 300)
    given = replace(one, unlabeled=one.unlabeled.repeat(3000, 0), probabilities=one.probabilities.repeat(3000, 0))
    chosen = badge.select(candidates(3000), given, 40)
    assert chosen.origins == ["badge"] + [RANDOM] * 39
    assert chosen.positions[0] == 0
    assert len(np.unique(chosen.positions)) == 40


def test_far_groups_are_all_represented() -> None:
    generator = np.random.default_rng(0)
    centres = 1000 * np.eye(8, dtype=np.float32)
    group = np.repeat(np.arange(8), 40)
    features = centres[group] + generator.random((320, 8), dtype=np.float32)
    given = Embedded(features, np.full((320, 2), 0.5, dtype=np.float32), features[:0], torch.device("cpu"))
    chosen = badge.select(candidates(320), given, 8).positions
    assert sorted(group[chosen].tolist()) == list(range(8))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_the_first_item_that_is_not_finite_is_named(bad: float) -> None:
    given = seen(5, 3, 4)
    given.unlabeled[3, 1] = given.unlabeled[2, 0] = bad
    with pytest.raises(FrugalError, match="item 'i00002' are not finite, or too large"):
        badge.select(candidates(5), given, 2)
    given = seen(5, 3, 4)
    given.probabilities[4, 1] = np.nan
    with pytest.raises(FrugalError, match="item 'i00004' are not finite"):
        badge.select(candidates(5), given, 2)


def test_arguments_are_left_as_they_were() -> None:
    given = seen(40, 3, 4)
    features, probabilities = given.unlabeled.copy(), given.probabilities.copy()
    badge.select(candidates(40), given, 10)
    assert (given.unlabeled == features).all()
    assert (given.probabilities == probabilities).all()
