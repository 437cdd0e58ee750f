"""Stop rules: what each goes by, what it says where it cannot tell, and that more never makes it stop earlier."""

import itertools
import json
import math
from dataclasses import asdict, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tasks import registry
from tasks.config import Config, parse
from tasks.config_policy import (
    BudgetRule,
    LearningCurveRule,
    MarginalValueRule,
    OverallUncertaintyRule,
    PlateauRule,
    RoundsRule,
    StablePredictionsRule,
    StopConfig,
    TargetRule,
)
from tasks.cost import forecast
from tasks.cost.rates import Rates
from tasks.history import Measured, Outcome
from tasks.policy import ahead, curve, next_round
from tasks.policy.decision import Decision, Verdict
from tasks.policy.situation import Situation
from tasks.policy.stop import rules
from tasks.policy.stop.stable_predictions import f_bound

PRICES = {"currency": "USD", "label": 0.05, "device_hour": {"cpu": 0.2}}
RATES = Rates("cpu", record_epoch=1e-3, forward_pass=1e-4, stage=1.0)


@cache
def config(policy: str = "{}", loop: str = "{}") -> Config:
    loop_ = {"initial": 100, "query_size": 100, "rounds": 50} | json.loads(loop)
    values = {"name": "test", "loop": loop_, "prices": PRICES, "policy": {"metric": "accuracy"} | json.loads(policy)}
    return parse(values, "test")


def outcome(number: int, accuracy: float, **values: Any) -> Outcome:
    labels = 100 * (number + 1)
    sums = {"bought": labels, "money": 0.05 * labels, "money_labels": 0.05 * labels, "money_compute": 0.0}
    known = {"device_hours": 0.1 * (number + 1), "wall_hours": 0.2 * (number + 1)}
    own = {"nll": 0.1, "ece": 0.01, "record_epochs": 0, "items_scored": 0}
    return Outcome(**{"round": number, "labels": labels, "accuracy": accuracy, **sums, **known, **own, **values})


def situation(
    *accuracies: float,
    policy: dict[str, Any] | None = None,
    loop: dict[str, Any] | None = None,
    rates: Rates | None = None,
    measured: tuple[Measured, ...] = (),
    pool: int = 10_000,
) -> Situation:
    """A loop of one attempt after rounds of 100 labels each, that ended with these accuracies."""
    found = itertools.chain(measured, itertools.repeat(Measured()))
    history = [outcome(number, value, measured=next(found)) for number, value in enumerate(accuracies)]
    unlabeled = pool - (history[-1].labels if history else 0)
    return Situation(
        history, config(json.dumps(policy or {}), json.dumps(loop or {})), pool, unlabeled, held_out=1000, rates=rates
    )


def ask(name: str, about: Situation, rule: Any) -> Verdict:
    verdict: Verdict = registry.resolve(registry.STOP_RULES, name)(about, rule)
    assert verdict.reason
    json.dumps(asdict(verdict), allow_nan=False)
    return verdict


def law(rounds: int, a: float = 0.98, b: float = 2.0, c: float = 0.5) -> tuple[float, ...]:
    return tuple(a - b * (100.0 * (number + 1)) ** -c for number in range(rounds))


