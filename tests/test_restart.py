"""False starts: the loop begins anew, what was bought is kept, and what was wasted stays on the bill."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from tasks import files, loop
from tasks.config import parse
from tasks.cost import ledger
from tasks.cost.rates import Rates
from tasks.drawer import drawer, unpaid
from tasks.history import Outcome, aborted, history, wasted
from tasks.policy import false_start
from tasks.policy.decision import Decision
from tasks.policy.situation import Situation
from tasks.rounds import Workspace, decision, rounds
from tasks.status import status
from tests.pools import PRICES, column
from tests.test_loop import begin, finish

#: A learning rate at which some seeds diverge or stall, and others do not.
SHAKY = (
    "dataset.limit=200",
    "loop.rounds=2",
    "loop.initial=20",
    "train.model=ceal_cnn",
    "train.epochs=6",
    "train.batch_size=8",
    "train.optimizer=sgd",
    "train.lr=0.05",
    "label.noise=0.2",
    "policy.false_start.restarts=3",
)


@pytest.fixture(scope="module")
def shaken(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A loop with at least one false start that came to its ordinary end all the same."""
    for seed in range(12):
        workspace = finish(begin(tmp_path_factory.mktemp("loop") / "w", *SHAKY, f"seed={seed}"))
        made = [decision(workspace, number) for number in rounds(workspace)]
        if any(one and one["action"] == "restart" for one in made) and made[-1] and made[-1]["policy"] == "rounds":
            return workspace
    raise AssertionError("no seed began anew and then went through")


def test_the_loop_begins_anew_from_an_empty_pool_with_other_items(shaken: Workspace) -> None:
    numbers = rounds(shaken)
    (first, *_) = [number for number in numbers if shaken.previous_dir(number) == shaken.pool / "start" and number]
    assert (decision(shaken, first - 1) or {})["action"] == "restart"
    assert not (shaken.round_dir(first - 1) / "scores.parquet").exists()
    assert files.count_rows(shaken.round_dir(first) / "labeled.parquet") == 20
    before, after = (set(column(shaken.round_dir(number) / "selected.parquet", "id")) for number in (0, first))
    assert before != after
    assert files.read_json(shaken.round_dir(first) / "plan.json")["attempt"]["value"] == 1


def test_no_label_is_paid_twice_nor_answered_otherwise(shaken: Workspace) -> None:
    prices: dict[str, list[float]] = {}
    answers: dict[str, set[int]] = {}
    for number in rounds(shaken):
        path = shaken.round_dir(number) / "labels.parquet"
        for id_, label, price in zip(*(column(path, name) for name in ("id", "label", "price")), strict=True):
            prices.setdefault(id_, []).append(price)
            answers.setdefault(id_, set()).add(label)
    assert all(sum(price > 0 for price in paid) == 1 for paid in prices.values())
    assert all(len(given) == 1 for given in answers.values())
    assert any(len(paid) > 1 for paid in prices.values())
    last = history(shaken)[-1]
    assert last.bought == len(prices)
    assert last.money_labels == pytest.approx(len(prices) * 0.05)


def test_wasted_rounds_stay_on_the_bill(shaken: Workspace) -> None:
    outcomes = history(shaken)
    gone = aborted(outcomes)
    assert gone == list(range(gone[-1] + 1))
    assert 0 < wasted(outcomes) == outcomes[gone[-1]].money < outcomes[-1].money
    spent = [
        used["money"]["compute"]
        for number in gone
        for used in ledger.all_used(ledger.ledger(shaken.round_dir(number))["stages"])
    ]
    assert 0 < sum(spent) <= outcomes[-1].money_compute
    assert all(after.money >= before.money for before, after in pairwise(outcomes))
    assert status(shaken)["wasted"] == wasted(outcomes)


