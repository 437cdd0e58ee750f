"""How the next model is to be trained."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.config import parse
from tasks.config_policy import AutoRetrainConfig
from tasks.errors import ConfigError
from tasks.history import Measured, Outcome
from tasks.policy.decision import Choice
from tasks.policy.retrain import auto, choice
from tasks.policy.situation import Situation
from tests.pools import PRICES

SETTINGS = AutoRetrainConfig(kappa=0.95, back=0.9)
KAPPAS = st.lists(st.one_of(st.none(), st.floats(-1, 1), st.floats(0.85, 1)), max_size=12)


def situation(kappas: list[float | None], retrain: str, diverged: bool = False, **policy: Any) -> Situation:
    """A loop after rounds whose models agreed so much with the one before."""
    values = {"name": "test", "train": {"epochs": 7}, "policy": {"retrain": retrain} | policy, "prices": PRICES}
    history = [
        Outcome(
            number, 10, 0.9, 0.1, 0.01, 1.0, 1.0, 0.0, 0.1, 10, 10, measured=Measured(kappa=kappa), diverged=diverged
        )
        for number, kappa in enumerate(kappas)
    ]
    return Situation(history, parse(values, "test"), 1000, 100, 10)


def chosen(kappas: list[float | None], retrain: str, **policy: Any) -> Choice:
    return choice.choose(situation(kappas, retrain, **policy))


@pytest.mark.parametrize(
    ("retrain", "policy", "value"),
    [
        ("scratch", {}, "scratch"),
        ("warm", {}, {"mode": "warm", "epochs": 7}),
        ("warm", {"warm": {"epochs": 3}}, {"mode": "warm", "epochs": 3}),
        ("resume", {"resume": {"replay": 0.5}}, {"mode": "resume", "replay": 0.5, "epochs": 7}),
        ("shrink_perturb", {}, {"mode": "shrink_perturb", "shrink": 0.4, "perturb": 0.1, "epochs": 7}),
        (
            "shrink_perturb",
            {"shrink_perturb": {"epochs": 2, "shrink": 0.5}},
            {
                "mode": "shrink_perturb",
                "shrink": 0.5,
                "perturb": 0.1,
                "epochs": 2,
            },
        ),
    ],
)
def test_plan_gets_the_mode_with_its_settings(retrain, policy, value) -> None:
    assert chosen([None, 0.5], retrain, **policy).value == value


@pytest.mark.parametrize("retrain", ["warm", "resume", "shrink_perturb", "auto"])
def test_first_model_of_an_attempt_and_the_one_after_a_divergence_are_from_scratch(retrain) -> None:
    assert chosen([], retrain).value == "scratch"
    found = choice.choose(situation([None, 1.0], retrain, diverged=True))
    assert (found.value, found.reason) == ("scratch", "training diverged in round 001")


def test_reason_names_the_round_that_is_gone_on_from() -> None:
    assert chosen([None, 0.5], "warm").reason == "policy.retrain: all labels, from the weights of round 001"
    assert "25% of the older ones" in chosen([None, 0.5], "resume").reason
    assert "0.4 of the weights of round 001 and 0.1 of new ones" in chosen([None, 0.5], "shrink_perturb").reason


def test_auto_says_what_is_missing() -> None:
    found = chosen([None], "auto")
    assert (found.value, found.numbers) == ("scratch", {})
    assert "no two successive models have been compared" in found.reason


@pytest.mark.parametrize(
    ("kappas", "mode", "reason"),
    [
        ([None, 0.94], "scratch", "not stable: kappa 0.9400, below 0.95"),
        ([None, 0.95], "resume", "stable: kappa 0.9500, at least 0.95"),
        ([None, 0.96, 0.91], "resume", "stable: kappa 0.9100, at least 0.9;"),
        ([None, 0.96, 0.89], "scratch", "not stable: kappa 0.8900, below 0.9"),
        ([None, 0.96, 0.89, 0.92], "scratch", "not stable: kappa 0.9200, below 0.95"),
    ],
)
def test_auto_switches_with_hysteresis(kappas, mode, reason) -> None:
    found = chosen(kappas, "auto")
    assert (found.value if mode == "scratch" else found.value["mode"]) == mode
    assert reason in found.reason
    assert found.numbers.items() >= {"kappa": kappas[-1], "stable_from": 0.95, "unstable_below": 0.9}.items()


@pytest.mark.parametrize("then", ["warm", "resume", "shrink_perturb"])
def test_auto_goes_over_to_the_configured_mode(then) -> None:
    policy = {then: {"epochs": 2}, "auto": {"then": then}}
    assert chosen([None, 0.99], "auto", **policy).value == chosen([None, 0.99], then, **policy).value


@given(KAPPAS, st.floats(-1, 1))
def test_an_agreement_at_either_bound_settles_it(kappas: list[float | None], last: float) -> None:
    state = auto.stable([*kappas, last], SETTINGS)
    if last >= SETTINGS.kappa:
        assert state
    elif last < SETTINGS.back:
        assert not state
    else:
        assert state == auto.stable(kappas, SETTINGS)


@given(KAPPAS)
def test_unmeasured_agreement_is_not_stable(kappas: list[float | None]) -> None:
    assert not auto.stable([*kappas, None], SETTINGS)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=12))
def test_more_agreement_never_leads_back_to_scratch(pairs: list[tuple[float, float]]) -> None:
    less, more = [min(pair) for pair in pairs], [max(pair) for pair in pairs]
    assert auto.stable(more, SETTINGS) >= auto.stable(less, SETTINGS)


@given(KAPPAS)
def test_equal_bounds_have_no_memory(kappas: list[float | None]) -> None:
    settings = AutoRetrainConfig(kappa=0.95, back=0.95)
    last = kappas[-1] if kappas else None
    assert auto.stable(kappas, settings) == (last is not None and last >= 0.95)


@given(KAPPAS.filter(bool))
def test_choice_depends_on_the_present_attempt_alone(kappas: list[float | None]) -> None:
    now = situation(kappas, "auto")
    shifted = [Outcome(**{**vars(outcome), "round": outcome.round + 2, "attempt": 1}) for outcome in now.history]
    past = [Outcome(**{**vars(now.history[0]), "round": number, "restarted": number == 1}) for number in (0, 1)]
    later = Situation([*past, *shifted], now.config, 1000, 100, 10)
    assert choice.choose(later).value == choice.choose(now).value


def test_several_repeats_are_refused_where_a_model_goes_on() -> None:
    values = {"name": "test", "train": {"repeats": 2}, "policy": {"retrain": "auto"}, "prices": PRICES}
    with pytest.raises(ConfigError, match=r"policy\.retrain: auto goes on from one model"):
        parse(values, "test")
