"""How many candidates: what is measured on the last round's scores, and what follows from it."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from tasks import files
from tasks.config import parse
from tasks.datasets import tables
from tasks.errors import ConfigError
from tasks.policy.decision import Choice
from tasks.policy.scope import adaptive
from tasks.policy.scope.measure import EXPLORED, LEFT_OUT, PICKED, Evidence, evidence, measure, stability
from tasks.policy.situation import Situation
from tasks.rounds import Workspace, load_config
from tests.pools import CLASSIFICATION, PRICES, make_workspace

RANDOM = np.random.default_rng(5)
SCOPES = [{"name": "prune", "share": 0.2}, {"name": "candidates", "size": 100, "ratio": None, "explore": 0.1}]


def evidences() -> st.SearchStrategy[Evidence]:
    """Any that a round may leave."""
    counts = st.integers(1, 500).flatmap(lambda explored: st.tuples(st.just(explored), st.integers(0, explored)))
    return st.builds(
        lambda batch, seen, outside: Evidence(batch, seen[0], seen[1], outside),
        st.integers(1, 500),
        counts,
        st.integers(0, 10**5),
    )


# --- what is measured


def test_missed_items_are_estimated_without_bias() -> None:
    picked, others = RANDOM.normal(1.5, 1, 80), RANDOM.normal(0, 1, 900)
    above = int((others > np.sort(picked)[-20]).sum())
    missed = []
    for _ in range(4000):
        explored = RANDOM.choice(others, 60, replace=False)
        seen = evidence(picked, explored, len(others) - 60, 20)
        assert seen is not None
        missed.append(seen.batch / seen.recall - seen.batch)
    assert above > 10
    assert abs(np.mean(missed) - above) < 4 * np.std(missed) / math.sqrt(len(missed))


def test_the_interval_holds_the_true_recall_as_often_as_it_says() -> None:
    held = []
    for _ in range(600):
        picked, others = RANDOM.normal(1, 1, 80), RANDOM.normal(0, 1, 900)
        true = 20 / (20 + int((others > np.sort(picked)[-20]).sum()))
        seen = evidence(picked, RANDOM.choice(others, 100, replace=False), 800, 20)
        assert seen is not None
        low, high = seen.interval(0.9)
        held.append(low <= true <= high)
    assert 0.85 <= np.mean(held) <= 0.97


@given(evidences(), st.floats(0.5, 0.99))
def test_recall_is_a_share_inside_its_interval_or_at_an_end(seen: Evidence, confidence: float) -> None:
    low, high = seen.interval(confidence)
    assert 0 <= low <= high <= 1
    # With none, or all, of the explored above, the estimate is an end of what is possible.
    if 0 < seen.above < seen.explored:
        assert low - 1e-9 <= seen.recall <= high + 1e-9


@given(evidences(), st.floats(0.5, 0.99))
def test_more_missed_never_raises_recall(seen: Evidence, confidence: float) -> None:
    if seen.above < seen.explored:
        more = Evidence(seen.batch, seen.explored, seen.above + 1, seen.outside)
        assert more.recall < seen.recall
        after, before = more.interval(confidence), seen.interval(confidence)
        assert after[0] < before[0]
        assert after[1] < before[1]


def test_recall_is_certain_where_everything_was_scored() -> None:
    seen = Evidence(batch=10, explored=8, above=2, outside=0)
    assert seen.recall == seen.interval(0.9)[0] == seen.interval(0.9)[1] == 10 / 12


def test_items_above_the_batch_are_counted_by_hand() -> None:
    seen = evidence(np.array([5.0, 1, 4, 3]), np.array([3.0, 3.5, 0, 6]), 40, 3)
    assert seen == Evidence(batch=3, explored=4, above=2, outside=40)
    assert seen.recall == 3 / (3 + 2 / 4 * 44)
    assert evidence(np.array([5.0, 1]), np.array([3.0]), 4, 3) == Evidence(2, 1, 1, 4)


@pytest.mark.parametrize(("picked", "explored"), [([], [1.0]), ([1.0], [])])
def test_no_evidence_without_items_of_either_kind(picked: list[float], explored: list[float]) -> None:
    assert evidence(np.array(picked), np.array(explored), 3, 2) is None


def test_stability_is_spearman_of_the_items_with_a_former_value() -> None:
    former, new = RANDOM.normal(size=50).round(1), RANDOM.normal(size=50).round(1)
    assert stability(former, new) == pytest.approx(spearmanr(former, new).statistic)
    former[:20] = np.nan
    assert stability(former, new) == pytest.approx(spearmanr(former[20:], new[20:]).statistic)
    assert stability(np.ones(9), np.arange(9.0)) is None
    assert stability(np.array([1.0, 2, np.nan]), np.arange(3.0)) is None


# --- what follows


def make(tmp_path: Path, **policy: Any) -> Workspace:
    """A loop of 1,000 items with candidates of which a tenth is explored."""
    infer = {"scope": ["candidates"], "candidates": {"size": 100}}
    loop = {"initial": 9, "query_size": 20, "rounds": 9}
    return make_workspace(tmp_path / "w", 1000, infer=infer, loop=loop, policy={"scope": "adaptive", **policy})


def score(workspace: Workspace, round_: int, above: int, size: int = 100) -> None:
    """A round's cache: a tenth of ``size`` is explored, and ``above`` of these belong to the best."""
    explorers = size // 10
    values = np.linspace(0.5, 0, 1000)
    values[size - explorers : size - explorers + above] = 2
    values[: size - explorers] = 1
    why = [PICKED] * (size - explorers) + [EXPLORED] * explorers + [LEFT_OUT] * (1000 - size)
    columns = {
        "id": [f"x/{number:04d}" for number in range(1000)],
        "score": values,
        "scored_round": [round_ if reason != LEFT_OUT else 0 for reason in why],
        "model": pa.array(["m"] * 1000).dictionary_encode(),
        "times_scored": [1] * 1000,
        "proposal": [1] * 1000,
        "confidence": [0.5] * 1000,
        "scope": pa.array(why).dictionary_encode(),
        "cluster": pa.nulls(1000, pa.int32()),
        "distance": pa.nulls(1000, pa.float32()),
    }
    files.write_table(workspace.round_dir(round_) / "scores.parquet", pa.table(columns, tables.scores(CLASSIFICATION)))


