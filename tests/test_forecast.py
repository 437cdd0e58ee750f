"""The forecast of what rounds use and cost, held against the bills of loops that were really run."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import files, loop, registry
from tasks.config import Config, parse
from tasks.config_policy import BudgetRule
from tasks.cost import forecast, ledger, scored
from tasks.cost.rates import Rates
from tasks.datasets import run as pool_stage
from tasks.forecast import loop as forecasts
from tasks.history import Outcome, history
from tasks.infer import clustering
from tasks.infer.narrowing import narrow
from tasks.infer.scopes.scope import Known
from tasks.policy import next_round
from tasks.policy.situation import Situation
from tasks.policy.stop import budget
from tasks.rounds import Workspace, begin, rounds
from tasks.train.fit import fewest_items
from tests.model_helpers import MODELS_AND_KINDS, named
from tests.pools import PRICES

POOL, HELD_OUT = 60, 500
RATES = Rates("cpu", record_epoch=3e-3, forward_pass=1e-3, stage=0.5)
#: A loop of five rounds on a few digits, in a second or two.
TINY: dict[str, Any] = {
    "name": "tiny",
    "device": "cpu",
    "dataset": {"name": "digits", "limit": POOL},
    "loop": {"rounds": 4, "initial": 8, "query_size": 7},
    "train": {"model": "linear", "epochs": 2, "batch_size": 16},
    "prices": PRICES,
}
NET = {"model": "ceal_cnn", "epochs": 1, "batch_size": 16}
#: A proxy of 4 x 4 pixels.
SMALL = {"train": NET | {"members": 1, "repeats": 1}, "data": {"image_size": 4}}
CANDIDATES = {"scope": ["candidates"], "candidates": {"ratio": 0.3}}


def tiny(**blocks: Any) -> Config:
    return parse(TINY | blocks, "test")


def finished(root: Path, config: Config) -> Workspace:
    """The workspace of a loop after its last round, without any record."""
    workspace = Workspace(root)
    begin(workspace, config)
    pool_stage.run(workspace, config)
    while (step := loop.next_step(workspace)) is not None:
        loop.run(workspace, step)
    return workspace


def billed(workspace: Workspace) -> list[tuple[int, ...]]:
    """What each round's ledger counted, in the order of ``counted``."""
    found = []
    for number in rounds(workspace):
        used = {name: made["used"] for name, made in ledger.ledger(workspace.round_dir(number))["stages"].items()}
        infer = used.get("infer", {"items_scored": 0, "forward_passes": 0})
        train = used["train"]
        target = used.get("target", {"record_epochs": 0, "forward_passes": 0})
        units = (train["record_epochs"], train["forward_passes"], infer["items_scored"], infer["forward_passes"])
        units += (target["record_epochs"], target["forward_passes"])
        found.append((used["label"]["labels"], *units, len(used)))
    return found


def counted(work: forecast.Work) -> tuple[int, ...]:
    return (
        work.labels,
        work.record_epochs,
        work.train_passes,
        work.items_scored,
        work.infer_passes,
        work.target_record_epochs,
        work.target_passes,
        work.stages,
    )