def test_the_next_attempts_tasks_are_only_those_that_nobody_has_answered(tmp_path: Path) -> None:
    workspace = begin(tmp_path / "w", *SHAKY, "policy.false_start.expected={20: 1.0}", "policy.metric=accuracy")
    while (step := loop.next_step(workspace)) is not None and (step.round, step.name) != (1, "label"):
        loop.run(workspace, step)
    kept = set(drawer(workspace, 1)["id"].to_pylist())
    selected = column(workspace.round_dir(1) / "selected.parquet", "id")
    asked = [line.split('"')[3] for line in (workspace.round_dir(1) / "tasks.jsonl").read_text().splitlines()]
    assert len(kept) == 20
    assert asked == unpaid(workspace, 1) == [id_ for id_ in selected if id_ not in kept]


def test_after_the_last_restart_the_loop_stops_and_says_so(tmp_path: Path) -> None:
    workspace = begin(
        tmp_path / "w",
        *SHAKY,
        "policy.false_start.restarts=1",
        "policy.false_start.expected={20: 1.0}",
        "policy.metric=accuracy",
    )
    finish(workspace)
    made = decision(workspace, 1) or {}
    assert (len(rounds(workspace)), made["action"], made["policy"]) == (2, "stop", "false_start")
    assert "restarts = 1 are used up" in made["reason"]


def test_where_a_proxy_selects_it_is_the_proxy_whose_rate_is_too_high(tmp_path: Path) -> None:
    proxied = "proxy={train: {model: linear, lr: 0.05}, agreement: 0, target: {every: 1, end: false}}"
    spent = ("policy.false_start.restarts=1", "policy.false_start.expected={20: 1.0}", "policy.metric=accuracy")
    workspace = finish(begin(tmp_path / "w", *SHAKY, *spent, proxied))
    assert "lower proxy.train.lr" in (decision(workspace, 1) or {})["reason"]


def judged(labels: int = 20, held_out: int = 10**6, blocks: dict[str, Any] | None = None, **outcome: Any) -> str | None:
    """What is decided of a first round; a good one, measured on many items, unless said otherwise."""
    config = parse(
        {
            "name": "test",
            "loop": {"initial": 20, "max_labels": labels + 20},
            "policy": {"false_start": {"expected": {10: 0.2, 30: 0.4}}, "metric": "accuracy"},
            "prices": PRICES,
        }
        | (blocks or {}),
        "test",
    )
    good = {"accuracy": 0.5, "last_loss": 0.3, "bought": 20}
    first = Outcome(
        0,
        labels,
        nll=1,
        ece=0,
        money=1,
        money_labels=1,
        money_compute=0,
        device_hours=0,
        record_epochs=0,
        items_scored=0,
        **(good | outcome),
    )
    made = false_start.decide(Situation([first], config, 100, 80, held_out, classes=10))
    return None if made is None else made.action


def test_what_makes_a_false_start() -> None:
    assert judged() is None
    assert judged(diverged=True) == "restart"
    assert judged(last_loss=2.2) == "restart"
    assert judged(accuracy=0.11) == "restart"
    assert judged(accuracy=0.29) == "restart"
    assert judged(accuracy=0.31) is None


def test_few_items_are_no_evidence_of_a_false_start() -> None:
    # Of ten items none is right for a model of accuracy 0.3 in 3 % of cases, of five in 17 %.
    assert judged(accuracy=0.0, held_out=10) == "restart"
    assert judged(accuracy=0.0, held_out=5) is None
    assert judged(accuracy=0.29, held_out=1000) is None


def test_a_validation_accuracy_counts_by_its_own_items() -> None:
    blocks: dict[str, Any] = {
        "train": {"validation": 0.2},
        "policy": {"false_start": {"expected": {20: 0.3}}, "metric": "validation_accuracy"},
    }
    found = [judged(blocks=blocks, validation_accuracy=0.0, validation_items=items) for items in (0, 5, 10)]
    assert found == [None, None, "restart"]
    assert judged(blocks=blocks, validation_accuracy=None, validation_items=10) is None


@given(st.integers(1, 300), st.sampled_from([0.13, 0.2, 0.3, 0.5]))
def test_a_model_better_than_chance_is_seldom_taken_for_a_false_start(items: int, accuracy: float) -> None:
    blocks = {"policy": {"false_start": {}, "metric": "accuracy"}}
    wrong = [judged(accuracy=right / items, held_out=items, blocks=blocks) is not None for right in range(items + 1)]
    assert wrong == sorted(wrong, reverse=True)
    # Wilson's interval is not exact, but near enough.
    assert binom.cdf(sum(wrong) - 1, items, accuracy) < 0.06


