from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tasks import files
from tasks.config import parse
from tasks.history import Outcome
from tasks.policy.decision import Choice
from tasks.policy.query_size import choice as query_size
from tasks.policy.run import decide, plan
from tasks.policy.situation import Situation
from tasks.policy.stop import rules
from tasks.rounds import Workspace, rounds
from tests.pools import PRICES, make_workspace, write_scores


def situation(*labels: int, unlabeled: int = 100, policy: dict[str, Any] | None = None, **loop: Any) -> Situation:
    """A loop after rounds with so many labels each."""
    config = parse({"name": "test", "loop": loop, "policy": policy or {}, "prices": PRICES}, "test")
    history = [
        Outcome(number, count, 0.9, 0.1, 0.01, 1.0, 1.0, 0.0, 0.1, 10, 10, bought=count)
        for number, count in enumerate(labels)
    ]
    return Situation(history, config, 1000, unlabeled, 10)


def size(*labels: int, unlabeled: int = 100, **loop: Any) -> Choice:
    return query_size.choose(situation(*labels, unlabeled=unlabeled, **loop))


def test_first_round_asks_for_the_initial_pool() -> None:
    assert size(initial=30, query_size=7).value == 30
    assert size(30, initial=30, query_size=7).value == 7


def test_query_is_cut_to_the_labels_allowed_and_left() -> None:
    assert size(30, query_size=10, max_labels=35).value == 5
    short = size(20, query_size=10, max_labels=35, unlabeled=3)
    assert (short.value, short.reason) == (3, "all that is left of the pool")


@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 100), st.lists(st.integers(1, 9), max_size=5))
def test_fixed_query_is_never_larger_than_anything_allows(
    initial: int, query: int, unlabeled: int, steps: list[int]
) -> None:
    labels = list(accumulate(steps))
    value = size(*labels, unlabeled=unlabeled, initial=initial, query_size=query, max_labels=60).value
    assert 0 < value <= min(unlabeled, query if labels else initial)


def test_loop_goes_on_until_its_rounds_are_done() -> None:
    assert rules.decide(situation(10, rounds=2)).action == "continue"
    assert rules.decide(situation(10, 20, rounds=2)).policy == "rounds"


def test_loop_stops_at_its_last_allowed_label_or_an_empty_pool() -> None:
    assert rules.decide(situation(10, rounds=9, max_labels=20)).action == "continue"
    assert rules.decide(situation(10, 20, rounds=9, max_labels=20)).policy == "labels"
    assert rules.decide(situation(10, rounds=9, max_labels=20, unlabeled=0)).policy == "pool"


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(1, 10), st.integers(1, 10))
def test_a_larger_budget_never_stops_earlier(steps: list[int], rounds_: int, more: int) -> None:
    labels = list(accumulate(steps))
    if rules.decide(situation(*labels, rounds=rounds_)).action == "continue":
        assert rules.decide(situation(*labels, rounds=rounds_ + more)).action == "continue"


def test_plan_gives_every_decision_its_reason(workspace: Workspace) -> None:
    plan(workspace, 0)
    written = files.read_json(workspace.round_dir(0) / "plan.json")
    assert written.pop("round") == 0
    assert set(written) == {
        "attempt",
        "query_size",
        "strategy",
        "proxy",
        "infer_scope",
        "infer_passes",
        "infer_features",
        "retrain",
        "stop_set",
        "watch",
        "seed",
    }
    assert all(choice["reason"] for choice in written.values())
    assert written["query_size"]["value"] == 9
    assert rounds(workspace) == [0]


def test_random_strategy_plans_no_scoring(tmp_path: object) -> None:
    workspace = make_workspace(tmp_path / "w", select={"strategy": "random"})  # type: ignore[operator]
    plan(workspace, 0)
    assert files.read_json(workspace.round_dir(0) / "plan.json")["infer_scope"]["value"] == "none"


def test_the_first_pass_is_full_and_later_ones_follow_the_scopes(tmp_path: Path) -> None:
    infer = {"scope": ["prune", "candidates"], "candidates": {"ratio": 0.5}, "passes": 9, "first_passes": 3}
    workspace = make_workspace(tmp_path / "w", infer=infer)

    def planned(round_: int) -> dict[str, Any]:
        plan(workspace, round_)
        made: dict[str, Any] = files.read_json(workspace.round_dir(round_) / "plan.json")
        return made

    assert planned(0)["infer_scope"]["value"] == "full"
    assert "first pass" in planned(0)["infer_scope"]["reason"]
    assert planned(0)["infer_passes"]["value"] == 3
    files.write_table(workspace.round_dir(0) / "unlabeled.parquet", pa.table({"id": ["x/0000"]}))
    write_scores(workspace.round_dir(0) / "scores.parquet", {"x/0000": 0.5})
    assert planned(1)["infer_passes"]["value"] == 9
    prune, candidates = planned(1)["infer_scope"]["value"]
    assert prune == {"name": "prune", "share": 0.2, "times": 2, "rounds": 3}
    assert (candidates["name"], candidates["ratio"], candidates["size"]) == ("candidates", 0.5, None)


def test_class_balanced_start_says_that_it_simulates(tmp_path: object) -> None:
    workspace = make_workspace(tmp_path / "w", select={"initial": "class_balanced"})  # type: ignore[operator]
    plan(workspace, 0)
    assert "simulation only" in files.read_json(workspace.round_dir(0) / "plan.json")["strategy"]["reason"]


def test_decision_lands_in_its_file(workspace: Workspace) -> None:
    from tasks.cost.ledger import Usage, write_entry
    from tasks.label.run import run as label
    from tasks.rounds import load_config
    from tasks.select.run import run as select

    plan(workspace, 0)
    select(workspace, 0, Usage())
    used = Usage()
    label(workspace, 0, used)
    write_entry(workspace.round_dir(0), "label", used, load_config(workspace).prices, {}, {})
    write_entry(workspace.round_dir(0), "train", Usage(), load_config(workspace).prices, {}, {})
    files.write_json(workspace.round_dir(0) / "metrics.json", {"accuracy": 0.5, "nll": 1.0, "ece": 0.1, "labels": 9})
    decide(workspace, 0)
    made = files.read_json(workspace.round_dir(0) / "decision.json")
    assert (made["action"], made["numbers"]["labels"]) == ("continue", 9)
