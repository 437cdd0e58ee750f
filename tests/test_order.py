import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import order
from tasks.errors import DataError
from tasks.order import largest, random_keys, rekey, smallest

SEED = np.random.SeedSequence(7)
MASK = 2**64 - 1

texts = st.lists(st.text(max_size=20), max_size=30)


def finalise(state: int) -> int:
    """MurmurHash3's 64-bit finaliser in Python's integers."""
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        state ^= state >> 33
        state = state * factor & MASK
    return state ^ state >> 33


def key_by_hand(text: str, seed: np.random.SeedSequence) -> int:
    """The key of one id as the docstring of ``random_keys`` defines it."""
    data = text.encode()
    first, second = (int(word) for word in seed.generate_state(2, np.uint64))
    state = len(data) * 0x9E3779B97F4A7C15 & MASK ^ first
    for at in range(0, len(data), 8):
        state = finalise(state ^ int.from_bytes(data[at : at + 8], "little"))
    return finalise(state ^ second)


@given(texts, st.integers(0, 2**64))
def test_keys_are_those_of_the_definition(ids: list[str], entropy: int) -> None:
    seed = np.random.SeedSequence(entropy)
    assert random_keys(pa.array(ids, pa.string()), seed).tolist() == [key_by_hand(text, seed) for text in ids]


def test_keys_never_change_between_releases() -> None:
    ids = pa.array(["", "a", "train/0001234", "Größe"])
    assert random_keys(ids, np.random.SeedSequence(2026)).tolist() == [
        16418557061923695343,
        13015803405958115651,
        1634140007078279773,
        7809405263185791267,
    ]


@given(texts, st.data())
def test_a_key_depends_on_nothing_but_the_id_and_the_seed(ids: list[str], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(ids)))
    whole = pa.array(ids, pa.string())
    keys = random_keys(whole, SEED).tolist()
    assert random_keys(whole.slice(start), SEED).tolist() == keys[start:]
    assert random_keys(whole.slice(0, start), SEED).tolist() == keys[:start]
    assert random_keys(whole.cast(pa.large_string()).slice(start), SEED).tolist() == keys[start:]
    assert random_keys(pa.array(ids[::-1], pa.string()), SEED).tolist() == keys[::-1]


def test_keys_do_not_depend_on_the_slices_in_which_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = pa.array([f"x/{'y' * (number % 11)}{number}" for number in range(50)])
    whole = random_keys(ids, SEED)
    monkeypatch.setattr(order, "_SLICE", 7)
    assert random_keys(ids, SEED).tolist() == whole.tolist()


def test_null_ids_are_refused() -> None:
    with pytest.raises(DataError, match="1 of 3 ids are null"):
        random_keys(pa.array(["a", None, "b"]), SEED)


@pytest.mark.parametrize("ids", [pa.array([1, 2]), pa.array(["a"]).dictionary_encode()])
def test_ids_that_are_no_strings_are_refused(ids: pa.Array) -> None:
    with pytest.raises(TypeError, match="must be string or large_string"):
        random_keys(ids, SEED)


@pytest.mark.parametrize("shift", [0, 20, 56])
def test_keys_of_sequential_ids_fall_evenly_into_buckets(shift: int) -> None:
    keys = random_keys(pa.array([f"train/{number:07d}" for number in range(100_000)]), SEED)
    counts = np.bincount((keys >> np.uint64(shift)).astype(np.int64) & 255, minlength=256)
    expected = len(keys) / 256
    # Chi-square with 255 degrees of freedom: between its 0.05 % and 99.95 % points.
    assert 184 < ((counts - expected) ** 2 / expected).sum() < 335


def changed_bits(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """For each pair and each of the 64 bits whether it differs."""
    return np.unpackbits((first ^ second)[:, None].view(np.uint8), axis=1)


@pytest.mark.parametrize("place", [0, 7, 8, 12])
def test_one_changed_byte_changes_half_of_the_bits(place: int) -> None:
    ids = [f"train/{number:07d}" for number in range(4000)]
    others = [id_[:place] + chr(ord(id_[place]) ^ 1) + id_[place + 1 :] for id_ in ids]
    changed = changed_bits(random_keys(pa.array(ids), SEED), random_keys(pa.array(others), SEED))
    # Five standard deviations of the share of each bit.
    assert np.abs(changed.mean(axis=0) - 0.5).max() < 5 * 0.5 / np.sqrt(4000)


@pytest.mark.parametrize("other", [np.random.SeedSequence(8), np.random.SeedSequence(7, spawn_key=(1,))])
def test_another_seed_changes_half_of_the_bits(other: np.random.SeedSequence) -> None:
    ids = pa.array([f"train/{number:07d}" for number in range(4000)])
    changed = changed_bits(random_keys(ids, SEED), random_keys(ids, other))
    assert np.abs(changed.mean(axis=0) - 0.5).max() < 5 * 0.5 / np.sqrt(4000)


def test_keys_made_of_keys_are_distinct_and_unrelated_to_them() -> None:
    keys = random_keys(pa.array([f"train/{number:07d}" for number in range(20_000)]), SEED)
    first, second = keys.copy(), keys.copy()
    rekey(first, np.random.SeedSequence(1))
    rekey(second, np.random.SeedSequence(2))
    assert len(np.unique(first)) == len(keys)
    bound = 5 * 0.5 / np.sqrt(len(keys))
    for pair in ((keys, first), (keys, second), (first, second)):
        assert np.abs(changed_bits(*pair).mean(axis=0) - 0.5).max() < bound
        # As a share of 2^64 each is uniform: their correlation has the standard deviation 1 / sqrt(n).
        assert abs(np.corrcoef(*(part.astype(np.float64) for part in pair))[0, 1]) < 5 / np.sqrt(len(keys))


def test_a_million_sequential_ids_have_distinct_keys() -> None:
    numbers = pa.array(np.arange(10**6, 2 * 10**6)).cast(pa.string())
    assert len(np.unique(random_keys(numbers, SEED))) == 10**6


def test_ids_that_differ_only_in_trailing_zero_bytes_have_distinct_keys() -> None:
    keys = random_keys(pa.array(["", "\0", "\0\0", "a", "a\0", "12345678", "12345678\0"]), SEED)
    assert len(set(keys.tolist())) == 7


def test_keys_of_a_large_pool_are_made_in_little_more_room_than_they_take() -> None:
    ids = pa.array([f"x/{number:07d}" for number in range(400_000)])
    tracemalloc.start()
    try:
        keys = random_keys(ids, SEED)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < keys.nbytes + 2_000_000


#: Few distinct numbers, so that many are equal.
numbers = st.lists(st.tuples(st.sampled_from([-np.inf, -1.0, 0.0, 2.5, np.inf]), st.integers(0, 5)), max_size=30)


@given(numbers, st.integers(0, 35))
def test_largest_are_those_of_a_sort_by_value_and_key(pairs: list[tuple[float, int]], size: int) -> None:
    values = np.array([value for value, _ in pairs])
    keys = np.array([key for _, key in pairs], dtype=np.uint64)
    got = [pairs[position] for position in largest(values, keys, size)]
    assert got == sorted(pairs, key=lambda pair: (-pair[0], pair[1]))[:size]


@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 3), max_size=30), st.integers(0, 35))
def test_smallest_are_those_of_a_sort(keys: list[int], size: int) -> None:
    positions = smallest(np.array(keys, dtype=np.uint64), size)
    assert len(set(positions.tolist())) == len(positions)
    assert [keys[position] for position in positions] == sorted(keys)[:size]
