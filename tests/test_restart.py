"""False starts: the loop begins anew, what was bought is kept, and what was wasted stays on the bill."""

from itertools import pairwise
from pathlib import Path

import pytest

from tasks import files, loop
from tasks.config import parse
from tasks.cost import ledger
from tasks.drawer import drawer, unpaid
from tasks.history import Outcome, aborted, history, wasted
from tasks.policy import false_start
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


def judged(labels: int = 20, **outcome: object) -> str | None:
    """What is decided of a first round; a good one unless said otherwise."""
    config = parse(
        {
            "name": "test",
            "loop": {"initial": 20, "max_labels": labels + 20},
            "policy": {"false_start": {"expected": {10: 0.2, 30: 0.4}}, "metric": "accuracy"},
            "prices": PRICES,
        },
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
    )  # type: ignore[arg-type]
    made = false_start.decide(Situation([first], config, 100, 80, 10, classes=10))
    return None if made is None else made.action


def test_what_makes_a_false_start() -> None:
    assert judged() is None
    assert judged(diverged=True) == "restart"
    assert judged(last_loss=2.2) == "restart"
    assert judged(accuracy=0.11) == "restart"
    assert judged(accuracy=0.29) == "restart"
    assert judged(accuracy=0.31) is None


def test_nothing_left_to_buy_another_initial_pool_with() -> None:
    assert judged(diverged=True, bought=30) == "stop"


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