@pytest.mark.parametrize(
    "blocks",
    [
        {},
        {"policy": {"query_size": "schedule", "schedule": {"shares": [0.1, 0.2, 0.25]}}},
        {"policy": {"query_size": "geometric"}, "loop": {"rounds": 9, "initial": 8, "max_labels": 50}},
        {"loop": {"rounds": 9, "initial": 20, "query_size": 17}},
        {"policy": {"retrain": "warm", "warm": {"epochs": 1}}, "infer": CANDIDATES},
        {"policy": {"retrain": "resume", "resume": {"replay": 0.3}}},
        {"policy": {"retrain": "resume", "resume": {"replay": 0, "epochs": 3}}, "select": {"strategy": "random"}},
        {"policy": {"retrain": "shrink_perturb", "query_size": "geometric"}},
        {
            "loop": {"rounds": 2, "initial": 9, "query_size": 1},
            "train": TINY["train"] | {"model": "resnet18"},
            "policy": {"retrain": "resume", "resume": {"replay": 0}},
        },
        {"train": NET, "infer": {"passes": 3, "first_passes": 2, **CANDIDATES}},
        {"train": NET, "infer": {"scope": ["top"], "top": {"size": 11}}},
        {"train": TINY["train"] | {"members": 2}, "infer": {"acquisition": "bald"}},
        {"train": TINY["train"] | {"repeats": 2}},
        {"infer": {"scope": ["prune", "candidates"], "candidates": {"size": 5}}},
        {"policy": {"stop": {"all": {"stable_predictions": {"patience": 9}}}, "stop_set": 25}},
        {"train": NET, "proxy": SMALL | {"target": {"every": 2, "at": [8]}}},
        {
            "loop": {"rounds": 3, "initial": 20, "query_size": 20},
            "train": NET | {"members": 2, "repeats": 2},
            "proxy": SMALL | {"ceiling": True, "agreement": 25, "target": {"every": 1}},
            "infer": {"passes": 2, "acquisition": "bald"},
            "policy": {"retrain": "warm", "warm": {"epochs": 1}, "stop_set": 9},
        },
        {
            "train": TINY["train"],
            "proxy": {"train": NET, "ceiling": True},
            "infer": {"passes": 3, "acquisition": "predictive_entropy"},
        },
    ],
    ids=[
        "as it comes",
        "schedule",
        "geometric up to max_labels",
        "the pool runs out",
        "warm on candidates",
        "resume with replay",
        "resume without, and no scores",
        "shrink_perturb",
        "a single new item is too few for batch normalisation",
        "passes and first_passes",
        "top",
        "members",
        "repeats",
        "scopes one after the other",
        "stop set",
        "a proxy, and its target now and then",
        "a proxy with dropout, and an ensemble of targets with their ceiling",
        "a target that cannot be compared",
    ],
)
def test_the_forecast_is_the_ledger_of_the_finished_loop(tmp_path: Path, blocks: dict[str, Any]) -> None:
    config = tiny(**blocks)
    forecast_ = forecasts.rounds(config, POOL, HELD_OUT)
    assert [counted(planned.work) for planned in forecast_] == billed(finished(tmp_path, config))


def test_clusters_are_bounded_and_their_first_pass_is_exact(tmp_path: Path) -> None:
    config = tiny(infer={"scope": ["clusters"], "clusters": {"count": 4, "ratio": 0.25}})
    forecast_ = [planned.work for planned in forecasts.rounds(config, POOL, HELD_OUT)]
    done = billed(finished(tmp_path, config))
    assert forecast_[0].exact
    assert counted(forecast_[0]) == done[0]
    assert done[0][4] == 3 * done[0][3]
    for work, bill in zip(forecast_[1:-1], done[1:-1], strict=True):
        assert not work.exact
        assert "clusters" in " ".join(work.why)
        assert bill[3] <= work.items_scored
        assert bill[:3] == counted(work)[:3]


def test_centres_are_found_on_as_many_items_as_forecast() -> None:
    assert forecast.CLUSTERED == clustering._FITTED


def test_validation_is_an_expectation(tmp_path: Path) -> None:
    train = TINY["train"] | {"validation": 0.25}
    config = tiny(train=train)
    works = [planned.work for planned in forecasts.rounds(config, POOL, HELD_OUT)]
    done = billed(finished(tmp_path, config))
    assert not any(work.exact for work in works)
    # Of n labels each is held back by itself, so their number is binomial: within three of its deviations.
    labels = np.cumsum([bill[0] for bill in done])
    for work, bill, count in zip(works, done, labels, strict=True):
        assert abs(work.record_epochs - bill[1]) / 2 <= 3 * math.sqrt(count * 0.25 * 0.75)
    assert [bill[3] for bill in done] == [work.items_scored for work in works]


def test_with_patience_the_epochs_are_an_upper_bound() -> None:
    train = TINY["train"] | {"validation": 0.25, "patience": 1}
    work = forecast.work(tiny(train=train), before=0, query_size=8, pool=POOL, held_out=HELD_OUT)
    without = forecast.work(
        tiny(train=TINY["train"] | {"validation": 0.25}), before=0, query_size=8, pool=POOL, held_out=HELD_OUT
    )
    assert work.record_epochs == without.record_epochs
    assert "at most" in " ".join(work.why)


def test_a_pool_of_100000_and_a_loop_of_1000_leave_99000_inferences(config: Config) -> None:
    work = forecast.work(config, before=0, query_size=1000, pool=100_000, held_out=10_000)
    assert (work.items_scored, work.infer_passes) == (99_000, 99_000)