#: The rule with values at which it goes on wherever it can, and of which each is the stricter the later it stands.
STRICTER: dict[str, list[Any]] = {
    "rounds": [RoundsRule(at_least=count) for count in (1, 4, 6, 20)],
    "budget": [
        BudgetRule(labels=labels, money=money, device_hours=hours, wall_hours=2 * hours)
        for labels, money, hours in ((100, 5.0, 0.1), (300, 14.0, 0.5), (700, 36.0, 0.71), (10**6, 1e6, 1e6))
    ],
    "target": [
        *(TargetRule(accuracy=value) for value in (0.2, 0.8, 0.9)),
        *(TargetRule(accuracy=0.9, patience=rounds) for rounds in (2, 5)),
    ],
    "plateau": [
        *(PlateauRule(min_gain=gain, patience=2, confidence=0.5) for gain in (0.9, 0.05, 0.01)),
        *(PlateauRule(min_gain=0.01, patience=2, confidence=sure) for sure in (0.8, 0.9, 0.99)),
    ],
    "marginal_value": [MarginalValueRule(value_per_point=value) for value in (0.01, 1.0, 10.0, 1e5)],
    "stable_predictions": [StablePredictionsRule(kappa=kappa) for kappa in (0.1, 0.5, 0.9, 0.99)],
    "overall_uncertainty": [
        *(OverallUncertaintyRule(below=below) for below in (0.9, 0.5, 0.1)),
        *(OverallUncertaintyRule(below=0.1, patience=rounds) for rounds in (2, 4)),
    ],
    "learning_curve": [
        *(LearningCurveRule(min_gain=gain, horizon=100, confidence=0.5) for gain in (0.9, 0.1, 0.01)),
        *(LearningCurveRule(min_gain=0.01, horizon=100, confidence=sure) for sure in (0.8, 0.95)),
        *(LearningCurveRule(min_gain=0.01, horizon=labels, confidence=0.95) for labels in (200, 5000)),
    ],
}

counts = st.integers(0, 400)
measurements = st.builds(
    Measured,
    compared=st.just(1000) | st.none(),
    gained=counts,
    lost=counts,
    kappa=st.floats(0, 1) | st.none(),
    uncertainty=st.floats(0, 1) | st.none(),
)
histories = st.lists(st.tuples(st.floats(0, 1), measurements), min_size=1, max_size=9)


def of(history: list[tuple[float, Measured]], **values: Any) -> Situation:
    return situation(*(value for value, _ in history), measured=tuple(each for _, each in history), **values)


def test_every_rule_is_tested_here() -> None:
    assert STRICTER.keys() == registry.STOP_RULES.keys() == StopConfig().model_dump().keys() - {"any", "all"}


@pytest.mark.parametrize("name", STRICTER)
@settings(max_examples=25, deadline=None)
@given(history=histories, timed=st.booleans())
def test_stricter_rule_never_stops_earlier(name: str, history: list[tuple[float, Measured]], timed: bool) -> None:
    about = of(history, rates=RATES if timed else None)
    held = [ask(name, about, rule).holds for rule in STRICTER[name]]
    assert held == sorted(held, reverse=True)


