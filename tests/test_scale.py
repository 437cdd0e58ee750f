import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import rankdata

from tasks.infer import scale

#: At most 60 values leave 58 bits to each: those of single precision, and small integers, are all kept.
single = st.floats(allow_nan=False, allow_infinity=False, width=32)
values = arrays.arrays(np.float64, st.integers(1, 60), elements=single | st.sampled_from([-1.0, -0.0, 0.0, 1.0]))


@given(values, st.integers(1, 70))
def test_ranks_are_means_among_equals(given_values: np.ndarray, length: int) -> None:
    expected = (rankdata(given_values) - 0.5) / len(given_values)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scale, "_SLICE", length)
        assert scale.rank(given_values) == pytest.approx(expected, abs=1e-12)


@given(values, st.randoms(use_true_random=False))
@pytest.mark.parametrize("name", ["rank", "standard", "raw"])
def test_the_order_of_rows_does_not_matter(name: str, given_values: np.ndarray, shuffle: object) -> None:
    rows = list(range(len(given_values)))
    shuffle.shuffle(rows)  # type: ignore[attr-defined]
    scaled = getattr(scale, name)
    assert scaled(given_values[rows]) == pytest.approx(scaled(given_values)[rows], rel=1e-6, abs=1e-6)


def test_ranks_of_many_values_are_exact_at_the_stated_resolution() -> None:
    rng = np.random.default_rng(0)
    many = np.concatenate(
        [rng.random(60_000), rng.normal(size=30_000), np.repeat(rng.random(10_000), 2), np.zeros(500)]
    )
    assert scale.rank(many) == pytest.approx((rankdata(many) - 0.5) / len(many), abs=1e-9)


def test_values_closer_than_the_resolution_share_a_rank_and_others_do_not() -> None:
    # 1024 positions leave 54 bits to the 62 of values in [0, 1]: a resolution of 2^-44.
    rest = [0.0] * 1021
    assert scale.rank(np.array([1.0, 0.5, 0.5 + 2.0**-53, *rest]))[:3].tolist() == [1023.5 / 1024, *[1022 / 1024] * 2]
    assert len(set(scale.rank(np.array([1.0, 0.5, 0.5 + 2.0**-45, *rest]))[:3].tolist())) == 3


@given(arrays.arrays(np.float64, st.integers(1, 40), elements=st.floats(allow_nan=False, allow_infinity=False)))
def test_ranks_never_contradict_the_values(any_values: np.ndarray) -> None:
    ranks = scale.rank(any_values)
    assert ((ranks > 0) & (ranks < 1)).all()
    assert (np.diff(ranks[np.argsort(any_values, kind="stable")]) >= 0).all()
    assert ranks.mean() == pytest.approx(0.5)


def test_standard_scores_have_mean_0_and_deviation_1() -> None:
    scores = scale.standard(np.array([1.0, 2.0, 6.0]))
    assert scores == pytest.approx(np.array([-2.0, -1.0, 3.0]) / np.sqrt(14 / 3))


@pytest.mark.parametrize("values", [[], [0.0], [1e-320, 1e-320], [0.1] * 10])
def test_equal_values_have_standard_score_0(values: list[float]) -> None:
    assert scale.standard(np.array(values)).tolist() == [0.0] * len(values)


def test_standard_scores_of_huge_values_are_finite() -> None:
    assert scale.standard(np.array([1e308, -1e308, 0.0])) == pytest.approx(np.array([1, -1, 0]) * np.sqrt(1.5))


def test_raw_values_are_a_copy() -> None:
    given_values = np.array([1.0, -2.0])
    scaled = scale.raw(given_values)
    assert scaled.tolist() == [1.0, -2.0]
    assert not np.shares_memory(scaled, given_values)


def test_no_values_have_no_scale() -> None:
    assert scale.rank(np.empty(0)).shape == (0,)