@given(st.integers(2, 50), st.floats(0, 0.99))
def test_the_least_loss_is_that_of_a_model_which_says_just_what_it_is_taught(classes: int, smoothing: float) -> None:
    taught = torch.full((1, classes), smoothing / classes, dtype=torch.float64)
    taught[0, 0] += 1 - smoothing
    loss = torch.nn.functional.cross_entropy(taught.log().clamp(min=-1e9), torch.tensor([0]), label_smoothing=smoothing)
    assert false_start._least_loss(classes, smoothing) == pytest.approx(float(loss), abs=1e-9)


def test_smoothed_labels_are_not_expected_to_be_learnt_without_loss() -> None:
    # The loss ends between 2.175, the least, and ln 10 = 2.303.
    smooth = {"train": {"label_smoothing": 0.8}}
    assert judged(last_loss=2.2, blocks=smooth) is None
    assert judged(last_loss=2.295, blocks=smooth) == "restart"


def test_the_decision_tells_by_which_rates_it_was_made(tmp_path: Path) -> None:
    rates = "rates={record_epoch: 1e-4, forward_pass: 1e-5, stage: 0.01}"
    told = []
    for name, rule in (("priced", "marginal_value.value_per_point=1"), ("unpriced", "plateau={patience: 2}")):
        settings = ("policy.metric=accuracy", f"policy.stop.{rule}", rates, "device=cpu")
        workspace = finish(begin(tmp_path / name, *settings))
        told.append([(decision(workspace, number) or {})["numbers"].get("rates") for number in rounds(workspace)])
    asked = {"device": "cpu", "record_epoch": 1e-4, "forward_pass": 1e-5, "stage": 0.01, "evaluation": None}
    asked |= {"target_record_epoch": None, "target_forward_pass": None}
    assert told == [[asked] * len(told[0]), [None] * len(told[1])]


def test_nothing_left_to_buy_another_initial_pool_with() -> None:
    assert judged(diverged=True, bought=30) == "stop"


def begun_anew(stop: dict[str, Any], loop: dict[str, Any] | None = None, **policy: Any) -> Decision:
    """What is decided of a first round of 50 labels, out of 1,000 items, that diverged."""
    settings = {"metric": "accuracy", "false_start": {}, "stop": stop, **policy}
    values = {"name": "test", "loop": {"initial": 50, **(loop or {})}, "policy": settings, "prices": PRICES}
    first = Outcome(0, 50, 0.1, 1, 0, 2.6, 2.5, 0.1, 0.1, 0, 0, bought=50, wall_hours=0.1, diverged=True)
    rates = Rates("cpu", record_epoch=1e-3, forward_pass=1e-4, stage=1.0)
    made = false_start.decide(Situation([first], parse(values, "test"), 1000, 950, 10, classes=10, rates=rates))
    assert made is not None
    return made


#: Another initial pool costs 2.5, and its 1,000 record-epochs and 950 passes, at 0.2 an hour, next to nothing.
@pytest.mark.parametrize(
    ("budget", "enough"),
    [
        ({"labels": 99}, {"labels": 100}),
        ({"money": 5.1}, {"money": 5.101}),
        ({"device_hours": 0.1002}, {"device_hours": 0.101}),
        ({"wall_hours": 0.101}, {"wall_hours": 0.103}),
    ],
)
@pytest.mark.parametrize("inside", [lambda rule: rule, lambda rule: {"any": rule}])
def test_the_loop_begins_anew_only_within_its_budget(
    inside: Callable[[Any], Any], budget: dict[str, Any], enough: dict[str, Any]
) -> None:
    made = begun_anew(inside({"budget": budget}))
    assert (made.action, made.policy) == ("stop", "false_start")
    assert "policy.stop.budget leaves too little for another initial pool" in made.reason
    assert begun_anew(inside({"budget": enough})).action == "restart"


