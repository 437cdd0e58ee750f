"""Aggregation over the parts of items, and how firmly boxes are placed, against loops and other libraries."""

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn
from torchvision.ops import box_iou

from tasks.errors import ConfigError, DataError
from tasks.infer.disagreement import bald, predictive_entropy
from tasks.infer.parts import AGGREGATIONS, aggregate, localisation_spread, matches, of_parts, overlaps
from tasks.infer.samples import Accumulator, Samples
from tasks.infer.uncertainty import entropy, least_confidence, margin

SLOW = {"mean": lambda parts: math.fsum(parts) / len(parts), "max": max, "sum": math.fsum}

finite = st.floats(-1e6, 1e6)
ragged = st.lists(st.lists(finite, max_size=40), max_size=12)
hows = st.sampled_from(sorted(AGGREGATIONS))


def flat(items: list[list[float]]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """The parts of all items in one array, and how many each item has."""
    return np.array([part for item in items for part in item]), np.array([len(item) for item in items], np.int64)


@given(ragged, hows, st.sampled_from([0.0, -3.0, math.inf]))
def test_items_score_as_in_a_loop_over_their_parts(items: list[list[float]], how: str, empty: float) -> None:
    scores = aggregate(*flat(items), how, empty)
    expected = [SLOW[how](parts) if parts else empty for parts in items]
    # Rounding is relative to the largest addend: the sum may cancel.
    assert scores.tolist() == pytest.approx(expected, rel=1e-12, abs=1e-8)
    assert scores.dtype == np.float64


@given(ragged, hows)
def test_an_item_scores_the_same_alone_to_the_last_digit(items: list[list[float]], how: str) -> None:
    alone = [aggregate(*flat([parts]), how)[0] for parts in items]
    assert aggregate(*flat(items), how).tolist() == alone


@given(ragged, st.randoms(use_true_random=False), hows)
def test_the_order_of_parts_and_of_items_does_not_matter(items: list[list[float]], shuffle, how: str) -> None:
    order = list(range(len(items)))
    shuffle.shuffle(order)
    mixed = [shuffle.sample(items[item], len(items[item])) for item in order]
    plain, other = aggregate(*flat(items), how), aggregate(*flat(mixed), how)
    np.testing.assert_allclose(other, plain[order], rtol=1e-12, atol=0 if how == "max" else 1e-8)


@given(ragged, hows, st.data())
def test_a_part_without_a_score_leaves_its_item_alone_without_one(
    items: list[list[float]], how: str, data: st.DataObject
) -> None:
    items = [*items, [1.0]]
    scores, counts = flat(items)
    lost = data.draw(st.integers(0, len(scores) - 1))
    item = int(np.searchsorted(np.cumsum(counts), lost, side="right"))
    expected = aggregate(scores, counts, how)
    expected[item] = np.nan
    scores[lost] = np.nan
    np.testing.assert_array_equal(aggregate(scores, counts, how), expected)


@pytest.mark.parametrize("how", AGGREGATIONS)
def test_items_without_parts_take_the_value_given_wherever_they_stand(how: str) -> None:
    counts = np.array([0, 0, 2, 0, 1, 0, 0])
    scores = aggregate(np.array([2.0, 2.0, 7.0]), counts, how, empty=-1.0)
    assert scores[counts == 0].tolist() == [-1.0] * 5
    assert scores[[2, 4]].tolist() == [4.0 if how == "sum" else 2.0, 7.0]
    assert aggregate(np.zeros(0), np.zeros(3, np.int64), how).tolist() == [0.0] * 3
    assert aggregate(np.zeros(0), np.zeros(0, np.int64), how).shape == (0,)


@pytest.mark.parametrize("counts", [[1, 1], [4], [-1, 4], []])
def test_counts_that_do_not_fit_are_refused(counts: list[int]) -> None:
    with pytest.raises(DataError, match="3 parts"):
        aggregate(np.ones(3), np.array(counts, np.int64), "mean")


def test_unknown_aggregations_are_refused_before_anything_is_scored() -> None:
    with pytest.raises(ConfigError, match="'median'; choose from mean, max, sum"):
        of_parts(entropy, "median")


@pytest.fixture
def logs() -> npt.NDArray[np.float32]:
    """Log-probabilities of 9 passes, 12 parts and 4 classes."""
    logits = torch.randn(9, 12, 4, generator=torch.Generator().manual_seed(0)) * 3
    return torch.log_softmax(logits, dim=2).numpy()


COUNTS = np.array([3, 0, 5, 4])
PARTS = [range(0, 3), range(0), range(3, 8), range(8, 12)]


@pytest.mark.parametrize("how", AGGREGATIONS)
@pytest.mark.parametrize("acquisition", [entropy, margin, least_confidence])
def test_one_distribution_a_part_is_scored_part_by_part(acquisition, how: str, logs) -> None:
    scores = of_parts(acquisition, how)(logs[0], COUNTS)
    slow = [[acquisition(logs[0, part : part + 1])[0] for part in parts] for parts in PARTS]
    assert scores.tolist() == pytest.approx([SLOW[how](parts) if parts else 0.0 for parts in slow])


@pytest.mark.parametrize("how", AGGREGATIONS)
@pytest.mark.parametrize("acquisition", [bald, predictive_entropy])
def test_several_predictions_of_the_parts_are_scored_part_by_part(acquisition, how: str, logs) -> None:
    scores = of_parts(acquisition, how)(samples(logs), COUNTS)
    slow = [[acquisition(samples(logs[:, part : part + 1]))[0] for part in parts] for parts in PARTS]
    assert scores.tolist() == pytest.approx([SLOW[how](parts) if parts else 0.0 for parts in slow])


def samples(logs: npt.NDArray[np.float32]) -> Samples:
    accumulator = Accumulator(logs.shape[1], logs.shape[2], torch.device("cpu"))
    accumulator.add(torch.from_numpy(logs))
    return accumulator.samples()


def sets_of_boxes(most: int) -> st.SearchStrategy[npt.NDArray[np.float64]]:
    """Up to ``most`` boxes on a coarse grid, so that they meet, touch, coincide and have no area."""
    corners = stn.arrays(np.float64, st.tuples(st.integers(0, most), st.just(4)), elements=st.integers(0, 6).map(float))
    return corners.map(
        lambda boxes: np.hstack([np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])])
    )