@pytest.mark.parametrize(("mode", "records"), [("scratch", 15_000), ("resume", 5_000)])
def test_five_loops_of_1000_train_on_15000_records_from_scratch_and_on_5000_resumed(mode: str, records: int) -> None:
    config = tiny(
        loop={"rounds": 5, "initial": 1000, "query_size": 1000},
        train={"model": "linear", "epochs": 1},
        policy={"retrain": mode, "resume": {"replay": 0}},
    )
    assert sum(planned.work.record_epochs for planned in forecasts.rounds(config, 100_000, 10)) == records


@given(
    st.integers(1, 60),
    st.lists(st.sampled_from(["full", "candidates", "top", "every", "clusters", "prune"]), max_size=3, unique=True),
    st.floats(0.01, 1),
    st.integers(0, 2**32),
)
def test_what_scopes_leave_lies_within_the_forecast_bounds(
    count: int, names: list[str], ratio: float, seed: int
) -> None:
    scopes = [_scope(name, round(ratio, 3)) for name in names]
    bounds = scored.under(scopes, count)
    draw = np.random.default_rng(seed)
    known = Known(
        ids=pa.array([f"x{number}" for number in range(count)]),
        score=draw.random(count),
        scored_round=np.zeros(count, dtype=np.int32),
        times_scored=np.full(count, 2, dtype=np.int32),
        cluster=draw.integers(0, 3, count, dtype=np.int32),
        distance=draw.random(count, dtype=np.float32),
        dropped=np.zeros(count, dtype=np.bool_),
        round=1,
    )
    kept, _, _ = narrow(known, scopes, np.random.SeedSequence(seed))
    assert bounds.low <= len(kept) <= bounds.high
    assert bounds.low <= bounds.expected <= bounds.high
    assert bounds.exact == (not bounds.why)


def _scope(name: str, ratio: float) -> dict[str, Any]:
    infer = {"scope": [name], "candidates": {"ratio": ratio}, "top": {"ratio": ratio}, "clusters": {"count": 3}}
    block = getattr(tiny(infer=infer).infer, name, None)
    return {"name": name, **(block.model_dump(mode="json") if block is not None else {})}


def test_every_scope_can_be_forecast() -> None:
    assert set(scored._NARROWED) == set(registry.SCOPES)


@pytest.mark.parametrize(
    ("blocks", "told"),
    [
        ({"query_size": "cost_optimal", "metric": "accuracy", "cost_optimal": {"target": 0.9}}, "cost_optimal"),
        ({"retrain": "auto"}, "auto"),
        ({"stop": {"rounds": {"at_least": 2}}}, "at most"),
        ({"false_start": {}}, "false_start"),
    ],
)
def test_what_only_the_models_will_tell_is_said(blocks: dict[str, Any], told: str) -> None:
    config = tiny(policy=blocks)
    assert told in " ".join(forecasts.notes(config))
    assert len(forecasts.rounds(config, POOL, HELD_OUT)) == 4


def test_the_price_is_that_of_labels_device_and_machine() -> None:
    prices = PRICES | {"label": 0.5, "annotator_second": 0.01, "batch_fee": 3.0, "device_hour": {"cpu": 7.2}}
    config = tiny(prices=prices, label={"seconds": 20})
    work = forecast.Work(10, record_epochs=1000, train_passes=1500, items_scored=40, infer_passes=400, exact=True)
    price = forecast.price(work, config, RATES)
    assert price.labels == pytest.approx(10 * (0.5 + 20 * 0.01) + 3.0)
    # 1,000 record-epochs of 3 ms, 500 evaluations and 400 passes of 1 ms; four stages of half a second.
    assert price.device_hours == pytest.approx(3.9 / 3600)
    assert price.wall_hours == pytest.approx(5.9 / 3600)
    assert price.compute == pytest.approx(3.9 * 0.002)
    assert price.overhead == pytest.approx(2 * 0.002)
    assert price.money == pytest.approx(price.labels + price.compute + price.overhead)