def write_plan(workspace: Workspace, round_: int, chosen: Choice | str) -> None:
    choice = {"value": chosen} if isinstance(chosen, str) else {"value": chosen.value, "numbers": chosen.numbers}
    files.write_json(workspace.round_dir(round_) / "plan.json", {"round": round_, "infer_scope": choice})


def choose(workspace: Workspace, round_: int, unlabeled: int = 1000) -> Choice:
    at = Situation([], load_config(workspace), 1000, unlabeled, 10)
    return adaptive.choose(workspace, round_, at, SCOPES)


def size(choice: Choice) -> int:
    scope = choice.value[-1]
    assert scope["ratio"] is None
    return int(scope["size"])


def one_round(workspace: Workspace, above: int, candidates: int = 100, unlabeled: int = 1000) -> Choice:
    """The choice for round 2, after a full first pass and ``candidates`` in round 1."""
    write_plan(workspace, 0, "full")
    score(workspace, 0, 0)
    write_plan(workspace, 1, Choice([SCOPES[0], SCOPES[1] | {"size": candidates}], ""))
    score(workspace, 1, above, candidates)
    return choose(workspace, 2, unlabeled)


def test_nothing_is_measured_on_a_full_pass(tmp_path: Path) -> None:
    workspace = make(tmp_path)
    assert size(choose(workspace, 0)) == 100
    write_plan(workspace, 0, "full")
    asked = choose(workspace, 1)
    assert asked.value == SCOPES
    assert "nothing has been measured" in asked.reason


def test_scopes_without_candidates_stay_as_they_are(tmp_path: Path) -> None:
    workspace = make(tmp_path)
    at = Situation([], load_config(workspace), 1000, 900, 10)
    assert adaptive.choose(workspace, 0, at, SCOPES[:1]).value == SCOPES[:1]


def test_a_ratio_becomes_a_size_of_what_will_be_left(tmp_path: Path) -> None:
    workspace, scopes = make(tmp_path), [SCOPES[1] | {"size": None, "ratio": 0.07}]
    at = Situation([], load_config(workspace), 1000, 1000, 10)
    assert adaptive.choose(workspace, 0, at, scopes).value[0]["size"] == math.ceil(0.07 * 991)


def test_misses_make_more_candidates_and_other_scopes_stay(tmp_path: Path) -> None:
    asked = one_round(make(tmp_path), above=8)
    assert 150 <= size(asked) <= 200
    assert asked.value[0] == SCOPES[0]
    assert asked.numbers["recall_high"] < 0.5
    assert (asked.numbers["above"], asked.numbers["explored"], asked.numbers["outside"]) == (8, 10, 900)
    assert "is below policy.adaptive.recall" in asked.reason


def test_few_explored_items_are_too_thin_to_say_that_recall_is_high(tmp_path: Path) -> None:
    asked = one_round(make(tmp_path), above=0)
    assert size(asked) == 100
    assert asked.numbers["recall_low"] < 0.5 < asked.numbers["recall_high"]


