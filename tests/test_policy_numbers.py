"""The policies of a regression: they go by R², and ask for no classes."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from tasks.config import Config, parse
from tasks.cost.rates import Rates
from tasks.errors import ConfigError
from tasks.history import Outcome
from tasks.policy import curve, false_start
from tasks.policy.query_size import choice as query_size
from tasks.policy.situation import Situation
from tasks.policy.stop import rules
from tasks.task_type.headline import ACCURACY, R2
from tests.pools import PRICES

#: What R² is at most where 400 items say -0.2, with 95 % on that side.
MOST = 1 - 1.2 * 400 / chi2.ppf(0.95, 400)
RATES = Rates(device="cpu", record_epoch=1e-4, forward_pass=1e-5, stage=1.0)


def config(policy: dict[str, Any] | None = None, **settings: Any) -> Config:
    values = {"name": "test", "task": "regression", "policy": policy or {}, "prices": PRICES}
    return parse(values | {"loop": {"rounds": 50, "initial": 100, "query_size": 100}} | settings, "test")


def situation(values: list[float], policy: dict[str, Any] | None = None, **outcome: Any) -> Situation:
    """A loop after rounds of a hundred labels with these values of R² on the held-out set."""
    labels = [100 * (number + 1) for number in range(len(values))]
    history = [
        Outcome(number, count, value, -0.5, None, 1.0, 1.0, 0.0, 0.1, 10, 10, bought=count, **outcome)
        for number, (count, value) in enumerate(zip(labels, values, strict=True))
    ]
    made = config({"metric": "r2", **(policy or {})})
    return Situation(history, made, 10_000, 10_000 - labels[-1], held_out=400, rates=RATES)


def ruled(values: list[float], **stop: Any) -> Any:
    """The decision, and what the one rule said."""
    made = rules.decide(situation(values, {"stop": stop}))
    return made, made.numbers["rules"][next(iter(stop))]


def power_law(a: float, b: float, c: float, rounds: int = 8) -> list[float]:
    return [a - b * (100 * (number + 1)) ** -c for number in range(rounds)]


def test_the_metric_is_that_of_the_task_where_none_is_set() -> None:
    assert config().policy.metric == "validation_r2"
    assert parse({"name": "t", "prices": PRICES}, "test").policy.metric == "validation_accuracy"
    assert parse({"name": "t", "task": "regression", "prices": PRICES}, "test").policy.metric == "validation_r2"


@pytest.mark.parametrize(
    ("task", "policy", "message"),
    [
        ("regression", {"metric": "accuracy"}, r"policy\.metric: accuracy .* policy\.metric=validation_r2, or r2 "),
        ("classification", {"metric": "r2"}, r"policy\.metric: r2 .* policy\.metric=validation_accuracy, or accuracy "),
        ("regression", {"stop": {"stable_predictions": {}}}, r"policy\.stop\.stable_predictions: .* regression"),
        ("regression", {"stop": {"any": {"overall_uncertainty": {}}}}, r"policy\.stop\.overall_uncertainty: "),
        ("regression", {"retrain": "auto"}, r"policy\.retrain: .* set policy\.retrain to another mode"),
        ("regression", {"stop": {"target": {"r2": 0.9}}}, r"validation r2, .* policy\.metric=r2 to give"),
        ("classification", {"stop": {"target": {"r2": 0.9}}}, r"policy\.stop\.target\.r2: unknown key"),
        ("regression", {"stop": {"target": {"r2": 0.9, "accuracy": 0.9}}}, r"policy\.stop\.target\.r2: unknown key"),
        ("regression", "none", r"policy: must be a block"),
    ],
)
def test_a_policy_of_the_other_task_is_refused_in_one_line(task: str, policy: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        parse({"name": "test", "task": task, "policy": policy, "prices": PRICES}, "test")
    assert len(str(refused.value).splitlines()) == 1


def test_a_target_may_be_called_r2_wherever_it_stands() -> None:
    stop = {"target": {"r2": 0.9}, "any": {"all": {"target": {"r2": 0.8, "patience": 2}}}}
    made = config({"metric": "r2", "stop": stop}).policy.stop
    assert made.target is not None
    assert made.any is not None
    assert made.any.all is not None
    assert made.any.all.target is not None
    assert (made.target.accuracy, made.any.all.target.accuracy) == (0.9, 0.8)


def test_target_names_the_metric() -> None:
    made, rule = ruled([-0.5, 0.6, 0.85], target={"r2": 0.8})
    assert (made.action, made.policy) == ("stop", "target")
    assert "r2 0.8500 has reached 0.8" in made.reason
    assert (rule["numbers"]["r2"], "accuracy" in rule["numbers"]) == (0.85, False)


def test_target_says_how_far_it_is_by_the_curve() -> None:
    _, rule = ruled(power_law(0.9, 10, 0.5), target={"r2": 0.8})
    assert not rule["holds"]
    assert rule["numbers"]["labels_needed"] == pytest.approx(10_000, rel=0.01)


@given(st.floats(0.3, 1), st.floats(1, 200), st.floats(0.4, 1.2))
def test_a_curve_without_noise_is_found_though_it_begins_far_below_zero(a: float, b: float, c: float) -> None:
    points = [(labels, a - b * labels**-c) for labels in range(50, 1050, 50)]
    fitted = curve.fit(points, R2)
    assert all(fitted.at(labels) == pytest.approx(value, abs=2e-3 * (1 + abs(value))) for labels, value in points)


def test_an_early_failure_moves_the_curve_less_than_it_would_by_the_noise_of_an_accuracy() -> None:
    law = power_law(0.9, 10, 0.5)
    spoilt = [(100, law[0] - 2.0), *((100 * (place + 2), value) for place, value in enumerate(law[1:]))]
    right = 0.9 - 10 * 3000**-0.5
    by_r2, by_accuracy = (curve.fit(spoilt, of).at(3000) for of in (R2, ACCURACY))
    assert by_accuracy < by_r2 < right


def test_the_noise_of_a_curve_is_that_of_squared_errors() -> None:
    values = np.array([-3.0, 0.0, 0.5, 1.0])
    # The last one counts as all but perfect, so that no weight is infinite.
    assert R2.noise(values).tolist() == pytest.approx([16.0, 1.0, 0.25, 0.005**2])


def test_learning_curve_and_marginal_value_hold_on_a_level_curve() -> None:
    level = power_law(0.8, 5, 1.5)
    assert ruled(level, learning_curve={"min_gain": 0.05})[0].action == "stop"
    made, _ = ruled(level, marginal_value={"value_per_point": 0.01})
    assert made.action == "stop"
    assert "hundredths of R²" in made.reason
    assert ruled(power_law(0.9, 10, 0.5), marginal_value={"value_per_point": 1000})[0].action == "continue"


def test_plateau_holds_where_the_last_rounds_gained_too_little_for_sure() -> None:
    flat = {"patience": 2, "min_gain": 0.05}
    made, rule = ruled([0.2, 0.9, 0.9, 0.9], plateau=flat)
    assert (made.action, rule["numbers"]["paired"]) == ("stop", False)
    # Two ends of 400 items: 2·(1 - R²)²/n each.
    assert rule["numbers"]["standard_error"] == pytest.approx(math.sqrt(2 * 2 * 0.1**2 / 400), abs=1e-6)
    # As level, and too uncertain: much of the variance is left.
    assert ruled([-0.5, 0.1, 0.1, 0.1], plateau=flat)[0].action == "continue"


def test_plateau_on_validation_goes_by_the_items_held_back() -> None:
    at = situation([0.9] * 4, {"metric": "r2"}, validation_accuracy=0.9, validation_items=50)
    policy = {"stop": {"plateau": {"patience": 2, "min_gain": 0.1}}}
    there = Situation(at.history, config(policy, train={"validation": 0.2}), 10_000, 9_000, 400)
    rule = rules.decide(there).numbers["rules"]["plateau"]
    assert rule["numbers"]["standard_error"] == pytest.approx(math.sqrt(2 * 2 * 0.1**2 / 50), abs=1e-6)


@pytest.mark.parametrize(
    ("loss", "value", "reason"),
    [
        (0.6, 0.4, None),
        # The mean and the variance of the labels for every item.
        (1.4, 0.4, "the training loss ended at 1.4000, above 1.2770 (knowing nothing: 1.4189)"),
        (0.6, -0.2, f"r2 is -0.2000 (at most {MOST:.4f} by its 400 items), below 0.0200 (chance: 0.0000)"),
    ],
)
def test_false_start_of_a_model_that_predicts_the_mean(loss: float, value: float, reason: str | None) -> None:
    at = situation([value], {"false_start": {}}, first_loss=1.5, last_loss=loss)
    made = false_start.decide(at)
    if reason is None:
        assert made is None
    else:
        assert made is not None
        assert (made.action, made.reason) == ("restart", f"false start: {reason}")


def test_few_items_make_no_false_start() -> None:
    at = situation([-0.2], {"false_start": {}})
    assert false_start.decide(Situation(at.history, at.config, 10_000, 9_900, held_out=5)) is None


def test_interval_of_r2_holds_the_truth_as_often_as_it_says() -> None:
    random, items, truth = np.random.default_rng(3), 40, 0.7
    labels = random.standard_normal(items)
    spread = float(np.square(labels - labels.mean()).sum())
    scale = math.sqrt((1 - truth) * spread / items)
    inside = 0
    for _ in range(2000):
        value = 1 - float(np.square(scale * random.standard_normal(items)).sum()) / spread
        low, high = R2.interval(value, items, 0.9)
        assert low < value < high < 1
        inside += low <= truth <= high
    assert inside / 2000 == pytest.approx(0.9, abs=0.02)


@given(st.floats(-5, 0.99), st.integers(1, 500))
def test_interval_and_variance_of_r2_say_the_same_of_many_items(value: float, items: int) -> None:
    low, high = R2.interval(value, 10_000 * items, 0.68269)
    assert (high - low) / 2 == pytest.approx(math.sqrt(R2.variance(value, 10_000 * items)), rel=0.02)


def test_cost_optimal_tells_its_numbers_by_the_name_of_the_metric() -> None:
    policy = {"query_size": "cost_optimal", "cost_optimal": {"target": 0.99}}
    chosen = query_size.choose(situation(power_law(0.9, 10, 0.5), policy))
    assert "out of reach" in chosen.reason
    assert {"r2_there", "r2_low", "r2_high"} <= set(chosen.numbers)
    assert not [name for name in chosen.numbers if "accuracy" in name]


def test_names_that_people_meet() -> None:
    values = {"accuracy": 0.9, "ece": 0.1, "rmse": 2.0, "target": {"accuracy": 0.8, "mae": 1.0}, "labels": 3}
    assert R2.shown(values) == {"r2": 0.9, "rmse": 2.0, "target": {"r2": 0.8, "mae": 1.0}, "labels": 3}
    assert ACCURACY.shown(values) == {"accuracy": 0.9, "ece": 0.1, "target": {"accuracy": 0.8}, "labels": 3}