@given(sets_of_boxes(8), sets_of_boxes(8))
def test_overlaps_are_those_of_another_library(first, second) -> None:
    expected = box_iou(torch.from_numpy(first), torch.from_numpy(second)).numpy()
    # Two boxes without area have no union: NaN there, 0 here.
    np.testing.assert_allclose(overlaps(first, second), np.nan_to_num(expected), rtol=1e-12)


@given(sets_of_boxes(4), sets_of_boxes(4), st.sampled_from([0.1, 0.5, 1.0]))
def test_matches_are_the_best_of_all_assignments(reference, found, threshold: float) -> None:
    taken = matches(reference, found, threshold)
    shared = overlaps(reference, found)
    hit = np.flatnonzero(taken >= 0)
    assert len(set(taken[hit].tolist())) == len(hit)
    assert (shared[hit, taken[hit]] >= threshold).all()
    valid = np.where(shared >= threshold, shared, 0.0)
    padded = np.hstack([valid, np.zeros((len(reference), len(reference)))])
    best = max(
        sum(padded[row, column] for row, column in enumerate(columns))
        for columns in itertools.permutations(range(padded.shape[1]), len(reference))
    )
    assert shared[hit, taken[hit]].sum() == pytest.approx(best)


def test_the_first_box_does_not_take_what_the_second_needs() -> None:
    # Box 0 overlaps most with what is the only match of box 1.
    reference = np.array([[0.0, 0, 10, 10], [0, 0, 10, 18]])
    found = np.array([[0.0, 0, 10, 11], [0, 0, 10, 9]])
    assert matches(reference, found, 0.6).tolist() == [1, 0]


@pytest.mark.parametrize("threshold", [0.0, 1.5, math.nan])
def test_thresholds_that_no_overlap_can_have_are_refused(threshold: float) -> None:
    with pytest.raises(ConfigError, match="overlap"):
        matches(np.zeros((1, 4)), np.zeros((1, 4)), threshold)


REFERENCE = np.array([[10.0, 10, 50, 30], [60, 60, 80, 90], [0, 80, 10, 90]])


def test_equal_passes_have_exactly_no_spread() -> None:
    reference = REFERENCE + 0.1
    result = localisation_spread(reference, [reference[::-1].copy() for _ in range(3)])
    assert result.spread.tolist() == [0.0] * 3
    assert result.found.tolist() == [1.0] * 3


def test_the_spread_is_that_of_the_coordinates_in_widths_and_heights() -> None:
    moves = np.random.default_rng(0).normal(size=(7, 3, 4)) * 0.3
    passes = [REFERENCE + move for move in moves]
    expected = [
        np.mean([np.std(moves[:, row, side]) / (box[2 + side % 2] - box[side % 2]) for side in range(4)])
        for row, box in enumerate(REFERENCE)
    ]
    np.testing.assert_allclose(localisation_spread(REFERENCE, passes).spread, expected, rtol=1e-12)
    scaled = localisation_spread(REFERENCE * 640, [boxes * 640 for boxes in passes])
    np.testing.assert_allclose(scaled.spread, expected, rtol=1e-12)


def test_boxes_that_passes_miss_are_found_less_often_and_others_do_not_disturb() -> None:
    stranger = np.array([[200.0, 200, 240, 240]])
    passes = [REFERENCE[[0, 1]], np.vstack([stranger, REFERENCE[[0]] + 1]), stranger, np.zeros((0, 4))]
    result = localisation_spread(REFERENCE, passes)
    assert result.found.tolist() == [0.5, 0.25, 0.0]
    # Half a unit either way in four coordinates: 0.5/40, 0.5/20, 0.5/40, 0.5/20.
    assert result.spread[0] == pytest.approx((0.5 / 40 + 0.5 / 20) / 2)
    assert result.spread[1] == 0.0
    assert np.isnan(result.spread[2])


def test_without_boxes_or_passes_nothing_is_measured() -> None:
    none = localisation_spread(np.zeros((0, 4)), [REFERENCE])
    assert none.spread.shape == none.found.shape == (0,)
    unseen = localisation_spread(REFERENCE, [])
    assert np.isnan(unseen.spread).all()
    assert unseen.found.tolist() == [0.0] * 3


def test_boxes_that_are_not_numbers_are_not_found() -> None:
    result = localisation_spread(REFERENCE, [np.full((2, 4), np.nan), REFERENCE])
    assert result.found.tolist() == [0.5] * 3
    assert np.isfinite(result.spread).all()