def test_evidence_is_added_up_until_it_suffices(tmp_path: Path) -> None:
    workspace = make(tmp_path, adaptive={"recall": 0.1})
    asked = one_round(workspace, above=0)
    sizes, explored = [size(asked)], [asked.numbers["explored"]]
    for round_ in range(2, 12):
        write_plan(workspace, round_, asked)
        score(workspace, round_, 0, size(asked))
        asked = choose(workspace, round_ + 1)
        sizes.append(size(asked))
        explored.append(asked.numbers["explored"])
    shrunk = sizes.index(70)
    assert sizes[: shrunk + 1] == [100] * shrunk + [70]
    assert explored[: shrunk + 1] == [10 * (done + 1) for done in range(shrunk + 1)]
    assert shrunk > 0
    # What was measured on another number of candidates is forgotten.
    assert explored[shrunk + 1] == 7


def test_unstable_values_make_larger_steps_up_and_none_down(tmp_path: Path) -> None:
    low, high, even = Evidence(20, 100, 80, 900), Evidence(2000, 1000, 1, 100), Evidence(20, 10, 1, 900)
    up = [adaptive._change(low, ranked, 0.5)[0] for ranked in (None, -0.3, 0.0, 0.5, 1.0)]
    down = [adaptive._change(high, ranked, 0.5)[0] for ranked in (None, -0.3, 0.01, 1.0)]
    assert up == [2, 2, 2, 1.75, 1.5]
    assert down == [1, 1, 0.7, 0.7]
    assert adaptive._change(even, 0.5, 0.5)[0] == 1


@given(evidences(), st.floats(0.05, 0.95), st.none() | st.floats(-1, 1))
def test_more_missed_never_makes_fewer_candidates(seen: Evidence, wanted: float, ranked: float | None) -> None:
    if seen.above < seen.explored:
        more = Evidence(seen.batch, seen.explored, seen.above + 1, seen.outside)
        assert adaptive._change(more, ranked, wanted)[0] >= adaptive._change(seen, ranked, wanted)[0]


@given(st.integers(1, 10**5), st.integers(1, 10**4), st.integers(1, 500), st.none() | st.integers(1, 900), st.data())
def test_size_stays_within_its_bounds(
    size_: int, left: int, batch: int, smallest: int | None, data: st.DataObject
) -> None:
    largest = data.draw(st.none() | st.integers(smallest or 1, 10**5))
    policy = {"adaptive": {"smallest": smallest, "largest": largest}}
    at = Situation([], parse({"name": "t", "policy": policy, "prices": PRICES}, "t"), 10**5, left + batch, 10)
    bounded = adaptive._bounded(size_, at, batch, left)
    assert min(batch, left) <= bounded <= left
    assert bounded >= min(smallest or 1, left)
    assert largest is None or bounded <= max(largest, batch)


def test_size_never_exceeds_what_the_pool_has_left_and_never_falls_below_the_query(tmp_path: Path) -> None:
    workspace = make(tmp_path, adaptive={"largest": 12})
    assert size(choose(workspace, 0)) == 12
    assert size(choose(make(tmp_path / "small", adaptive={"largest": 3}), 0)) == 9
    assert size(one_round(make(tmp_path / "end"), above=8, unlabeled=129)) == 120


def test_the_same_files_always_get_the_same_answer(tmp_path: Path) -> None:
    workspace = make(tmp_path)
    assert one_round(workspace, above=8) == choose(workspace, 2)


def test_measured_values_are_those_of_the_round_alone(tmp_path: Path) -> None:
    workspace = make(tmp_path)
    one_round(workspace, above=3)
    seen, ranked = measure(workspace, 1, batch=20)
    assert seen == Evidence(20, 10, 3, 900)
    assert ranked is not None
    assert measure(workspace, 0, batch=20)[1] is None


def test_numbers_are_plain_and_finite(tmp_path: Path) -> None:
    numbers = one_round(make(tmp_path), above=4).numbers
    assert all(type(value) in (int, float) and math.isfinite(value) for value in numbers.values())


@pytest.mark.parametrize(
    ("infer", "adaptive_"),
    [
        ({"scope": ["candidates", "prune"], "candidates": {"size": 9}}, {}),
        ({"scope": ["candidates"], "candidates": {"size": 9, "explore": 0}}, {}),
        ({"scope": ["candidates"], "candidates": {"size": 9}}, {"smallest": 8, "largest": 7}),
        ({"scope": ["prune"]}, {}),
    ],
)
def test_settings_by_which_nothing_can_be_measured_are_refused(
    infer: dict[str, Any], adaptive_: dict[str, Any]
) -> None:
    policy = {"scope": "adaptive", "adaptive": adaptive_}
    with pytest.raises(ConfigError, match=r"candidates last|put candidates into|above largest"):
        parse({"name": "t", "infer": infer, "policy": policy, "prices": PRICES}, "t")