@pytest.mark.parametrize("name", STRICTER)
@settings(max_examples=20, deadline=None)
@given(history=histories, earlier=st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_earlier_attempt_changes_nothing_but_what_was_spent(
    name: str, history: list[tuple[float, Measured]], earlier: list[float]
) -> None:
    alone = of(history)
    aborted = [
        outcome(number, value, bought=100, money=5.0, device_hours=0.1, wall_hours=0.2)
        for number, value in enumerate(earlier)
    ]
    aborted[-1] = replace(aborted[-1], restarted=True)
    again = [replace(each, attempt=1, round=each.round + len(earlier)) for each in alone.history]
    for rule in STRICTER[name]:
        assert ask(name, replace(alone, history=[*aborted, *again]), rule) == ask(name, alone, rule)


def in_the_last_round(history: list[tuple[float, Measured]], more: int) -> list[tuple[float, Measured]]:
    """The same, with ``more`` items of 1,000 right in addition."""
    value, measured = history[-1]
    gained = None if measured.gained is None else measured.gained + more
    return [*history[:-1], (min(value + more / 1000, 1), replace(measured, gained=gained))]


@pytest.mark.parametrize("name", ["rounds", "budget", "plateau", "stable_predictions", "overall_uncertainty"])
@settings(max_examples=25, deadline=None)
@given(history=histories, more=st.integers(0, 100))
def test_more_gain_never_stops_a_loop_earlier(name: str, history: list[tuple[float, Measured]], more: int) -> None:
    less, much = of(history), of(in_the_last_round(history, more))
    for rule in STRICTER[name]:
        assert ask(name, much, rule).holds <= ask(name, less, rule).holds


@settings(max_examples=25, deadline=None)
@given(history=histories, more=st.integers(0, 100))
def test_less_accuracy_never_reaches_a_target_earlier(history: list[tuple[float, Measured]], more: int) -> None:
    less, much = of(history), of(in_the_last_round(history, more))
    for rule in STRICTER["target"]:
        assert ask("target", less, rule).holds <= ask("target", much, rule).holds


@pytest.mark.parametrize("name", ["stable_predictions", "overall_uncertainty"])
@settings(max_examples=25, deadline=None)
@given(history=histories, part=st.floats(0, 1))
def test_models_that_still_change_never_stop_a_loop_earlier(
    name: str, history: list[tuple[float, Measured]], part: float
) -> None:
    def shaken(measured: Measured) -> Measured:
        kappa = None if measured.kappa is None else part * measured.kappa
        unsure = None if measured.uncertainty is None else 1 - part * (1 - measured.uncertainty)
        return replace(measured, kappa=kappa, uncertainty=unsure)

    calm, moving = of(history), of([(value, shaken(measured)) for value, measured in history])
    for rule in STRICTER[name]:
        assert ask(name, moving, rule).holds <= ask(name, calm, rule).holds


@pytest.mark.parametrize("name", ["marginal_value", "learning_curve"])
@settings(max_examples=25, deadline=None)
@given(b=st.floats(0, 4), more=st.floats(0.01, 4), c=st.floats(0.2, 1), rounds=st.integers(4, 9))
def test_steeper_curve_never_stops_a_loop_earlier(name: str, b: float, more: float, c: float, rounds: int) -> None:
    assume((b + more) * 100**-c < 0.9)
    flat, steep = situation(*law(rounds, 0.95, b, c)), situation(*law(rounds, 0.95, b + more, c))
    for rule in STRICTER[name]:
        assert ask(name, steep, rule).holds <= ask(name, flat, rule).holds


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=9),
    st.integers(100, 2000),
    st.integers(0, 2000),
    st.sampled_from(["labels", "money", "device_hours", "wall_hours"]),
    st.booleans(),
)
def test_larger_budget_never_stops_earlier(values: list[float], amount: int, more: int, name: str, timed: bool) -> None:
    about = situation(*values, rates=RATES if timed else None)
    scale = {"labels": 1, "money": 0.05, "device_hours": 1e-3, "wall_hours": 2e-3}[name]
    small, large = (BudgetRule.model_validate({name: scale * each}) for each in (amount, amount + more))
    assert ask("budget", about, large).holds <= ask("budget", about, small).holds


@settings(max_examples=20, deadline=None)
@given(st.integers(4, 9), st.integers(500, 5000), st.integers(0, 5000), st.sampled_from(["max_labels", "budget"]))
def test_larger_budget_never_makes_the_rest_of_a_curve_worth_less(rounds: int, amount: int, more: int, by: str) -> None:
    held = []
    for labels in (amount, amount + more):
        if by == "max_labels":
            about = situation(*law(rounds), loop={"max_labels": labels})
        else:
            about = situation(*law(rounds), policy={"stop": {"budget": {"labels": labels}}})
        held.append(ask("learning_curve", about, LearningCurveRule(min_gain=0.03)).holds)
    assert held[1] <= held[0]


# rounds


def test_rounds_are_those_of_the_attempt() -> None:
    assert not ask("rounds", situation(0.5, 0.6), RoundsRule(at_least=3)).holds
    assert ask("rounds", situation(0.5, 0.6, 0.7), RoundsRule(at_least=3)).holds


# budget


@pytest.mark.parametrize(("labels", "holds"), [(299, True), (300, True), (399, True), (400, False)])
def test_label_budget_has_to_pay_the_next_round_too(labels: int, holds: bool) -> None:
    verdict = ask("budget", situation(0.5, 0.6, 0.7), BudgetRule(labels=labels))
    assert verdict.holds is holds
    assert verdict.numbers == {"labels": {"spent": 300, "next": 100, "budget": labels}}


def test_next_round_is_cut_to_what_max_labels_leaves() -> None:
    about = situation(0.5, 0.6, 0.7, loop={"max_labels": 340})
    assert not ask("budget", about, BudgetRule(labels=340)).holds
    assert ask("budget", about, BudgetRule(labels=339)).holds


