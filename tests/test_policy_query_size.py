"""How many labels next: schedule, geometric and cost_optimal, the last against brute force."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache, reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks import registry
from tasks.config import parse
from tasks.cost import forecast
from tasks.cost.rates import Rates
from tasks.errors import ConfigError
from tasks.history import Outcome
from tasks.policy import curve as curves
from tasks.policy import next_round
from tasks.policy.query_size import bounds, choice, cost_optimal, geometric, schedule
from tasks.policy.retrain import choice as retrain
from tasks.policy.situation import Situation
from tasks.policy.stop import budget, rules

Floats = npt.NDArray[np.float64]

#: Of a round after which INFER was run.
SCORED = {"infer": 1.0}
RATES = Rates("cpu", 2e-3, 7e-4, 1.0)
POINTS = [(200, 0.9200), (400, 0.9460), (600, 0.9567), (800, 0.9624), (1000, 0.9663), (1200, 0.9706)]
#: Of a loop that aims at 98 %, with so few sizes to choose from that each is tried.
NARROW = {"target": 0.98, "smallest": 150, "largest": 240}
VALUES: dict[str, Any] = {
    "name": "test",
    "loop": {"rounds": 500, "initial": 200, "query_size": 70},
    "policy": {"metric": "accuracy"},
    "prices": {"currency": "USD", "label": 0.05, "batch_fee": 0.5, "device_hour": {"cpu": 1.0}},
}


def situation(
    points: list[tuple[int, float]] = POINTS, pool: int = 6_000, rates: Rates | None = RATES, **values: Any
) -> Situation:
    """A loop after rounds with these labels and accuracies; ``values`` by dotted key with __ for the dots."""
    nested = copy.deepcopy(VALUES)
    for key, value in values.items():
        *path, last = key.split("__")
        reduce(lambda block, name: block.setdefault(name, {}), path, nested)[last] = value
    config = parse(nested, "test")
    history = [
        Outcome(
            number, labels, accuracy, 0.1, 0.01, 0.05 * labels, 0.05 * labels, 0.0, 0.0, 0, 0, SCORED, bought=labels
        )
        for number, (labels, accuracy) in enumerate(points)
    ]
    return Situation(history, config, pool, pool - (points[-1][0] if points else 0), 10_000, rates)


def aiming(cost_optimal_: dict[str, Any], **values: Any) -> Situation:
    """The same with cost_optimal in use."""
    return situation(policy__query_size="cost_optimal", **{"policy__cost_optimal": cost_optimal_} | values)


def within(budget: dict[str, Any], cost_optimal_: dict[str, Any], **values: Any) -> Situation:
    """The same without a target, with a budget."""
    return aiming(cost_optimal_, policy__stop__budget=budget, **values)


def pricing(at: Situation) -> Callable[[int, int, bool], forecast.Price]:
    """The forecast price of a round by labels before it, its query size, and whether INFER follows."""
    assert at.rates is not None
    rates, mode = at.rates, retrain.choose(at).value

    @cache
    def price(before: int, size: int, scored: bool) -> forecast.Price:
        work = forecast.work(
            at.config,
            before=before,
            query_size=size,
            pool=at.pool,
            held_out=at.held_out,
            retrain=mode,
            scored=scored,
        )
        return forecast.price(work, at.config, rates)

    return price


def needs(at: Situation) -> Floats:
    """Labels at which the curves reach the target, of those that reach it within the pool."""
    target = at.config.policy.cost_optimal.target
    assert target is not None
    needed = curves.fit(at.curve).sampled_labels_for(target)
    return needed[needed <= at.pool]


class BruteForce:
    """The loop, round by round, until the labels suffice for one curve, then for the next."""

    def __init__(self, at: Situation) -> None:
        self.labels, self.price, self.needs = at.attempt[-1].labels, pricing(at), sorted(needs(at))

    def money(self, size: int) -> float:
        """The mean over the curves."""
        labels, rounds, spent, total = self.labels, 0, 0.0, 0.0
        for needed in self.needs:
            while labels < needed or not rounds:
                if rounds:
                    before = labels - size
                    spent += self.price(before, size, True).money - self.price(before, size, False).money
                spent += self.price(labels, size, False).money
                labels, rounds = labels + size, rounds + 1
            total += spent
        return total / len(self.needs)

    def cheapest(self, sizes: range) -> float:
        """The least of all sizes."""
        return min(map(self.money, sizes))


# --- schedule and geometric


def test_default_schedule_is_that_of_selection_via_proxy() -> None:
    sizes: list[int] = []
    points: list[tuple[int, float]] = []
    for _ in range(6):
        sizes.append(schedule.choose(situation(points, 50_000)).value)
        points.append((sum(sizes), 0.5))
    assert sizes == [1000, 4000, 5000, 5000, 5000, 5000]


@given(st.lists(st.decimals("0.001", "1", places=3), min_size=1, max_size=5), st.integers(1, 9), st.integers(1, 10**7))
def test_scheduled_sizes_add_up_to_the_rounded_sum_of_the_shares(shares: list[Any], rounds: int, pool: int) -> None:
    shares_ = [float(share) for share in shares]
    sizes = [
        schedule.choose(situation([(1, 0.5)] * done, pool, policy__schedule__shares=shares_)).value
        for done in range(rounds)
    ]
    wanted = sum(shares[min(done, len(shares) - 1)] for done in range(rounds)) * pool
    assert min(sizes) >= 1
    assert sizes.count(1) or abs(sum(sizes) - wanted) <= 0.5


def test_every_scheduled_round_asks_for_something() -> None:
    assert schedule.choose(situation([(1, 0.5)], 3, policy__schedule__shares=[0.001])).value == 1


def test_first_round_is_the_initial_pool_unless_a_schedule_says_otherwise() -> None:
    for module in (geometric, cost_optimal):
        assert module.choose(situation([])).value == 200
    assert schedule.choose(situation([], 10_000)).value == 200
    assert schedule.choose(situation([], 20_000)).value == 400


@pytest.mark.parametrize(("factor", "size"), [(2, 100), (1.1, 10), (1.101, 11), (1.5, 50), (1.0001, 1), (3, 200)])
def test_geometric_size_is_rounded_up_from_the_factor_as_written(factor: float, size: int) -> None:
    assert geometric.choose(situation([(100, 0.5)], policy__geometric__factor=factor)).value == size


def test_geometric_size_is_bounded() -> None:
    bounded = geometric.choose(situation([(100, 0.5)], policy__geometric__largest=30))
    assert (bounded.value, bounded.reason) == (30, "policy.geometric.largest")
    assert geometric.choose(situation([(20, 0.5)], policy__geometric__largest=30)).value == 20


@given(st.floats(1.0001, 1000), st.integers(1, 10**6), st.integers(0, 10**6))
def test_a_geometric_size_grows_with_the_labels(factor: float, labels: int, more: int) -> None:
    few, many = (
        geometric.choose(situation([(count, 0.5)], 10**9, policy__geometric__factor=factor)).value
        for count in (labels, labels + more)
    )
    assert 1 <= few <= many
    assert math.isclose(labels + few, factor * labels, abs_tol=1 + 1e-6 * few)


# --- cost_optimal: to a target


@settings(max_examples=15, deadline=None)
@given(
    st.floats(0.001, 1),
    st.floats(0, 50),
    st.floats(0, 100),
    st.floats(0.972, 0.982),
    st.sampled_from(["scratch", "warm", "resume"]),
)
def test_size_to_a_target_costs_what_the_best_of_all_does(
    label: float, fee: float, hour: float, target: float, mode: str
) -> None:
    at = aiming(
        NARROW | {"target": target},
        prices__label=label,
        prices__batch_fee=fee,
        prices__device_hour__cpu=hour,
        policy__retrain=mode,
    )
    chosen = cost_optimal.choose(at)
    force = BruteForce(at)
    best = force.cheapest(range(150, 241))
    assert force.money(chosen.value) == pytest.approx(best, rel=1e-6 if mode != "resume" else 1e-3)
    assert chosen.numbers["expected_money"] == pytest.approx(best, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize(
    "scope",
    [
        {"infer__scope": ["full"]},
        {"infer__scope": ["candidates"], "infer__candidates__size": 1250},
        {"infer__scope": ["candidates"], "infer__candidates__ratio": 0.07},
        {"select__strategy": "random"},
        {"train__validation": 0.1},
    ],
)
@pytest.mark.parametrize("hour", [0.02, 20.0])
def test_size_out_of_a_wide_range_costs_at_most_a_hundredth_more(
    scope: dict[str, Any], hour: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "EVERY", 1)
    at = aiming({"target": 0.978, "smallest": 40, "largest": 500}, prices__device_hour__cpu=hour, **scope)
    size, force = cost_optimal.choose(at).value, BruteForce(at)
    assert 40 <= size <= 500
    assert force.money(size) <= 1.01 * force.cheapest(range(40, 501))


def test_dear_labels_make_small_queries_and_dear_compute_large_ones() -> None:
    wide = {"target": 0.98, "smallest": 10}
    dear_labels, dear_compute = (
        cost_optimal.choose(aiming(wide, prices__label=label, prices__device_hour__cpu=hour)).value
        for label, hour in ((10, 0.01), (0.01, 10))
    )
    assert dear_labels < 40 < 400 < dear_compute


def bought(at: Situation, size: int) -> tuple[float, float]:
    """Mean labels and rounds to the target."""
    rounds = np.maximum(np.ceil((np.ceil(needs(at)) - at.attempt[-1].labels) / size), 1)
    return float(rounds.mean() * size), float(rounds.mean())


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 2), st.floats(0, 2), st.floats(0, 20))
def test_a_higher_label_price_never_buys_more_labels(label: float, more: float, hour: float) -> None:
    cheap, dear = (aiming(NARROW, prices__label=each, prices__device_hour__cpu=hour) for each in (label, label + more))
    after, before = (bought(at, cost_optimal.choose(at).value)[0] for at in (dear, cheap))
    assert after <= before * (1 + 1e-9)


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 50), st.floats(0, 50), st.floats(0, 20))
def test_a_higher_fee_never_makes_more_rounds(fee: float, more: float, hour: float) -> None:
    low, high = (aiming(NARROW, prices__batch_fee=each, prices__device_hour__cpu=hour) for each in (fee, fee + more))
    after, before = (bought(at, cost_optimal.choose(at).value)[1] for at in (high, low))
    assert after <= before * (1 + 1e-9)


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from(["prices__label", "prices__batch_fee", "prices__device_hour__cpu"]),
    st.floats(0, 9),
    st.floats(0, 9),
)
def test_a_higher_price_never_makes_the_rest_cheaper(price: str, amount: float, more: float) -> None:
    low, high = (
        cost_optimal.choose(aiming(NARROW, **{price: each})).numbers["expected_money"]
        for each in (amount, amount + more)
    )
    assert high >= low


@settings(max_examples=20, deadline=None)
@given(st.integers(150, 200), st.integers(0, 20), st.integers(0, 20))
def test_more_sizes_to_choose_from_never_cost_more(smallest: int, below: int, above: int) -> None:
    narrow, wide = (
        cost_optimal.choose(aiming({"target": 0.98, "smallest": low, "largest": high})).numbers["expected_money"]
        for low, high in ((smallest, smallest + 30), (smallest - below, smallest + 30 + above))
    )
    assert wide <= narrow


def test_the_currency_s_unit_changes_nothing() -> None:
    prices = {"label": 0.05, "batch_fee": 0.5, "device_hour__cpu": 1.0}
    sizes = {
        cost_optimal.choose(aiming(NARROW, **{f"prices__{k}": unit * v for k, v in prices.items()})).value
        for unit in (1, 4, 64)
    }
    assert len(sizes) == 1


def test_rounds_left_have_to_suffice() -> None:
    loose, tight = (
        cost_optimal.choose(aiming({"target": 0.98}, prices__label=10, loop__rounds=rounds)) for rounds in (500, 15)
    )
    assert 9 * loose.value < tight.numbers["labels_ahead_high"] <= 9 * tight.value


def test_largest_size_doubles_the_labels_unless_it_is_set() -> None:
    free = {"prices__label": 0, "prices__device_hour__cpu": 100}
    assert cost_optimal.choose(aiming({"target": 0.98}, **free)).value <= 1200
    assert cost_optimal.choose(aiming({"target": 0.98, "largest": 20_000}, **free)).value > 1200


def test_a_short_curve_asks_for_a_default_and_says_how_many_rounds_are_missing() -> None:
    asked = cost_optimal.choose(aiming({"target": 0.98}, points=POINTS[:2]))
    assert asked.value == 70
    assert "2 more rounds needed" in asked.reason
    smallest = cost_optimal.choose(aiming({"target": 0.98, "smallest": 33}, points=POINTS[:3]))
    assert smallest.value == 33
    assert "1 more round needed" in smallest.reason


def test_nothing_is_computed_without_rates() -> None:
    asked = cost_optimal.choose(aiming({"target": 0.98}, rates=None))
    assert (asked.value, asked.numbers) == (70, {})
    assert "nobody has measured" in asked.reason


def test_a_target_out_of_reach_asks_for_a_default_and_says_where_the_curve_leads() -> None:
    asked = cost_optimal.choose(aiming({"target": 0.9999}))
    assert asked.value == 70
    assert "out of reach: with all of 6000 labels the curve comes to 0.98" in asked.reason
    low, there, high = (asked.numbers[f"accuracy_{where}"] for where in ("low", "there", "high"))
    assert low <= there <= high < 0.9999
    assert asked.numbers["reach_target"] < 0.5
    assert "out of reach" in cost_optimal.choose(aiming({"target": 0.98}, loop__max_labels=1300)).reason


def test_a_target_that_is_reached_needs_one_more_round_of_the_smallest_size() -> None:
    asked = cost_optimal.choose(aiming({"target": 0.93, "smallest": 20}))
    assert asked.value == 20
    assert asked.numbers["expected_rounds"] == 1


# --- cost_optimal: within a budget


def simulated(at: Situation, size: int, price: Callable[[int, int, bool], forecast.Price], money: float) -> Any:
    """Brute force: labels and money after as many rounds of ``size`` as the money allows."""
    labels, spent, due = at.attempt[-1].labels, 0.0, 0.0
    for _ in range(at.config.loop.rounds - len(at.attempt)):
        query = min(size, at.pool - labels)
        training = price(labels, query, False).money
        if not query or spent + due + training > money + 1e-9:
            break
        spent += due + training
        due = price(labels, query, True).money - training
        labels += query
    return labels, spent


@settings(max_examples=15, deadline=None)
@given(st.floats(62, 400), st.floats(0, 20), st.integers(10, 500))
def test_size_within_a_budget_gains_what_the_best_of_all_does(money: float, hour: float, rounds: int) -> None:
    sizes = range(30, 100)
    at = within({"money": money}, {"smallest": 30, "largest": 99}, prices__device_hour__cpu=hour, loop__rounds=rounds)
    chosen, price, curve = cost_optimal.choose(at), pricing(at), curves.fit(at.curve)
    ends = {size: simulated(at, size, price, money - 60.0) for size in sizes}
    if all(labels == 1200 for labels, _ in ends.values()):
        assert "no round fits" in chosen.reason
        return
    gains = {size: curve.at(labels) - curve.at(1200) for size, (labels, _) in ends.items()}
    good = [size for size in sizes if gains[size] >= 0.99 * max(gains.values()) and ends[size][0] > 1200]
    assert chosen.value in good
    assert ends[chosen.value][1] == pytest.approx(min(ends[size][1] for size in good), rel=1e-6)
    assert chosen.numbers["expected_labels"] == ends[chosen.value][0] - 1200


@settings(max_examples=30, deadline=None)
@given(st.floats(70, 500), st.floats(0, 500), st.sampled_from(["money", "device_hours", "wall_hours"]))
def test_a_larger_budget_never_promises_less(amount: float, more: float, kind: str) -> None:
    few, many = (
        cost_optimal.choose(within({kind: each}, {"smallest": 30, "largest": 99})).numbers["highest_accuracy"]
        for each in (amount, amount + more)
    )
    assert many >= few


@pytest.mark.parametrize("hours", [0.02, 0.05, 0.2])
def test_device_hours_are_kept_as_the_budget_rule_keeps_them(hours: float) -> None:
    at = within({"device_hours": hours}, {"smallest": 30, "largest": 99})
    chosen, price = cost_optimal.choose(at), pricing(at)
    used, labels, due = [0.0], 1200, 0.0
    for _ in range(chosen.numbers["expected_rounds"] + 1):
        training = price(labels, chosen.value, False).device_hours
        used.append(used[-1] + due + training)
        due = price(labels, chosen.value, True).device_hours - training
        labels += chosen.value
    assert used[-2] <= hours < used[-1]


def after_training(at: Situation) -> Situation:
    """The same before INFER is run."""
    return replace(at, history=[*at.history[:-1], replace(at.history[-1], stage_seconds={})])


def test_the_scoring_that_is_due_is_paid_out_of_the_budget() -> None:
    dear = {"prices__device_hour__cpu": 1000.0, "infer__passes": 3, "train__model": "ceal_cnn"}
    before = within({"money": 200.0}, {}, **dear)
    after = after_training(before)
    due = next_round.due(after)
    assert (due.items_scored, due.infer_passes, next_round.due(before).infer_passes) == (4800, 14_400, 0)
    assert before.rates is not None
    price = forecast.price(due, before.config, before.rates).money
    same = within({"money": 200.0 - price}, {}, **dear)
    asked, wanted = cost_optimal.choose(after), cost_optimal.choose(same)
    assert (asked.value, asked.numbers) == (wanted.value, wanted.numbers)
    assert asked.numbers["expected_money"] + price <= 140.0


@settings(max_examples=40, deadline=None)
@given(
    st.floats(60.01, 80),
    st.floats(0, 2000),
    st.sampled_from(["none", "target"]),
    st.sampled_from([4, 2]),
    st.sampled_from([{}, {"train__validation": 0.1}, {"policy__retrain": "resume"}]),
)
def test_a_query_is_as_large_as_the_budget_pays_for(
    money: float, hour: float, aim: str, rounds: int, mode: dict[str, Any]
) -> None:
    aims = {"target": 0.98} if aim == "target" else {}
    at = after_training(within({"money": money}, aims, points=POINTS[-rounds:], prices__device_hour__cpu=hour, **mode))
    rule = at.config.policy.stop.budgets()[0]
    asked = choice.choose(at)
    if "no round fits" in asked.reason:
        assert asked.value == 1
        assert budget.verdict(at, rule).holds
        return
    assert not budget.verdict(at, rule).holds
    if "what the budget" in asked.reason:
        assert asked.numbers["wanted"] > asked.value
        price = next_round.price(at, asked.value + 1)
        assert price is not None
        assert price.money > money - 60.0


class Simulated:
    """A loop with cost_optimal in which every unit takes just what was forecast, to its end by a rule."""

    def __init__(self, pass_: float, stop: dict[str, Any], noise: float = 0.002) -> None:
        rates = Rates("cpu", 1e-3, pass_, 1.0)
        dear = {"policy__stop": stop, "prices__device_hour__cpu": 2.0}
        self.at = aiming({}, points=[], pool=20_000, rates=rates, **dear)
        self.draw, self.noise, self.spent = np.random.default_rng(0), noise, 0.0
        while self.round():
            pass

    def round(self) -> bool:
        at, rates = self.at, self.at.rates
        assert rates is not None
        size = choice.choose(at).value
        self.spent += forecast.price(next_round.least(at, size), at.config, rates).money
        labels = size + (at.history[-1].labels if at.history else 0)
        accuracy = float(np.clip(0.99 - 1.2 * labels**-0.5 + self.draw.normal(0, self.noise), 0, 1))
        self.at = replace(at, unlabeled=at.pool - labels, history=[*at.history, self.outcome(labels, accuracy, {})])
        if rules.decide(self.at).action == "stop":
            return False
        self.spent += forecast.price(next_round.due(self.at), at.config, rates).money
        scored = self.outcome(labels, accuracy, SCORED)
        self.at = replace(self.at, history=[*self.at.history[:-1], scored])
        return True

    def outcome(self, labels: int, accuracy: float, stages: dict[str, float]) -> Outcome:
        number = len(self.at.history) - bool(stages)
        return Outcome(number, labels, accuracy, 0, 0, self.spent, 0, 0, 0, 0, 0, stages, bought=labels)


@settings(max_examples=12, deadline=None)
@given(st.floats(40, 300), st.floats(1.02, 1.5), st.sampled_from([2e-4, 4e-3, 4e-2]), st.sampled_from(["top", "any"]))
def test_a_larger_budget_buys_more_labels_and_is_spent(money: float, more: float, pass_: float, where: str) -> None:
    def ended(money: float) -> Simulated:
        rule = {"budget": {"money": money}}
        return Simulated(pass_, rule if where == "top" else {"any": rule})

    small, large = ended(money), ended(more * money)
    for loop, budget_ in ((small, money), (large, more * money)):
        # What is left does not pay for a round of one label and the scoring before it.
        last = next_round.price(loop.at, 1)
        assert last is not None
        assert budget_ - last.money < loop.spent <= budget_ * (1 + 1e-9)
    # Within reason: what rounds cost besides labels depends on how the curve's noise divides the labels among them.
    assert large.at.history[-1].labels >= 0.98 * small.at.history[-1].labels


def test_a_bound_on_labels_is_a_budget() -> None:
    asked = cost_optimal.choose(aiming({"largest": 500}, loop__max_labels=2000))
    assert asked.numbers["expected_labels"] <= 800
    assert asked.numbers["expected_accuracy"] > 0.975
    assert choice.choose(aiming({"largest": 500}, loop__max_labels=1201)).value == 1
    nested = aiming({}, policy__stop={"any": {"any": {"budget": {"labels": 1230}}, "budget": {"labels": 1240}}})
    assert choice.choose(nested).value == 30
    assert choice.choose(replace(nested, history=nested.history[:2])).value == 70


def test_a_curve_that_has_levelled_off_asks_for_a_default() -> None:
    asked = cost_optimal.choose(aiming({}, points=[(n, 0.9) for n, _ in POINTS], loop__max_labels=2000))
    assert asked.value == 70
    assert "levelled off" in asked.reason


# --- all of them


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(list(registry.QUERY_SIZES)),
    st.lists(st.tuples(st.integers(1, 300), st.floats(0, 1)), max_size=8),
    st.integers(1, 4000),
    st.sampled_from([{"loop__max_labels": 3000}, {"policy__cost_optimal__target": 0.9}]),
)
def test_a_size_is_an_integer_that_the_pool_has(
    policy: str, steps: list[tuple[int, float]], left: int, aim: dict[str, Any]
) -> None:
    points = [(sum(count for count, _ in steps[: i + 1]), accuracy) for i, (_, accuracy) in enumerate(steps)]
    pool = (points[-1][0] if points else 0) + left
    at = situation(points, pool, policy__query_size=policy, **aim)
    asked = choice.choose(at)
    assert asked == choice.choose(at)
    assert type(asked.value) is int
    assert 1 <= asked.value <= left
    assert all(isinstance(value, int | float) and math.isfinite(value) for value in asked.numbers.values())


@pytest.mark.parametrize(
    ("smallest", "largest"), [(1, 2), (1, 99), (50, 50_000), (777, 778), (3, 10**6), (1, 1000), (1, 1001)]
)
def test_grid_leaves_no_gap(smallest: int, largest: int) -> None:
    sizes = bounds.grid(smallest, largest)
    assert (sizes[0], sizes[-1]) == (smallest, largest)
    assert (sizes[1:] <= np.maximum(sizes[:-1] + 1, 1.0102 * sizes[:-1] + 1)).all()
    assert len(sizes) <= max(1000, 101 * math.log(largest / smallest) + 2)
    assert set(sizes) >= set(range(smallest, min(largest, 100)))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"cost_optimal_": {"smallest": 9, "largest": 8, "target": 0.9}}, "smallest (9) is above largest (8)"),
        ({"cost_optimal_": {}}, "needs an aim; set policy.cost_optimal.target"),
    ],
)
def test_bounds_that_leave_nothing_are_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as error:
        aiming(**values)
    assert says in str(error.value)