def test_evaluations_have_a_rate_of_their_own_where_it_is_known() -> None:
    work = forecast.Work(10, record_epochs=1000, train_passes=1500, items_scored=40, infer_passes=400, exact=True)
    plain = Rates("cpu", record_epoch=3e-3, forward_pass=1e-3, evaluation=5e-3)
    assert forecast.device_seconds(work, plain) == pytest.approx(3 + 500 * 5e-3 + 0.4)


@given(st.integers(0, 100), st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from([3, 4]))
def test_the_lines_of_the_bill_are_the_price(labels: int, records: int, passes: int, stages: int) -> None:
    config = tiny(prices=PRICES | {"batch_fee": 2.0})
    infer = passes if stages == 4 else 0
    work = forecast.Work(labels, records, records + 500, infer, infer, exact=True, stages=stages)
    assert forecast.bill(work, config, RATES).total == pytest.approx(
        forecast.price(work, config, RATES).money, abs=1e-5
    )


def test_the_lines_of_the_bill_are_the_price_with_a_target_too() -> None:
    config, rates = tiny(), Rates("cpu", 3e-3, 1e-3, 0.5, target_record_epoch=0.3, target_forward_pass=0.1)
    used = forecast.Work(9, 1000, 1500, 40, 40, exact=True, stages=4)
    target = forecast.Work(0, 0, 0, 0, 0, True, (), 1, 1, target_record_epochs=200, target_passes=290, proxy_passes=30)
    work = used + target
    assert forecast.device_seconds(target, rates) == pytest.approx(200 * 0.3 + 60 * 0.1 + 30 * 1e-3)
    assert forecast.bill(work, config, rates).total == pytest.approx(
        forecast.price(work, config, rates).money, abs=1e-5
    )
    assert forecast.bill(work, config, rates).inference == forecast.bill(used, config, rates).inference


def test_each_rounds_own_forecast_has_the_target_as_far_as_that_is_known(tmp_path: Path) -> None:
    config = tiny(train=NET, proxy=SMALL | {"target": {"every": 2}}, loop={"rounds": 3, "initial": 8, "query_size": 7})
    workspace = finished(tmp_path, config)
    told = [files.read_json(workspace.round_dir(number) / "forecast.json") for number in rounds(workspace)]
    names = ("labels", "record_epochs", "train_passes", "items_scored", "infer_passes")
    names += ("target_record_epochs", "target_passes", "stages")
    assert [tuple(one[name] for name in names) for one in told] == billed(workspace)


@pytest.mark.parametrize(
    "policy",
    [{"stop": {"budget": {"labels": 1000}}}, {"false_start": {"rounds": 9, "above_chance": 0.0, "loss_falls": 1e-6}}],
)
def test_a_forecast_is_not_exact_where_a_policy_may_end_the_loop_with_a_target(
    tmp_path: Path, policy: dict[str, Any]
) -> None:
    loop_ = {"rounds": 3, "initial": 8, "query_size": 7}
    told = {}
    for name, end in (("end", True), ("every", False)):
        learner = {"model": "linear", "epochs": 5, "lr": 0.05}
        proxy = {"train": learner, "agreement": 10, "target": {"every": 3, "end": end}}
        config = tiny(train=NET, proxy=proxy, loop=loop_, policy={"metric": "accuracy"} | policy)
        workspace = finished(tmp_path / name, config)
        told[name] = [files.read_json(workspace.round_dir(number) / "forecast.json") for number in rounds(workspace)]
    assert [len(each) for each in told.values()] == [3, 3]
    assert not any(one["exact"] for one in told["end"][:2])
    assert all("proxy.target.end" in why for one in told["end"][:2] for why in one["why"])
    # The last round ends the loop whatever a policy says, and without proxy.target.end no policy asks for a target.
    assert all(one["exact"] for one in [*told["end"][2:], *told["every"]])


def test_a_budget_keeps_what_the_target_will_take() -> None:
    proxy = {"train": NET, "agreement": 10, "target": {"every": 1}}
    done = [outcome(0, 8, scored_=False)]
    now = situation(done, train=TINY["train"] | {"epochs": 5}, proxy=proxy)
    left = forecast.targeted(now.config, 8, now.unlabeled, HELD_OUT)
    left += forecast.targeted(now.config, 15, now.unlabeled - 7, HELD_OUT)
    assert next_round.targets(now, 7) == left
    price, reserved = next_round.price(now, 7), next_round.reserved(now, 7)
    assert price is not None
    assert reserved is not None
    assert budget.verdict(now, BudgetRule(money=100.0)).numbers["money"]["next"] == pytest.approx(
        reserved.money, abs=1e-5
    )
    assert reserved.money - price.money == pytest.approx(forecast.price(left, now.config, RATES).money)
    assert next_round.targets(situation(done), 7) == forecast.Work(0, 0, 0, 0, 0, exact=True, stages=0)