@pytest.mark.parametrize("name", ["money", "device_hours", "wall_hours"])
def test_budget_is_compared_with_the_forecast(name: str) -> None:
    about = situation(0.5, 0.6, 0.7, rates=RATES)
    price = next_round.price(about, 100)
    assert price is not None
    needed = getattr(about.history[-1], name) + getattr(price, name)
    assert not ask("budget", about, BudgetRule.model_validate({name: needed})).holds
    verdict = ask("budget", about, BudgetRule.model_validate({name: needed * 0.9999}))
    assert verdict.holds
    assert verdict.numbers[name]["next"] == round(getattr(price, name), 6)


def test_without_rates_a_budget_knows_labels_only_and_says_so() -> None:
    about = situation(0.5, 0.6, 0.7)
    assert not ask("budget", about, BudgetRule(money=20.0)).holds
    verdict = ask("budget", about, BudgetRule(money=19.99))
    assert verdict.holds
    assert "not known" in verdict.reason
    assert ask("budget", about, BudgetRule(device_hours=0.3)).holds is (about.history[-1].device_hours >= 0.3)
    assert "not known" not in ask("budget", about, BudgetRule(labels=1000)).reason


@settings(max_examples=25)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.sampled_from(["money", "device_hours", "wall_hours"]))
def test_budget_that_is_used_up_holds(values: list[float], name: str) -> None:
    about = situation(*values)
    assert ask("budget", about, BudgetRule.model_validate({name: getattr(about.history[-1], name)})).holds


def test_aborted_attempts_are_paid_out_of_the_budget() -> None:
    aborted = outcome(0, 0.1, restarted=True)
    again = outcome(1, 0.5, attempt=1, labels=100, bought=200)
    about = replace(situation(0.5), history=[aborted, again])
    assert ask("budget", about, BudgetRule(labels=299)).holds
    assert not ask("budget", about, BudgetRule(labels=300)).holds


# target


def test_target_has_to_be_reached_in_successive_rounds() -> None:
    rule = TargetRule(accuracy=0.8, patience=2)
    assert ask("target", situation(0.7, 0.8, 0.9), rule).holds
    assert not ask("target", situation(0.9, 0.9, 0.7, 0.9), rule).holds
    assert "1 more to go" in ask("target", situation(0.7, 0.9), rule).reason


def test_target_says_how_many_rounds_a_curve_lacks() -> None:
    verdict = ask("target", situation(0.5, 0.6, 0.7), TargetRule(accuracy=0.9))
    assert not verdict.holds
    assert verdict.numbers["rounds_missing"] == 1
    assert "labels_needed" not in verdict.numbers


def test_target_says_how_many_labels_it_needs() -> None:
    verdict = ask("target", situation(*law(6)), TargetRule(accuracy=0.95))
    assert verdict.numbers["labels_needed"] == pytest.approx(4445, abs=5)
    low, high = verdict.numbers["labels_needed_interval"]
    assert low <= verdict.numbers["labels_needed"] <= high
    assert "and the pool has 3000" in ask("target", situation(*law(6), pool=3000), TargetRule(accuracy=0.95)).reason


def test_target_out_of_reach_says_where_the_curve_levels_off() -> None:
    verdict = ask("target", situation(*law(6)), TargetRule(accuracy=0.99))
    assert "out of reach: the fitted curve levels off at 0.980 (0.980 to 0.980)" in verdict.reason
    assert verdict.numbers["labels_needed"] is None


def test_target_goes_by_the_configured_metric() -> None:
    history = [outcome(0, 0.2, validation_accuracy=0.9)]
    about = replace(situation(0.2), history=history)
    assert not ask("target", about, TargetRule(accuracy=0.8)).holds
    values = {"name": "test", "prices": PRICES, "train": {"validation": 0.1}}
    assert ask("target", replace(about, config=parse(values, "test")), TargetRule(accuracy=0.8)).holds


# plateau


