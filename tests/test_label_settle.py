"""What several answers to one item come to, and when a round has enough of them."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.config import LabelConfig
from tasks.label.labels import Answer
from tasks.label.settle import progress, settle
from tests.people_helpers import said
from tests.pools import CLASSIFICATION, PRICE

OPENED = datetime(2026, 1, 31, 9, tzinfo=UTC)


def people(**values: Any) -> LabelConfig:
    return LabelConfig(labeler="files", **values)


def one(labels: list[int | float | None], config: LabelConfig, numbers: bool = False) -> tuple[str, int | float | None]:
    """State and label of an item to which annotators 0, 1, … gave these answers; None is a skip."""
    answers = [said("a", label, str(number)) for number, label in enumerate(labels)]
    (item,) = settle(["a"], answers, PRICE if numbers else CLASSIFICATION, config)
    return item.state, item.label


@pytest.mark.parametrize(
    ("labels", "annotators", "state", "label"),
    [
        ([], 1, "open", None),
        ([2], 1, "labelled", 2),
        ([None], 1, "skipped", None),
        ([1, 2], 1, "disputed", None),
        ([1], 2, "open", None),
        ([1, 1], 2, "labelled", 1),
        ([1, 2], 2, "disputed", None),
        ([1, 2, 2], 2, "labelled", 2),
        ([1, None], 2, "disputed", None),
        ([None, None], 2, "skipped", None),
        ([None, None, 1], 3, "skipped", None),
        ([0, 1, 2], 3, "disputed", None),
    ],
)
def test_most_answers_win_and_a_tie_waits_for_another(
    labels: list[int | float | None], annotators: int, state: str, label: int | None
) -> None:
    assert one(labels, people(annotators=annotators)) == (state, label)


@pytest.mark.parametrize(
    ("labels", "share", "state", "label"),
    [
        ([1, 1], 1.0, "labelled", 1),
        ([1, 1, 2], 1.0, "disputed", None),
        ([1, 1, 2], 0.6, "labelled", 1),
        ([1, 1, 2], 0.7, "disputed", None),
        ([None, None, 2], 0.6, "skipped", None),
        ([1], 0.6, "open", None),
    ],
)
def test_agreement_asks_for_its_share_of_equal_answers(
    labels: list[int | float | None], share: float, state: str, label: int | None
) -> None:
    assert one(labels, people(annotators=2, rule="agreement", agreement=share)) == (state, label)


def test_the_earliest_answer_counts_whenever_it_came() -> None:
    config = people(annotators=2, rule="first")
    late, early = said("a", 1, "late", "2026-01-31T10:00:00+00:00"), said("a", 2, "early", "2026-01-31T10:30:00+01:00")
    (item,) = settle(["a"], [late, early], CLASSIFICATION, config)
    assert (item.state, item.label, [answer.annotator for answer in item.adopted]) == ("labelled", 2, ["early"])


def test_one_skip_does_not_set_an_item_aside_that_others_may_label() -> None:
    assert one([None], people(annotators=2, rule="first")) == ("open", None)
    assert one([None, 1], people(annotators=2, rule="first")) == ("labelled", 1)
    assert one([None, None], people(annotators=2, rule="first")) == ("skipped", None)


@given(st.lists(st.floats(0, 100) | st.none(), min_size=1, max_size=7))
def test_of_numbers_the_median_counts_unless_most_skipped(labels: list[float | None]) -> None:
    given_ = [label for label in labels if label is not None]
    expected = ("labelled", median(given_)) if 2 * len(given_) >= len(labels) else ("skipped", None)
    assert one(list(labels), people(annotators=len(labels)), numbers=True) == expected


@given(
    st.lists(st.sampled_from([0, 1, 2, None]), max_size=9),
    st.integers(1, 4),
    st.sampled_from(["majority", "agreement"]),
    st.floats(0.1, 1),
)
def test_a_label_is_what_more_gave_than_anything_else(
    labels: list[int | None], annotators: int, rule: Any, share: float
) -> None:
    extra = {"agreement": share} if rule == "agreement" else {}
    state, label = one(list(labels), people(annotators=annotators, rule=rule, **extra))
    counts = Counter(labels)
    if len(labels) < annotators:
        assert state == "open"
    elif state in ("labelled", "skipped"):
        assert all(counts[label] > count for other, count in counts.items() if other != label)
        assert rule == "majority" or counts[label] >= share * len(labels)
        assert (label is None) == (state == "skipped")
    else:
        best = max(counts.values())
        tied = sum(count == best for count in counts.values()) > 1
        assert tied or (rule == "agreement" and best < share * len(labels))


def stand(states: str, known: int = 0, before: int = 0, **values: Any) -> Any:
    """The progress of items that are labelled (l), skipped (s) or open (o)."""
    answers = [Answer(str(n), 1 if s == "l" else None, "ann", None, None) for n, s in enumerate(states) if s != "o"]
    config = people(**values)
    settled = settle([str(n) for n in range(len(states))], answers, CLASSIFICATION, config)
    return progress(settled, OPENED, known, config, before)


@pytest.mark.parametrize(
    ("states", "quorum", "closes"),
    [
        ("lll", 1.0, True),
        ("llo", 1.0, False),
        ("lls", 1.0, True),
        ("sss", 1.0, False),
        ("looo", 0.25, True),
        ("looo", 0.26, False),
        ("l" * 7 + "o" * 93, 0.07, True),
        ("ooo", 0.01, False),
    ],
)
def test_a_quorum_of_settled_tasks_closes_a_round_that_has_a_label(states: str, quorum: float, closes: bool) -> None:
    assert stand(states, quorum=quorum).closes(OPENED) is closes


def test_a_deadline_closes_a_round_that_has_a_label() -> None:
    now = stand("loo", deadline=48.0)
    assert now.deadline == OPENED + timedelta(hours=48)
    assert [now.closes(OPENED + timedelta(hours=hours)) for hours in (0, 47.9, 48, 100)] == [False, False, True, True]
    assert not stand("soo", deadline=48.0).closes(OPENED + timedelta(hours=100))


def test_labels_known_from_before_let_a_round_of_skipped_items_close() -> None:
    assert stand("sss", known=2).closes(OPENED)


@pytest.mark.parametrize("key", ["annotators", "rule", "quorum", "deadline"])
def test_what_is_for_people_is_refused_for_the_oracle(key: str) -> None:
    value = {"annotators": 2, "rule": "first", "quorum": 0.5, "deadline": 1.0}[key]
    with pytest.raises(ValidationError, match=f"{key} is for people who answer"):
        LabelConfig.model_validate({key: value})


def test_a_share_of_agreement_needs_the_rule() -> None:
    with pytest.raises(ValidationError, match="set rule to it"):
        people(agreement=0.5)


def test_a_deadline_that_has_no_date_is_refused() -> None:
    with pytest.raises(ValidationError, match="876600"):
        people(deadline=1e9)


@pytest.mark.parametrize(("states", "before", "closes"), [("sss", 4, True), ("sss", 0, False), ("sso", 4, False)])
def test_a_round_whose_every_task_is_skipped_closes_if_there_were_labels_before(
    states: str, before: int, closes: bool
) -> None:
    assert stand(states, before=before).closes(OPENED) is closes
