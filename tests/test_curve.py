"""The fitted learning curve: against known parameters, a general optimiser, and simulated noise."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares

from tasks.policy import curve

LABELS = (100, 200, 300, 500, 800, 1000)
Points = list[tuple[int, float]]


def points_of(a: float, b: float, c: float, labels: tuple[int, ...] = LABELS) -> Points:
    return [(count, a - b * count**-c) for count in labels]


def noisy(seed: int, rounds: int = 6) -> Points:
    random = np.random.default_rng(seed)
    truth = points_of(0.97, 1.5, 0.45, tuple(200 * number for number in range(1, rounds + 1)))
    return [(count, float(np.clip(value + random.normal(0, 0.01), 0, 1))) for count, value in truth]


#: Any accuracies at four to eight rising label counts.
anything = st.lists(
    st.tuples(st.integers(1, 10_000), st.floats(0, 1)), min_size=4, max_size=8, unique_by=lambda p: p[0]
)


@given(st.floats(0.5, 1), st.floats(0.2, 0.9), st.floats(0.1, 2))
def test_curve_without_noise_is_recovered(a: float, start: float, c: float) -> None:
    b = a * start * LABELS[0] ** c
    fitted = curve.fit(points_of(a, b, c))
    for labels in (50, 400, 5000, 10**6):
        assert fitted.at(labels) == pytest.approx(a - b * labels**-c, abs=2e-4 * labels**0.1)
    assert (fitted.a, fitted.c) == pytest.approx((a, c), abs=2e-3)


def test_many_rounds_are_fitted_as_a_few_parts_of_them_and_to_the_same_curve() -> None:
    a, b, c = 0.95, 3.0, 0.5
    fitted = curve.fit(points_of(a, b, c, tuple(range(50, 100_000, 50))))
    assert len(fitted._labels) <= 40
    for labels in (50, 400, 5000, 10**6):
        assert fitted.at(labels) == pytest.approx(a - b * labels**-c, abs=5e-4)
    random = np.random.default_rng(0)
    values = [a - b * n**-c + random.normal(0, 0.4 / math.sqrt(n)) for n in range(100, 5100, 50)]
    whole = curve.fit(list(zip(range(100, 5100, 50), values, strict=True)))
    assert whole.at(5000) == pytest.approx(a - b * 5000**-c, abs=0.005)


@pytest.mark.parametrize("seed", range(12))
def test_fit_is_as_good_as_that_of_a_general_optimiser(seed: int) -> None:
    points = noisy(seed, rounds=4 + seed % 5)
    labels, values = (np.array(column, dtype=float) for column in zip(*points, strict=True))
    fitted = curve.fit(points)
    scale = np.sqrt(fitted._weights)

    def residuals(parameters: np.ndarray) -> np.ndarray:
        a, b, c = parameters
        return np.asarray(scale * (values - a + b * (labels / 100) ** -c))

    bounds = ([0, 0, 0.02], [1, 10, 4])
    starts = itertools.product((0.5, 0.9, 0.99), (0.1, 1.0), (0.1, 0.5, 2.0))
    best = min(least_squares(residuals, start, bounds=bounds, xtol=1e-12, ftol=1e-12).cost for start in starts)
    ours = 0.5 * float(fitted._weights @ np.array([value - fitted.at(count) for count, value in points]) ** 2)
    assert ours <= best * (1 + 1e-6)


def test_later_and_surer_points_weigh_more() -> None:
    fitted = curve.fit(points_of(0.98, 2, 0.5))
    expected = [count / (value * (1 - value)) for count, value in points_of(0.98, 2, 0.5)]
    assert fitted._weights == pytest.approx(np.array(expected) / np.mean(expected), rel=1e-3)


@pytest.mark.parametrize("values", [(0.8, 0.8, 0.8, 0.8), (0.9, 0.8, 0.8, 0.7), (0.0,) * 4, (1.0,) * 4])
def test_flat_or_falling_curve_promises_nothing(values: tuple[float, ...]) -> None:
    fitted = curve.fit(list(zip((100, 200, 300, 400), values, strict=True)))
    assert fitted.b == pytest.approx(0, abs=1e-9)
    assert fitted.gain(400, 4000, 0.9)[0] == pytest.approx(0, abs=1e-9)
    assert fitted.a <= 1
    assert fitted.a == pytest.approx(np.average(values, weights=fitted._weights))


def test_equal_label_counts_are_averaged() -> None:
    points = noisy(1)
    twice = [(count, value + sign * 0.004) for count, value in points for sign in (-1, 1)]
    ours, theirs = curve.fit(points), curve.fit(twice)
    assert (ours.a, ours.b, ours.c) == pytest.approx((theirs.a, theirs.b, theirs.c))


def test_too_few_points_are_refused_with_the_rounds_that_are_missing() -> None:
    points = [(100, 0.5), (200, 0.6), (200, 0.61)]
    assert curve.missing(points) == 2
    with pytest.raises(ValueError, match="2 more to go"):
        curve.fit(points)
    assert [curve.missing(points_of(0.9, 1, 0.5)[:count]) for count in range(6)] == [4, 3, 2, 1, 0, 0]


def test_same_points_in_any_order_have_the_same_intervals() -> None:
    points = noisy(2)
    ours, theirs = curve.fit(points), curve.fit(points[::-1])
    assert ours.interval(5000, 0.9) == theirs.interval(5000, 0.9)
    assert ours.labels_interval(0.95, 0.8) == theirs.labels_interval(0.95, 0.8)


@settings(max_examples=50)
@given(anything, st.integers(1, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_more_labels_never_promise_less(points: Points, now: int, more: int, most: int) -> None:
    fitted = curve.fit(points)
    assert fitted.c > 0
    assert fitted.b >= 0
    assert fitted.at(now) <= fitted.at(now + more) <= fitted.a <= 1
    less, rest = fitted.gain(now, now + more, 0.9), fitted.gain(now, now + more + most, 0.9)
    assert all(few <= many + 1e-12 for few, many in zip(less, rest, strict=True))
    assert fitted.gain(now, now, 0.9) == (0, 0, 0)


@settings(max_examples=50)
@given(anything, st.sampled_from([1, 300, 10**5, math.inf]), st.floats(0, 0.5), st.floats(0.5, 0.99))
def test_intervals_hold_the_curve_and_grow_with_confidence(
    points: Points, labels: float, less: float, more: float
) -> None:
    fitted = curve.fit(points)
    narrow, wide = fitted.interval(labels, less), fitted.interval(labels, more)
    assert wide[0] <= narrow[0] <= fitted.at(labels) <= narrow[1] <= wide[1]
    low, high = fitted.labels_interval(0.7, more)
    assert low <= fitted.labels_for(0.7) <= high


@settings(max_examples=50)
@given(anything, st.floats(0, 1))
def test_labels_for_an_accuracy_reach_it(points: Points, wanted: float) -> None:
    fitted = curve.fit(points)
    labels = fitted.labels_for(wanted)
    if math.isinf(labels):
        assert wanted >= fitted.a - 1e-6
    elif labels > 1e-3:
        assert fitted.at(labels) == pytest.approx(wanted, abs=1e-6)
    else:
        assert fitted.at(1) >= wanted


def test_target_above_the_level_is_never_reached() -> None:
    fitted = curve.fit(points_of(0.9, 1, 0.5))
    assert math.isinf(fitted.labels_for(0.95))
    assert fitted.labels_for(0.89) == pytest.approx(10_000, rel=1e-3)
    assert math.isinf(fitted.labels_interval(0.95, 0.9)[1])


@pytest.mark.parametrize("rounds", [4, 6, 10])
def test_intervals_cover_the_truth_about_as_often_as_they_claim(rounds: int) -> None:
    random = np.random.default_rng(rounds)
    labels = 200.0 * np.arange(1, rounds + 1)
    truth = 0.98 - 2 * labels**-0.5
    runs, hits = 200, np.zeros(3)
    for _ in range(runs):
        seen = truth + random.normal(size=rounds) * np.sqrt(truth * (1 - truth) / labels) / 2
        fitted = curve.fit(list(zip(labels.astype(int).tolist(), seen.tolist(), strict=True)))
        last = labels[-1]
        for place, count in enumerate((last, 3 * last)):
            low, high = fitted.interval(count, 0.9)
            hits[place] += low <= 0.98 - 2 * count**-0.5 <= high
        _, low, high = fitted.gain(last, 2 * last, 0.9)
        hits[2] += low <= 2 * (last**-0.5 - (2 * last) ** -0.5) <= high
    assert (hits / runs > 0.84).all()
    assert (hits / runs < 0.98).all()


@given(anything)
@settings(max_examples=30)
def test_every_number_of_a_fit_is_finite(points: Points) -> None:
    fitted = curve.fit(points)
    assume(fitted.noise > 0)
    assert all(math.isfinite(value) for value in (fitted.a, fitted.b, fitted.c, fitted.noise))
    assert all(math.isfinite(end) for end in (*fitted.interval(50_000, 0.95), *fitted.gain(1, 10**6, 0.95)))