def flips(gained: int, lost: int, compared: int = 1000) -> Measured:
    return Measured(compared=compared, gained=gained, lost=lost)


def test_plateau_error_is_that_of_matched_pairs() -> None:
    pairs = (Measured(), flips(30, 10), flips(8, 6), flips(5, 5))
    verdict = ask("plateau", situation(0.9, 0.92, 0.922, 0.922, measured=pairs), PlateauRule(confidence=0.975))
    assert verdict.numbers["gain"] == pytest.approx(0.022)
    variance = 0.0
    for _, gained, lost in ((1000, 30, 10), (1000, 8, 6), (1000, 5, 5)):
        # Half an item more in each of the four cells; the variance of the mean of +1, -1 and 0.
        cells = np.array([gained + 0.5, lost + 0.5, 1001 - gained - lost])
        signs = np.repeat([1.0, -1.0, 0.0], (2 * cells).astype(int))
        variance += signs.var() / 1002
    assert verdict.numbers["standard_error"] == pytest.approx(math.sqrt(variance), abs=1e-6)
    assert verdict.numbers["at_most"] == pytest.approx(0.022 + 1.959964 * math.sqrt(variance), abs=1e-5)
    assert verdict.numbers["paired"] is True


def test_plateau_bound_covers_the_true_gain_as_often_as_it_claims() -> None:
    random = np.random.default_rng(3)
    truth, runs, below = 0.004, 400, 0
    for _ in range(runs):
        draws = random.multinomial(1000, [0.02, 0.02 - truth, 0.96 + truth], size=3)
        pairs = [flips(int(gained), int(lost)) for gained, lost, _ in draws]
        about = situation(0.9, 0.9, 0.9, 0.9, measured=(Measured(), *pairs))
        below += 3 * truth <= ask("plateau", about, PlateauRule(confidence=0.9)).numbers["at_most"]
    assert 0.86 < below / runs < 0.95


def test_plateau_without_pairs_compares_the_ends_as_independent() -> None:
    verdict = ask("plateau", situation(0.90, 0.91, 0.92), PlateauRule(patience=2, confidence=0.9))
    shares = [(901 / 1002), (921 / 1002)]
    error = math.sqrt(sum(share * (1 - share) / 1002 for share in shares))
    assert verdict.numbers["standard_error"] == pytest.approx(error, abs=1e-6)
    assert (verdict.numbers["gain"], verdict.numbers["paired"]) == (0.02, False)


def test_plateau_holds_once_the_gain_is_surely_small() -> None:
    pairs = (Measured(), *(flips(20, 20, 100_000) for _ in range(3)))
    assert ask("plateau", situation(0.9, 0.9, 0.9, 0.9, measured=pairs), PlateauRule()).holds
    few = (Measured(), *(flips(0, 0, 20) for _ in range(3)))
    assert not ask("plateau", situation(0.9, 0.9, 0.9, 0.9, measured=few), PlateauRule()).holds


def test_plateau_needs_one_round_more_than_its_patience() -> None:
    verdict = ask("plateau", situation(0.9, 0.9), PlateauRule(patience=3))
    assert not verdict.holds
    assert verdict.numbers["rounds_missing"] == 2


def test_plateau_of_an_unknown_validation_set_cannot_tell() -> None:
    values = {"name": "test", "prices": PRICES, "train": {"validation": 0.1}}
    history = [outcome(number, 0.9, validation_accuracy=0.9) for number in range(4)]
    about = replace(situation(0.9), history=history, config=parse(values, "test"))
    verdict = ask("plateau", about, PlateauRule(min_gain=0.9))
    assert not verdict.holds
    assert "not known" in verdict.reason


# marginal value


@pytest.mark.parametrize("rates", [None, RATES])
def test_marginal_value_compares_points_with_the_price(rates: Rates | None) -> None:
    about = situation(*law(6), rates=rates)
    points = 100 * 2 * (600**-0.5 - 700**-0.5)
    price = next_round.price(about, 100)
    money = forecast.labels_price(100, about.config) if price is None else price.money
    above = ask("marginal_value", about, MarginalValueRule(value_per_point=money / points * 1.001))
    below = ask("marginal_value", about, MarginalValueRule(value_per_point=money / points * 0.999))
    assert (above.holds, below.holds) == (False, True)
    assert above.numbers["points"] == pytest.approx(points, rel=1e-4)
    assert above.numbers["compute_priced"] is (rates is not None)
    assert ("labels alone" in above.reason) is (rates is None)