def test_no_labels_no_fee_and_a_device_without_a_price_is_free() -> None:
    config = tiny(prices=PRICES | {"batch_fee": 2.0, "device_hour": {"cpu": 0.2}})
    work = forecast.Work(0, record_epochs=1000, train_passes=1000, items_scored=0, infer_passes=0, exact=True)
    price = forecast.price(work, config, Rates("cuda", 1.0, 1.0))
    assert (price.labels, price.compute, price.money) == (0, 0, 0)
    assert price.device_hours > 0


def test_the_models_of_which_a_batch_holds_two_items_are_those_that_normalise() -> None:
    models = [(name, named(name, kind, 10, (3, 64, 64), "meta")[0]) for name, kind in MODELS_AND_KINDS]
    assert {name for name, model in models if fewest_items(model) == 2} == registry.NORMALISED


def test_what_people_take_and_skip_is_not_known_beforehand() -> None:
    people = {"label": {"labeler": "files", "seconds": 9.0}}

    def counted_(**blocks: Any) -> forecast.Work:
        return forecast.work(tiny(**blocks), before=8, query_size=7, pool=POOL, held_out=HELD_OUT)

    assert counted_().exact
    assert counted_(**people).why == ("label.labeler: people may skip items, so at most",)
    timed = PRICES | {"annotator_second": 0.01}
    assert "how long people take" in counted_(**people, prices=timed).why[1]
    assert counted_(label={"seconds": 9.0}, prices=timed).exact
    # The seconds of the configuration are the oracle's.
    assert forecast.labels_price(7, tiny(**people, prices=timed)) == pytest.approx(7 * PRICES["label"])
    assert forecast.labels_price(7, tiny(**people, prices=timed), 5.0) == pytest.approx(7 * (PRICES["label"] + 0.05))


def test_people_go_on_at_the_price_that_they_have_shown() -> None:
    prices = PRICES | {"label": 0.5, "annotator_second": 0.01, "batch_fee": 3.0}
    people: dict[str, Any] = {"prices": prices, "label": {"labeler": "files"}}
    done = [outcome(0, 8, scored_=True), outcome(1, 15, scored_=True), outcome(2, 15, scored_=True)]
    # Two batches, 0.5 a label, and 20 seconds of each; nothing was bought in the third round.
    done[-1] = replace(done[-1], money_labels=2 * 3.0 + 15 * (0.5 + 20 * 0.01))
    now = situation(done, **people)
    assert now.label_seconds == pytest.approx(20)
    price = next_round.price(now, 7)
    assert price is not None
    assert price.labels == pytest.approx(next_round.labels_price(now, 7)) == pytest.approx(7 * 0.7 + 3.0)
    assert budget.verdict(now, BudgetRule(money=100.0)).numbers["money"]["next"] == pytest.approx(price.money, abs=1e-5)
    assert situation([], **people).label_seconds == 0
    assert situation([replace(done[-1], money_labels=math.nan)], **people).label_seconds == 0
    oracle = {"prices": prices, "label": {"seconds": 4.0}}
    assert situation(done, **oracle).label_seconds == 4


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return finished(tmp_path_factory.mktemp("ended"), tiny())


def outcome(round_: int, labels: int, scored_: bool) -> Outcome:
    stages = {"select": 0.1, "label": 0.1, "train": 1.0} | ({"infer": 1.0} if scored_ else {})
    nothing = dict.fromkeys(("money", "money_labels", "money_compute", "device_hours"), 0.0)
    return Outcome(
        round_, labels, 0.5, 1.0, 0.1, **nothing, record_epochs=0, items_scored=0, stage_seconds=stages, bought=labels
    )


def situation(done: list[Outcome], rates: Rates | None = RATES, **blocks: Any) -> Situation:
    labels = done[-1].labels if done else 0
    return Situation(done, tiny(**blocks), POOL, POOL - labels, HELD_OUT, rates)