def test_a_budget_that_is_not_enough_by_itself_does_not_keep_a_loop_from_beginning_anew() -> None:
    assert begun_anew({"all": {"budget": {"labels": 60}, "rounds": {"at_least": 3}}}).action == "restart"


@pytest.mark.parametrize(
    ("policy", "first"),
    [
        ({"query_size": "schedule", "schedule": {"shares": [0.1, 0.02]}}, 100),
        ({"query_size": "geometric", "geometric": {"factor": 3}}, 50),
    ],
)
def test_another_initial_pool_is_as_large_as_the_query_size_has_it(policy: dict[str, Any], first: int) -> None:
    for left, action in ((first - 1, "stop"), (first, "restart")):
        assert begun_anew({"budget": {"labels": 50 + left}}, **policy).action == action
        made = begun_anew({}, {"max_labels": 50 + left}, **policy)
        assert made.action == action
        assert ("too few labels for another initial pool" in made.reason) == (action == "stop")


def test_a_loop_with_a_budget_of_labels_buys_no_more_than_that(tmp_path: Path) -> None:
    always = ("policy.false_start.expected={20: 1.0}", "policy.metric=accuracy", "policy.false_start.above_chance=0.9")
    workspace = finish(begin(tmp_path / "w", *SHAKY, *always, "policy.stop.budget.labels=45"))
    made = decision(workspace, rounds(workspace)[-1]) or {}
    assert (made["action"], made["policy"]) == ("stop", "false_start")
    assert 20 < history(workspace)[-1].bought <= 45


def test_after_a_restart_labels_are_forecast_at_most(shaken: Workspace) -> None:
    exact = []
    for number in rounds(shaken):
        folder = shaken.round_dir(number)
        told = files.read_json(folder / "forecast.json")
        attempt = files.read_json(folder / "plan.json")["attempt"]["value"]
        paid = ledger.ledger(folder)["stages"]["label"]["used"]["labels"]
        assert told["exact"] == (not told["why"]) == (attempt == 0)
        assert paid <= told["labels"]
        assert paid == told["labels"] or not told["exact"]
        exact.append(told["exact"])
    assert {True, False} == set(exact)


def test_later_rounds_are_not_watched() -> None:
    rounds_ = [Outcome(number, 20, 0.1, 1, 0, 1, 1, 0, 0, 0, 0, diverged=True) for number in range(3)]
    config = parse({"name": "a", "policy": {"false_start": {"rounds": 2}}, "prices": PRICES}, "test")
    assert false_start.decide(Situation(rounds_, config, 100, 80, 10, classes=10)) is None
    assert false_start.decide(Situation(rounds_[:2], config, 100, 80, 10, classes=10)) is not None
    assert [false_start.watches(Situation(rounds_[:count], config, 100, 80, 10)).value for count in range(4)] == [
        True,
        True,
        False,
        False,
    ]


def test_a_target_that_was_missed_is_told(tmp_path: Path) -> None:
    workspace = begin(tmp_path / "w", "policy.metric=accuracy", "policy.stop.target.accuracy=1.0")
    finish(workspace)
    (warning,) = status(workspace)["warnings"]
    assert warning.startswith("policy.stop.target: accuracy 0.")
    assert "is below 1; " in warning


def test_people_may_skip_all_that_the_drawer_leaves(tmp_path: Path) -> None:
    workspace = begin(
        tmp_path / "w",
        "dataset.limit=120",
        "loop.initial=100",
        "loop.query_size=5",
        "label.labeler=files",
        "label.noise=0",
        "policy.metric=accuracy",
        "policy.false_start.expected={100: 1.0}",
    )
    classes = files.read_json(workspace.pool / "pool.json")["classes"]
    while (step := loop.next_step(workspace)) is not None and (step.round, step.name) != (1, "train"):
        if step.name == "label":
            folder = workspace.round_dir(step.round)
            given = [
                f"{id_},{classes[0]},done" if step.round == 0 else f"{id_},,skipped"
                for id_ in unpaid(workspace, step.round)
            ]
            (folder / "labels.csv").write_text("id,label,status\n" + "\n".join(given) + "\n")
        loop.run(workspace, step)
    assert 0 < files.count_rows(workspace.round_dir(1) / "labels.parquet") < 100