@pytest.mark.parametrize(
    ("name", "rule"),
    [("marginal_value", MarginalValueRule(value_per_point=1e-9)), ("learning_curve", LearningCurveRule())],
)
def test_curve_that_is_too_short_names_the_rounds_that_are_missing(name: str, rule: Any) -> None:
    verdict = ask(name, situation(0.9, 0.9, 0.9), rule)
    assert not verdict.holds
    assert verdict.numbers == {"rounds_missing": 1}
    assert "1 more to go" in verdict.reason


# stable predictions


def agreeing(*kappas: float | None) -> Situation:
    measured = (Measured(), *(Measured(kappa=kappa) for kappa in kappas))
    return situation(*[0.9] * len(measured), measured=measured)


def test_predictions_are_stable_at_a_mean_kappa() -> None:
    rule = StablePredictionsRule(kappa=0.99, patience=3)
    assert ask("stable_predictions", agreeing(0.1, 0.995, 0.985, 0.995), rule).holds
    assert not ask("stable_predictions", agreeing(0.995, 0.985, 0.98), rule).holds


@pytest.mark.parametrize(("kappas", "missing"), [((), 3), ((1.0, 1.0), 1), ((1.0, None, 1.0), 1), ((None,) * 3, 3)])
def test_stable_predictions_need_all_their_pairs(kappas: tuple[float | None, ...], missing: int) -> None:
    verdict = ask("stable_predictions", agreeing(*kappas), StablePredictionsRule(patience=3))
    assert not verdict.holds
    assert verdict.numbers["rounds_missing"] == missing


few, many = st.integers(0, 20), st.integers(50, 500)


@settings(max_examples=100, deadline=None)
@given(many, few, few, many)
def test_f_measures_differ_by_no_more_than_the_bound(both: int, ours: int, theirs: int, neither: int) -> None:
    """Of two models of a binary task, where the items that each cell of their agreement holds may truly be anything."""
    cells = (both, ours, theirs, neither)
    total = sum(cells)
    observed = (both + neither) / total
    chance = ((both + ours) * (both + theirs) + (neither + ours) * (neither + theirs)) / total**2
    bound = f_bound((observed - chance) / (1 - chance))
    assume(bound is not None)

    def measure(positive: int, right: int, true: int) -> float:
        return 2 * right / (positive + true) if positive + true else 1.0

    for part in itertools.product((0, 0.5, 1), repeat=4):
        true = [round(share * cell) for share, cell in zip(part, cells, strict=True)]
        first = measure(both + ours, true[0] + true[1], sum(true))
        second = measure(both + theirs, true[0] + true[2], sum(true))
        assert bound is not None
        assert abs(first - second) <= bound + 1e-9


def test_bound_that_says_nothing_is_left_out() -> None:
    assert f_bound(0.99) == pytest.approx(0.04 / 0.99)
    assert f_bound(0.8) is None
    assert f_bound(0) is f_bound(-0.2) is None


# overall uncertainty


def test_uncertainty_has_to_be_low_in_each_round() -> None:
    def unsure(*values: float | None) -> Situation:
        return situation(*[0.9] * len(values), measured=tuple(Measured(uncertainty=value) for value in values))

    rule = OverallUncertaintyRule(below=0.02, patience=2)
    assert ask("overall_uncertainty", unsure(0.5, 0.01, 0.019), rule).holds
    assert not ask("overall_uncertainty", unsure(0.01, 0.02), rule).holds
    assert ask("overall_uncertainty", unsure(0.01), rule).numbers["rounds_missing"] == 1
    assert not ask("overall_uncertainty", unsure(0.01, None), rule).holds


# learning curve


