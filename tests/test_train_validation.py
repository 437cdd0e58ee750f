"""Which labelled items are held back for validation."""

import pytest

from tasks.train.examples import held_back

IDS = [f"item/{number}" for number in range(1000)]


def test_share_is_roughly_kept() -> None:
    assert 150 < held_back(IDS, 0.2, 0).sum() < 250


def test_items_keep_their_side_as_the_pool_grows() -> None:
    few, many = held_back(IDS[:300], 0.2, 0), held_back(IDS[::-1], 0.2, 0)[::-1]
    assert (few == many[:300]).all()


def test_more_share_only_adds_items() -> None:
    assert (held_back(IDS, 0.3, 0) >= held_back(IDS, 0.2, 0)).all()


def test_seeds_differ_up_to_the_largest() -> None:
    assert (held_back(IDS, 0.5, 0) != held_back(IDS, 0.5, 2**63 - 1)).any()


@pytest.mark.parametrize("share", [1e-9, 0.5, 1 - 1e-9])
def test_both_sides_get_one_of_two_items(share) -> None:
    assert held_back(IDS[:2], share, 0).sum() == 1


def test_single_item_trains() -> None:
    assert not held_back(IDS[:1], 0.99, 0).any()


def test_no_share_holds_nothing_back() -> None:
    assert not held_back(IDS, 0.0, 0).any()