def test_without_rates_nobody_knows_the_price() -> None:
    assert next_round.price(situation([], rates=None), 7) is None


def test_before_a_round_its_own_scoring_is_counted(ended: Workspace) -> None:
    work = next_round.work(situation([outcome(0, 8, scored_=True)]), 7)
    assert counted(work) == billed(ended)[1]


def test_after_a_training_the_scoring_that_is_due_is_counted(ended: Workspace) -> None:
    first, second = billed(ended)[:2]
    work = next_round.work(situation([outcome(0, 8, scored_=False)]), 7)
    assert counted(work) == (*second[:3], *first[3:5], 0, 0, 4)


def test_as_many_candidates_are_priced_as_the_last_plan_has() -> None:
    def scored_(policy: dict[str, Any], **known: Any) -> list[int]:
        infer = {"scope": ["prune", "candidates"], "candidates": {"size": 20}}
        done = [outcome(0, 8, scored_=True), outcome(1, 10, scored_=True)]
        works = []
        for stages in ({}, {"infer": 1.0}):
            done[-1] = replace(done[-1], stage_seconds=stages, **known)
            works.append(next_round.work(situation(done, infer=infer, policy=policy), 7))
        return [work.items_scored for work in works]

    assert scored_({"scope": "adaptive"}, candidates=33) == [33, 33]
    assert scored_({"scope": "adaptive"}) == [20, 20]
    assert scored_({}, candidates=33) == [20, 20]
    first = replace(outcome(0, 8, scored_=False), candidates=None)
    adaptive = {"infer": {"scope": ["candidates"], "candidates": {"size": 20}}, "policy": {"scope": "adaptive"}}
    assert next_round.work(situation([first], **adaptive), 7).items_scored == POOL - 8


def test_the_candidates_of_an_adaptive_loop_are_in_its_history_and_priced(tmp_path: Path) -> None:
    infer = {"scope": ["candidates"], "candidates": {"size": 12, "explore": 0.5}}
    policy = {"scope": "adaptive", "adaptive": {"recall": 0.9, "smallest": 12}}
    config = tiny(infer=infer, policy=policy, loop={"rounds": 5, "initial": 8, "query_size": 7})
    workspace = finished(tmp_path, config)
    outcomes, bills = history(workspace), billed(workspace)
    sizes = [one.candidates for one in outcomes]
    assert sizes[0] is None
    assert len(set(sizes[1:])) > 1
    for number, bill in enumerate(bills[:-1]):
        trained = [*outcomes[:number], replace(outcomes[number], stage_seconds={"train": 1.0})]
        labels = trained[-1].labels
        due = next_round.due(Situation(trained, config, POOL, POOL - labels, HELD_OUT, RATES))
        assert (due.items_scored, due.infer_passes) == bill[3:5]


def test_the_last_round_is_not_scored_but_the_scoring_before_it_is(ended: Workspace) -> None:
    done = [outcome(number, 8 + 7 * number, scored_=number < 2) for number in range(3)]
    due = next_round.work(situation(done), 7)
    assert due.items_scored == billed(ended)[2][3]
    done[-1] = outcome(2, 22, scored_=True)
    assert counted(next_round.work(situation(done), 7)) == billed(ended)[3]


def test_the_first_round_is_from_scratch_whatever_the_mode() -> None:
    resumed = next_round.work(situation([], policy={"retrain": "resume"}), 8)
    assert counted(resumed) == counted(next_round.work(situation([]), 8))


@given(st.integers(1, 51), st.integers(1, 51))
def test_more_labels_never_cost_less(one: int, other: int) -> None:
    now = situation([outcome(0, 8, scored_=False)])
    few, many = sorted((one, other))
    low, high = next_round.price(now, few), next_round.price(now, many)
    assert low is not None
    assert high is not None
    assert low.money <= high.money
    assert low.device_hours <= high.device_hours


def test_a_scope_of_a_plan_is_counted_as_it_stands() -> None:
    scope = [_scope("candidates", 0.2)]
    work = forecast.work(tiny(), before=8, query_size=7, pool=POOL, held_out=HELD_OUT, scope=scope)
    assert work.items_scored == math.ceil(0.2 * 45)
    assert forecast.work(tiny(), before=8, query_size=7, pool=POOL, held_out=0, scope="none").items_scored == 0