def test_learning_curve_goes_by_the_most_hopeful_gain() -> None:
    noisy = situation(*(value + sign * 0.004 for value, sign in zip(law(8), itertools.cycle((1, -1)), strict=False)))
    fitted = curve.fit(noisy.curve)
    _, _, most = fitted.gain(800, 1300, 0.9)
    verdict = ask("learning_curve", noisy, LearningCurveRule(horizon=500, confidence=0.9))
    assert verdict.numbers["at_most"] == round(most, 6)
    assert ask("learning_curve", noisy, LearningCurveRule(horizon=500, min_gain=most * 1.01)).holds
    assert not ask("learning_curve", noisy, LearningCurveRule(horizon=500, min_gain=most * 0.99)).holds


@pytest.mark.parametrize(
    ("values", "left"),
    [
        ({}, 4400),
        ({"loop": {"rounds": 9}}, 300),
        ({"loop": {"max_labels": 750}}, 150),
        ({"policy": {"stop": {"budget": {"labels": 820}}}}, 200),
        ({"policy": {"stop": {"any": {"budget": {"labels": 820}}}}}, 200),
        ({"policy": {"query_size": "geometric"}, "loop": {"rounds": 9}}, 600 * 7),
        ({"policy": {"query_size": "geometric"}, "loop": {"rounds": 50}}, 9400),
        ({"policy": {"query_size": "geometric", "geometric": {"largest": 700}}, "loop": {"rounds": 8}}, 1300),
        ({"policy": {"query_size": "schedule"}, "loop": {"rounds": 8}}, 2000),
        ({"policy": {"query_size": "cost_optimal"}, "loop": {"rounds": 8, "max_labels": 9000}}, 600 * 3),
        ({"policy": {"query_size": "cost_optimal"}, "loop": {"max_labels": 9000}}, 8400),
        ({"policy": {"query_size": "cost_optimal", "stop": {"budget": {"labels": 820}}}}, 220),
        ({"pool": 1000}, 400),
    ],
)
def test_horizon_is_the_end_of_the_loop(values: dict[str, Any], left: int) -> None:
    # The query size is cut to what is left, and so is what all the rounds together buy.
    assert ask("learning_curve", situation(*law(6), **values), LearningCurveRule()).numbers["horizon"] == left


# putting rules together


def decide(stop: dict[str, Any], *accuracies: float) -> Decision:
    return rules.decide(situation(*accuracies, policy={"stop": stop}))


ROUNDS_YES, ROUNDS_NO = {"at_least": 1}, {"at_least": 9}
TARGET_YES, TARGET_NO = {"accuracy": 0.5}, {"accuracy": 0.95}


@pytest.mark.parametrize(
    ("stop", "deciding"),
    [
        ({}, None),
        ({"rounds": ROUNDS_NO, "target": TARGET_NO}, None),
        ({"rounds": ROUNDS_NO, "target": TARGET_YES}, "target"),
        ({"any": {"rounds": ROUNDS_YES, "target": TARGET_NO}}, "any.rounds"),
        ({"all": {"rounds": ROUNDS_YES, "target": TARGET_NO}}, None),
        ({"all": {"rounds": ROUNDS_YES, "target": TARGET_YES}}, "all.rounds and all.target"),
        ({"all": {"rounds": ROUNDS_YES, "any": {"target": TARGET_NO, "rounds": ROUNDS_NO}}}, None),
        (
            {"all": {"rounds": ROUNDS_YES, "any": {"target": TARGET_YES, "rounds": ROUNDS_NO}}},
            "all.rounds and all.any.target",
        ),
        ({"any": {"rounds": ROUNDS_NO, "all": {"target": TARGET_YES}}}, "any.all.target"),
    ],
)
def test_rules_are_put_together_by_any_and_all(stop: dict[str, Any], deciding: str | None) -> None:
    decision = decide(stop, 0.9, 0.9)
    assert decision.action == ("stop" if deciding else "continue")
    if deciding:
        assert decision.policy == deciding
        assert all(name in decision.reason for name in deciding.split(" and "))


