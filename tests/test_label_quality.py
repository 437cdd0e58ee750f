"""Figures on annotators, against the definitions computed pair by pair."""

from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.cost.ledger import Usage
from tasks.label import journal, quality
from tasks.label.run import run
from tests.people_helpers import asking, said, score_round, selected, tasks
from tests.pools import CLASSIFICATION, PRICE, write_plan

UNITS = st.lists(st.lists(st.integers(0, 2), max_size=4), max_size=6)


def brute_alpha(units: list[list[int]], numbers: bool) -> float | None:
    """1 - Do / De over ordered pairs, written out."""

    def distance(one: float, other: float) -> float:
        return (one - other) ** 2 if numbers else float(one != other)

    kept = [unit for unit in units if len(unit) > 1]
    values = [value for unit in kept for value in unit]
    if not values:
        return None
    within = sum(sum(distance(*pair) for pair in permutations(unit, 2)) / (len(unit) - 1) for unit in kept)
    across = sum(distance(*pair) for pair in permutations(values, 2)) / (len(values) - 1)
    return 1 - within / across if across else None


@given(UNITS, st.booleans())
def test_alpha_is_one_less_observed_over_expected_disagreement(units: list[list[int]], numbers: bool) -> None:
    expected = brute_alpha(units, numbers)
    assert quality.alpha(units, PRICE if numbers else CLASSIFICATION) == (
        None if expected is None else pytest.approx(expected)
    )


def test_alpha_of_the_worked_example_of_its_source() -> None:
    # Section C of Krippendorff (2011): four observers, eleven units and one that a single observer coded.
    table = """1 2 3 3 2 1 4 1 2 . . .
               1 2 3 3 2 2 4 1 2 5 . 3
               . 3 3 3 2 3 4 2 2 5 1 .
               1 2 3 3 2 4 4 1 2 5 1 ."""
    rows = [line.split() for line in table.split("\n")]
    units = [[int(value) for value in unit if value != "."] for unit in zip(*rows, strict=True)]
    assert quality.alpha(units, CLASSIFICATION) == pytest.approx(0.743, abs=5e-4)
    assert quality.alpha(units, PRICE) == pytest.approx(0.849, abs=5e-4)


@given(UNITS)
def test_agreement_is_the_share_of_equal_pairs(units: list[list[int]]) -> None:
    pairs = [one == other for unit in units for one, other in permutations(unit, 2)]
    expected = pytest.approx(sum(pairs) / len(pairs)) if pairs else None
    assert quality.pairwise_agreement(units) == expected


def test_known_items_among_the_tasks_tell_how_often_each_annotator_errs(tmp_path: Path) -> None:
    workspace = asking(tmp_path / "w", select={"checks": 0.5})
    journal.take_in(workspace, 0, [said(id_, int(id_[2:]) % 3) for id_ in selected(workspace)])
    run(workspace, 0, Usage())
    assert quality.of_rounds(workspace, [0]).checked == {}
    assert quality.of_rounds(workspace, [0]).answers == {"ann": 9}
    score_round(workspace, 0)
    write_plan(workspace, 1, query_size=6)
    from tasks.select.run import run as select

    select(workspace, 1, Usage())
    known = [task["id"] for task in tasks(workspace, 1) if task["id"] not in selected(workspace, 1)]
    assert len(known) == 3
    assert set(known) < set(selected(workspace, 0))
    right = [said(id_, int(id_[2:]) % 3) for id_ in selected(workspace, 1)]
    right += [said(id_, int(id_[2:]) % 3) for id_ in known]
    wrong = [said(known[0], (int(known[0][2:]) + 1) % 3, "bob"), said(known[1], int(known[1][2:]) % 3, "bob")]
    journal.take_in(workspace, 1, [*right, *wrong])
    usage = Usage()
    run(workspace, 1, usage)
    found = quality.of_rounds(workspace, [0, 1])
    assert found.checked == {
        "": quality.Checked(5, 0.2),
        "ann": quality.Checked(3, 0.0),
        "bob": quality.Checked(2, 0.5),
    }
    assert found.agreement == 0.5
    assert found.answers == {"ann": 18, "bob": 2}
    # A check is paid for like any answer, and is no label of the round.
    assert (usage.labels, usage.label_price) == (6, pytest.approx(11 * 0.05))