def test_every_verdict_is_among_the_numbers_by_its_dotted_name() -> None:
    decision = decide({"rounds": ROUNDS_NO, "all": {"target": TARGET_NO, "any": {"rounds": ROUNDS_YES}}}, 0.9)
    assert decision.numbers["rules"].keys() == {"rounds", "all.target", "all.any.rounds"}
    assert decision.numbers["rules"]["all.any.rounds"]["holds"] is True
    json.dumps(asdict(decision), allow_nan=False)


def test_end_of_the_loop_comes_before_the_rules() -> None:
    about = situation(0.9, 0.9, policy={"stop": {"target": TARGET_YES}}, loop={"rounds": 2})
    decision = rules.decide(about)
    assert (decision.action, decision.policy) == ("stop", "rounds")
    assert decision.numbers["rules"]["target"]["holds"] is True


groups = st.recursive(
    st.dictionaries(st.sampled_from(["rounds", "target"]), st.booleans(), min_size=1),
    lambda inner: st.dictionaries(st.sampled_from(["any", "all"]), inner, min_size=1),
    max_leaves=6,
)


def built(group: dict[str, Any]) -> dict[str, Any]:
    yes, no = {"rounds": ROUNDS_YES, "target": TARGET_YES}, {"rounds": ROUNDS_NO, "target": TARGET_NO}
    return {
        name: built(value) if isinstance(value, dict) else (yes if value else no)[name] for name, value in group.items()
    }


def holds(group: dict[str, Any], every: bool = False) -> bool:
    parts = [holds(value, name == "all") if isinstance(value, dict) else value for name, value in group.items()]
    return all(parts) if every else any(parts)


@settings(max_examples=100, deadline=None)
@given(groups)
def test_groups_hold_as_any_and_all_of_their_parts(group: dict[str, Any]) -> None:
    assert (decide(built(group), 0.9).action == "stop") is holds(group)


@settings(max_examples=50, deadline=None)
@given(groups, st.sampled_from(["rounds", "target"]), st.booleans())
def test_one_rule_more_at_the_top_never_goes_on_longer(group: dict[str, Any], name: str, value: bool) -> None:
    assume(name not in group)
    assert holds(group) <= (decide(built({**group, name: value}), 0.9).action == "stop")


@given(
    st.integers(1, 8), st.integers(1, 300), st.integers(1, 12), st.none() | st.integers(1, 1500), st.integers(801, 1500)
)
def test_equal_rounds_to_come_are_those_that_are_asked_one_by_one(
    done: int, size: int, rounds: int, most: int | None, pool: int
) -> None:
    now = situation(*[0.5] * done, loop={"query_size": size, "rounds": rounds, "max_labels": most}, pool=pool)
    for about in (now, replace(now, next_size=min(7, now.unlabeled))):
        assert list(ahead._equal_sizes(about)) == list(ahead._sizes(about))


def test_verdicts_count_as_people_do() -> None:
    kappas = (Measured(), Measured(kappa=0.5), Measured(kappa=0.5))
    assert (
        "1 more round needed"
        in ask("stable_predictions", situation(0.5, 0.6, 0.7, measured=kappas), StablePredictionsRule()).reason
    )
    assert (
        "1 pair of"
        in ask("stable_predictions", situation(0.5, 0.6, measured=kappas), StablePredictionsRule(patience=1)).reason
    )
    assert ask("rounds", situation(0.5, 0.6, 0.7), RoundsRule(at_least=2)).reason == "3 rounds of at least 2"
    assert "1 round: 1 more round needed" in ask("overall_uncertainty", situation(0.5), OverallUncertaintyRule()).reason
    assert "over 1 round: 1 more round needed" in ask("plateau", situation(0.5), PlateauRule(patience=1)).reason


def test_a_curve_has_nothing_ahead_at_the_end_of_the_loop() -> None:
    verdict = ask("learning_curve", situation(*law(5), loop={"rounds": 5}), LearningCurveRule())
    assert verdict.holds
    assert "at its end" in verdict.reason
    assert verdict.numbers["horizon"] == 0
