"""Recorded curves replayed: where policies stop, what that saves and loses, and what is refused."""

import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from flows.cli import main
from tasks import config as configs
from tasks import files, progress
from tasks.compare import folder
from tasks.config import Config, PricesConfig
from tasks.config_policy import BudgetRule, LearningCurveRule, PlateauRule, RoundsRule, StopConfig, TargetRule
from tasks.cost import ledger
from tasks.cost.rates import Rates
from tasks.errors import ConfigError
from tasks.history import Measured, Outcome, history
from tasks.policy.decision import Verdict
from tasks.policy.query_size import choice as query_size
from tasks.policy.situation import Situation
from tasks.policy.stop import rules
from tasks.replay import figures, panel, recording, regret, results, rows, sizes, table
from tasks.replay.recording import Recording
from tasks.replay.run import replay as replay_all
from tasks.rounds import Workspace
from tests.pools import PRICES, make_workspace, write_plan

HEADER = "labels,accuracy,money"
LINES = ["100,0.7,5", "200,0.85,10", "300,0.9,15", "400,0.91,20"]


def outcome(round_: int, labels: int, accuracy: float, money: float, **values: Any) -> Outcome:
    sums = {"bought": labels} | values
    return Outcome(round_, labels, accuracy, 0.5, 0.1, money, money, 0.0, 0.01 * money, 10, 10, **sums)


def curve(*points: tuple[float, float]) -> list[Outcome]:
    """Rounds of 100 labels each, by accuracy and money."""
    return [outcome(number, 100 * (number + 1), *point) for number, point in enumerate(points)]


def settings(**values: Any) -> Config:
    loop = {"initial": 100, "query_size": 100, "rounds": 99}
    return configs.parse({"name": "test", "prices": PRICES, "loop": loop, **values}, "test")


def recorded(outcomes: list[Outcome], config: Config | None = None, **values: Any) -> Recording:
    known = frozenset(recording.SUMS) | recording.measured(outcomes)
    given: dict[str, Any] = {"pool": 10_000, "held_out": 500} | values
    return Recording("c", tuple(outcomes), known, config or settings(policy={"metric": "accuracy"}), **given)


def at_least(rounds: int) -> StopConfig:
    return StopConfig(rounds=RoundsRule(at_least=rounds))


def stop_at(history_: list[Outcome], stop: StopConfig, config: Config | None = None) -> int:
    return regret.replay(history_, config or settings(), stop, pool=10_000, held_out=500).round


class Counted(progress.Silent):
    """Counts what it is shown."""

    units = 0

    def advance(self, units: int, note: str = "") -> None:
        self.units += units


@st.composite
def loops(draw: st.DrawFn, restarts: bool = False) -> list[Outcome]:
    """Recorded loops: accuracies anyhow, money never falling, perhaps begun anew once."""
    accuracies = draw(st.lists(st.floats(0, 1), min_size=1, max_size=8))
    steps = draw(st.lists(st.floats(0, 50), min_size=len(accuracies), max_size=len(accuracies)))
    made = [
        outcome(number, 100 * (number + 1), accuracy, math.fsum(steps[: number + 1]))
        for number, accuracy in enumerate(accuracies)
    ]
    begun = draw(st.integers(0, len(made) - 1)) if restarts else 0
    return [
        replace(one, attempt=int(number >= begun > 0), restarted=begun > 0 and number == begun - 1)
        for number, one in enumerate(made)
    ]


class TestRegret:
    @given(loops(restarts=True), st.floats(0.01, 100))
    def test_is_what_brute_force_finds_in_hindsight(self, made: list[Outcome], value: float) -> None:
        could = [one for one in made if not one.restarted]
        worth = [value * 100 * one.accuracy - one.money for one in could]
        for one, its in zip(could, worth, strict=True):
            assert regret.regret(made, one, value) == pytest.approx(max(worth) - its)
        assert regret.best(made, value) == could[worth.index(max(worth))]

    @given(loops(), st.integers(1, 9), st.floats(0.01, 100))
    def test_of_a_policy_is_that_of_the_round_at_which_it_stops(
        self, made: list[Outcome], rounds: int, value: float
    ) -> None:
        found = {row.rule: row for row in results.rows(recorded(made), {"r": at_least(rounds)}, value)}
        stopped = made[min(rounds, len(made)) - 1]
        assert found["r"].regret == pytest.approx(regret.regret(made, stopped, value), abs=1e-6)
        assert found[regret.TO_THE_END].regret == pytest.approx(regret.regret(made, made[-1], value), abs=1e-6)

    @given(loops(), st.floats(0.01, 100), st.floats(0.01, 100))
    def test_a_point_that_is_worth_more_never_makes_a_worse_model_the_best(
        self, made: list[Outcome], one: float, other: float
    ) -> None:
        low, high = sorted((one, other))
        assert regret.best(made, low).accuracy <= regret.best(made, high).accuracy

    @given(st.lists(loops(), min_size=1, max_size=4))
    def test_at_the_derived_value_the_records_just_break_even(self, made: list[list[Outcome]]) -> None:
        value = regret.break_even_value(made)
        gained = math.fsum(one[-1].accuracy - one[0].accuracy for one in made)
        spent = math.fsum(one[-1].money - one[0].money for one in made)
        if value is None:
            assert gained <= 1e-12 or spent <= 1e-12
        else:
            assert 100 * value * gained == pytest.approx(spent)


class TestStops:
    @given(loops(), st.integers(1, 9), st.integers(0, 9))
    def test_more_rounds_never_stop_earlier(self, made: list[Outcome], rounds: int, more: int) -> None:
        assert stop_at(made, at_least(rounds)) <= stop_at(made, at_least(rounds + more))

    @given(loops(), st.integers(100, 900), st.integers(0, 900))
    def test_a_larger_budget_never_stops_earlier(self, made: list[Outcome], labels: int, more: int) -> None:
        small, large = (StopConfig(budget=BudgetRule(labels=budget)) for budget in (labels, labels + more))
        assert stop_at(made, small) <= stop_at(made, large)

    @given(loops(), st.floats(0.01, 1), st.floats(0.01, 1))
    def test_a_higher_target_never_stops_earlier(self, made: list[Outcome], one: float, other: float) -> None:
        config = settings(policy={"metric": "accuracy"})
        low, high = (StopConfig(target=TargetRule(accuracy=value)) for value in sorted((one, other)))
        assert stop_at(made, low, config) <= stop_at(made, high, config)

    @given(loops(), st.integers(1, 9))
    def test_are_where_the_loop_itself_would_have_stopped(self, made: list[Outcome], rounds: int) -> None:
        config = settings(policy={"stop": {"rounds": {"at_least": rounds}}})
        live = [rules.decide(Situation(made[: k + 1], config, 10_000, 9_000, 500)).action for k in range(len(made))]
        found = regret.replay(made, settings(), at_least(rounds), pool=10_000, held_out=500)
        assert found.holds == ("stop" in live)
        assert found.round == (live.index("stop") if found.holds else len(made) - 1)

    def test_a_rule_that_lacks_rounds_says_so(self) -> None:
        made, config = curve((0.5, 1), (0.6, 2)), settings(policy={"metric": "accuracy"})
        alone = StopConfig(learning_curve=LearningCurveRule())
        assert regret.replay(made, config, alone, pool=10_000, held_out=500).reason == "needs 2 more rounds"
        beside = StopConfig(learning_curve=LearningCurveRule(), rounds=RoundsRule(at_least=3))
        why = regret.replay(made, config, beside, pool=10_000, held_out=500).reason
        assert why == "does not hold before the end; learning_curve needs 2 more rounds"
        assert regret.replay(made, config, at_least(3), pool=10_000, held_out=500).reason == (
            "does not hold before the end"
        )

    def test_of_a_long_record_are_found_in_good_time(self) -> None:
        # Asked one by one, the rounds to come would take minutes.
        config = settings(policy={"metric": "accuracy"}, loop={"initial": 100, "query_size": 100, "rounds": 5000})
        made = [outcome(k, 100 * (k + 1), 0.9 - 2 * (100.0 * (k + 1)) ** -0.5, k) for k in range(150)]
        began, asked = time.process_time(), Counted()
        stop = StopConfig(learning_curve=LearningCurveRule(min_gain=0.0))
        regret.replay(made, config, stop, pool=10**6, held_out=500, shown=asked)
        assert time.process_time() - began < 15
        assert asked.units == 150

    def test_the_loops_own_end_is_kept(self) -> None:
        made, config = curve((0.5, 1), (0.6, 2), (0.7, 3)), settings(loop={"rounds": 2})
        found = regret.replay(made, config, at_least(3), pool=10_000, held_out=500)
        assert (found.round, found.holds) == (1, False)

    def test_the_next_query_is_as_large_as_it_was_whatever_rule_is_tried(self) -> None:
        # Without its budget cost_optimal would ask for other sizes.
        config = settings(
            loop={"initial": 100, "rounds": 50},
            policy={"metric": "accuracy", "query_size": "cost_optimal", "stop": {"budget": {"money": 45}}},
        )
        labels = [100, 150, 250, 300, 370, 380]
        made = [outcome(k, n, 0.95 - n**-0.5, 0.05 * n) for k, n in enumerate(labels)]
        rates = Rates("cpu", 1e-4, 1e-5, 0.1)
        asked: list[int] = []

        def note(situation: Situation, rule: RoundsRule) -> Verdict:
            asked.append(query_size.choose(situation).value)
            return Verdict(False, "")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tasks.policy.stop.rounds.verdict", note)
            regret.replay(made, config, at_least(99), pool=60_000, held_out=100, rates=rates)
        end = Situation(made, config, 60_000, 59_620, 100, rates=rates)
        own, unbound = (
            query_size.choose(replace(end, config=one)).value
            for one in (
                config,
                config.model_copy(update={"policy": config.policy.model_copy(update={"stop": at_least(99)})}),
            )
        )
        assert asked == [50, 100, 50, 70, 10, own]
        assert own != unbound

    def test_a_round_after_which_the_loop_began_anew_is_no_stopping_point(self) -> None:
        made = curve((0.1, 1), (0.9, 2), (0.95, 3))
        made = [replace(made[0], restarted=True), *(replace(one, attempt=1) for one in made[1:])]
        assert stop_at(made, at_least(1)) == 1
        assert regret.best(made, 0.001).round == 1


class TestWorkspace:
    def test_sums_are_those_when_the_policies_were_asked(self, tmp_path: Path) -> None:
        made = recording.of_workspace(trained(tmp_path / "w", (0.5, 0.6, 0.7)))
        assert [one.money for one in made.history] == pytest.approx([1.5, 3.75, 6.0])
        assert [one.items_scored for one in made.history] == [0, 30, 60]
        assert [one.money for one in history(Workspace(tmp_path / "w"))] == pytest.approx([2.25, 4.5, 6.0])
        assert all("infer" not in one.stage_seconds for one in made.history)
        assert made.history[0].bill.total == made.history[0].money
        assert (made.pool, made.held_out) == (200, 4)

    def test_without_a_trained_round_is_refused(self, workspace: Workspace) -> None:
        check_refused(frugal("replay", "-w", workspace.root), "no round is trained yet")
        assert not (workspace.root / "replay").exists()

    def test_in_which_a_proxy_selects_is_refused(self, tmp_path: Path) -> None:
        root = trained(tmp_path / "w", (0.5, 0.6), proxy={"train": {"model": "linear"}}).root
        words = ("proxy: a proxy selects here", "each round's accuracy is the proxy's")
        check_refused(frugal("replay", "-w", root), str(root), *words)
        check_refused(frugal("replay", root, "-w", tmp_path), "w: ", *words)
        with pytest.raises(ConfigError, match="a proxy selects here"):
            rows.recording("c", "MLflow, c", [], settings(proxy={}), fit=False)
        assert not (root / "replay").exists()

    def test_of_another_loop_may_be_named(self, tmp_path: Path) -> None:
        trained(tmp_path / "mine", (0.5, 0.6))
        trained(tmp_path / "yours", (0.6, 0.7))
        found = as_json(frugal("replay", tmp_path / "mine", tmp_path / "yours", "-w", tmp_path / "mine", "--json"))
        assert found["curves"] == ["mine", "yours"]
        assert {mean["n"] for mean in found["means"] if mean["rule"] == regret.TO_THE_END} == {2}

    def test_configured_rule_is_replayed(self, tmp_path: Path) -> None:
        policy = {"metric": "accuracy", "stop": {"target": {"accuracy": 0.6}}}
        root = trained(tmp_path / "w", (0.5, 0.6, 0.7), policy=policy).root
        found = as_json(frugal("replay", "-w", root, "--json", "--value-per-point", 1))
        stops = {row["rule"]: row for row in found["rows"]}
        assert stops["configured"]["round"] == stops["target"]["round"] == 1
        assert stops["configured"]["saved_money"] == pytest.approx(2.25)
        assert stops["configured"]["regret"] == pytest.approx(10 - 2.25)
        assert stops[results.BEST]["round"] == 2
        assert "kappa" in stops["stable_predictions"]["reason"]
        assert stops["stable_predictions"]["round"] is None

    def test_policies_of_another_configuration_may_be_tried(self, tmp_path: Path) -> None:
        root = trained(tmp_path / "w", (0.5, 0.6, 0.7)).root
        text = "name: other\npolicy: {metric: accuracy, stop: {target: {accuracy: 0.55}}}\n"
        (root / "conf" / "other.yaml").write_text(text + f"prices: {json.dumps(PRICES)}\n")
        found = as_json(frugal("replay", "-w", root, "--conf", "conf/other.yaml", "--json"))
        assert {row["rule"]: row["round"] for row in found["rows"]}["configured"] == 1


class TestCsv:
    def test_means_what_its_columns_say(self, tmp_path: Path) -> None:
        header = f"{HEADER},attempt,bought,kappa,compared,gained,lost,validation_accuracy"
        lines = ["100,0.2,5,0,100,,,,,", "100,0.6,9,1,150,,,,,0.5", "200,0.7,15,1,250,0.9,40,3,1,0.6"]
        (made,) = table.read(written(tmp_path, header, *lines), settings())
        assert made.known == {"money", "bought", "validation_accuracy", "kappa", "compared", "gained", "lost"}
        assert [one.restarted for one in made.history] == [True, False, False]
        assert made.history[2].measured == Measured(40, 3, 1, 0.9, None)
        assert made.history[1].validation_accuracy == 0.5
        assert (made.config.loop.rounds, made.config.loop.initial, made.config.loop.query_size) == (2, 100, 100)
        assert math.isnan(made.history[0].device_hours)

    def test_of_a_workspace_is_one(self, tmp_path: Path) -> None:
        from tasks import curve_file

        workspace = trained(tmp_path / "w", (0.5, 0.6, 0.7))
        curve_file.sync(workspace)
        (made,) = table.read(workspace.root / "data" / "curve.csv", settings())
        whole = history(workspace)
        assert [(one.labels, one.money, one.accuracy) for one in made.history] == [
            (one.labels, one.money, one.accuracy) for one in whole
        ]

    def test_of_a_proxy_is_refused(self, tmp_path: Path) -> None:
        header = f"{HEADER},target_accuracy"
        path = written(tmp_path, header, *(f"{line}," for line in LINES[:-1]), f"{LINES[-1]},0.95")
        check_refused(frugal("replay", path, "-w", tmp_path), str(path), "a proxy selects here")
        assert len(table.read(written(tmp_path, header, *(f"{line}," for line in LINES)), settings())) == 1

    def test_may_hold_several_curves(self, tmp_path: Path) -> None:
        lines = [f"{line},{run}" for run in ("b", "a") for line in LINES]
        made = table.read(written(tmp_path, f"{HEADER},run", *lines), settings())
        assert [(one.name, len(one.history)) for one in made] == [("b", 4), ("a", 4)]

    def test_columns_of_others_are_told_and_left(self, tmp_path: Path) -> None:
        (made,) = table.read(written(tmp_path, f"{HEADER},arm", *(f"{line},x" for line in LINES)), settings())
        assert made.notes == ("columns that were not read: arm",)

    @pytest.mark.parametrize(
        ("header", "lines", "words"),
        [
            ("labels,acuracy", ["1,0.5"], ["row 1", "column accuracy", "is called 'acuracy'; rename it to accuracy"]),
            ("Labels,Accuracy", ["1,0.5"], ["row 1", "the column is called 'Labels'; rename it to labels"]),
            ("labels;accuracy", ["1;0.5"], ["row 1", "separated by ';'; use commas"]),
            ("labels\taccuracy", ["1\t0.5"], ["row 1", "separated by tabs; use commas"]),
            (HEADER, ["99999999999999999999999,0.7,5"], ["row 2", "column labels", "1,000,000,000 or less"]),
            (HEADER, ["100,0.7,1e308"], ["row 2", "column money", "or less"]),
            ("labels,accuracy,accuracy", ["1,0.5,0.5"], ["row 1", "named twice"]),
            ("labels,accuracy,", ["1,0.5,0.5"], ["row 1", "without a name"]),
            (HEADER, [], ["no rows"]),
            (HEADER, ["100,0.7,5,9"], ["row 2", "more values"]),
            (HEADER, ["100,,5"], ["row 2", "column accuracy", "no value"]),
            (HEADER, ["100,high,5"], ["row 2", "column accuracy", "'high' is no number"]),
            (HEADER, ["100,nan,5"], ["row 2", "column accuracy", "finite"]),
            (HEADER, ["100,0.7,inf"], ["row 2", "column money", "finite"]),
            (HEADER, [LINES[0], "200,1.2,9"], ["row 3", "column accuracy", "1.2 is not between 0 and 1"]),
            (HEADER, ["0,0.7,5"], ["row 2", "column labels", "1 or more"]),
            (HEADER, ["10.5,0.7,5"], ["row 2", "column labels", "whole number"]),
            (HEADER, ["100,0.7,-5"], ["row 2", "column money", "-5 is not 0 or more"]),
            (HEADER, [LINES[0], "100,0.8,9"], ["row 3", "column labels", "above 100"]),
            (HEADER, [LINES[0], "200,0.8,4"], ["row 3", "column money", "not be below 5"]),
            (HEADER, [LINES[0], "200,0.8,"], ["row 3", "column money", "every row"]),
            (f"{HEADER},kappa", ["100,0.7,5,1.5"], ["row 2", "column kappa", "between -1 and 1"]),
            (f"{HEADER},gained", ["100,0.7,5,3"], ["row 2", "column compared", "no value"]),
            (f"{HEADER},compared,gained,lost", ["100,0.7,5,3,2,2"], ["row 2", "column compared", "less than"]),
            (f"{HEADER},attempt", ["100,0.7,5,0", "100,0.7,9,1"], ["column bought", "missing"]),
            (f"{HEADER},attempt,bought", ["100,0.7,5,1,100", "200,0.7,9,0,200"], ["row 3", "column attempt"]),
            (f"{HEADER},bought", ["100,0.7,5,99"], ["row 2", "column bought", "less than the labels"]),
            (f"{HEADER},round", ["100,0.7,5,3", "200,0.7,9,3"], ["row 3", "column round", "above 3"]),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else None,
    )
    def test_of_other_things_is_refused(self, tmp_path: Path, header: str, lines: list[str], words: list[str]) -> None:
        path = written(tmp_path, header, *lines)
        check_refused(frugal("replay", path, "-w", tmp_path), str(path), *words)
        assert [path] == list(tmp_path.iterdir())

    def test_that_is_no_text_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "c.csv").write_bytes(b"labels,accuracy\n\xff\xfe,1\n")
        check_refused(frugal("replay", tmp_path / "c.csv", "-w", tmp_path), "not a CSV file in UTF-8")

    def test_without_money_is_priced_by_its_labels_where_prices_are_known(self, tmp_path: Path) -> None:
        path = written(tmp_path, "labels,accuracy", "100,0.7", "200,0.8", "300,0.81")
        (made,) = table.read(path, settings())
        assert rows.with_prices(made, has_prices=False) == replace(made, has_prices=False)
        priced = rows.with_prices(made, has_prices=True)
        assert [one.money for one in priced.history] == [5.0, 10.0, 15.0]
        assert "prices.label" in priced.notes[-1]
        found = as_json(frugal("replay", path, "-w", tmp_path, "--json"))
        assert {row["regret"] for row in found["rows"]} == {None}
        assert "no money" in found["notes"][0]


class TestPanel:
    @pytest.mark.parametrize(
        ("stop", "lacking"),
        [
            ({"stable_predictions": {}}, "kappa"),
            ({"any": {"all": {"overall_uncertainty": {}, "rounds": {"at_least": 2}}}}, "uncertainty"),
            ({"plateau": {}}, "compared"),
            ({"budget": {"device_hours": 1}}, "device_hours"),
        ],
    )
    def test_a_rule_is_not_replayed_on_what_nobody_measured(self, stop: dict[str, Any], lacking: str) -> None:
        made = replace(recorded(curve((0.5, 1), (0.6, 2))), held_out=0, known=frozenset({"money", "bought"}))
        assert panel.missing(StopConfig.model_validate(stop), made) == f"cannot be replayed: no {lacking} in the curve"

    def test_what_compares_with_the_round_before_is_not_missed_in_a_first_round(self) -> None:
        made = recorded(curve((0.5, 1)))
        for stop in ({"stable_predictions": {}}, {"plateau": {}}):
            assert panel.missing(StopConfig.model_validate(stop), made) == ""
        again = replace(made, history=(replace(made.history[0], restarted=True), replace(made.history[0], attempt=1)))
        assert panel.missing(StopConfig.model_validate({"stable_predictions": {}}), again) == ""

    def test_a_rule_that_needs_no_measurement_is_replayed(self) -> None:
        made = replace(recorded(curve((0.5, 1), (0.6, 2))), known=frozenset({"money", "bought"}))
        for stop in (at_least(2), StopConfig(plateau=PlateauRule()), StopConfig(budget=BudgetRule(labels=5, money=1))):
            assert panel.missing(stop, made) == ""

    def test_the_held_out_set_decides_only_with_a_note(self) -> None:
        made = panel.prepared(recorded(curve((0.5, 1))), settings())
        assert made.config.policy.metric == "accuracy"
        assert any("held-out set decides" in note for note in made.notes)
        validated = [replace(one, validation_accuracy=0.4) for one in curve((0.5, 1))]
        made = panel.prepared(recorded(validated), settings())
        assert made.config.policy.metric == "validation_accuracy"
        assert not any("held-out" in note for note in made.notes)

    def test_pairs_of_another_metric_are_put_aside(self) -> None:
        pairs = [replace(one, measured=Measured(9, 1, 1, 0.5)) for one in curve((0.5, 1), (0.6, 2))]
        made = panel.prepared(recorded(pairs, settings()), settings())
        assert {one.measured for one in made.history} == {Measured(kappa=0.5)}
        assert "compared" not in made.known
        kept = panel.prepared(recorded(pairs), settings(policy={"metric": "accuracy"}))
        assert "compared" in kept.known

    def test_the_value_of_a_point_is_found_wherever_it_stands(self) -> None:
        inner = {"any": {"all": {"marginal_value": {"value_per_point": 3}, "rounds": {"at_least": 2}}}}
        assert panel.value_of(StopConfig.model_validate(inner)) == 3
        assert panel.value_of(at_least(2)) is None


class TestResults:
    def test_say_what_is_saved_and_lost(self) -> None:
        made = recorded(curve((0.5, 10), (0.7, 20), (0.71, 40)))
        stops = {row.rule: row for row in results.rows(made, {"r": at_least(1)}, 1.0)}
        first = stops["r"]
        assert (first.saved_labels, first.saved_money, first.saved_device_hours) == (200, 30, 0.3)
        assert (first.points_lost, first.regret) == (20.0, 10.0)
        assert stops[results.BEST].round == 1
        assert stops[regret.TO_THE_END].regret == pytest.approx((70 - 20) - (71 - 40))

    def test_of_several_curves_are_means_with_their_intervals(self) -> None:
        ends = [(0.9, 30), (0.8, 30), (0.7, 30)]
        found = replay_all([recorded(curve((0.6, 10), end)) for end in ends], value_per_point=1.0)
        mean = next(mean for mean in found.means if mean.rule == regret.TO_THE_END)
        # Each may gain up to 30 points for 20: hindsight goes on twice and breaks even or stops once.
        assert (mean.n, mean.stopped) == (3, 0)
        assert mean.regret == pytest.approx(10 / 3, abs=1e-6)
        assert mean.regret_ci95 == pytest.approx(4.302653 * 10 / 3, abs=1e-4)
        assert [one.name for one in found.recordings] == ["c", "c (2)", "c (3)"]

    def test_pass_over_curves_that_a_rule_cannot_be_replayed_on(self) -> None:
        agreed = [replace(one, measured=Measured(kappa=0.999)) for one in curve(*[(0.5, 1 + k) for k in range(6)])]
        found = replay_all([recorded(agreed), recorded(curve((0.5, 1), (0.6, 2)))], value_per_point=1.0)
        mean = next(mean for mean in found.means if mean.rule == "stable_predictions")
        assert (mean.n, mean.stopped, mean.saved_labels) == (1, 1, 200)

    @pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf, 1e308])
    def test_need_a_value_that_is_an_amount(self, value: float) -> None:
        with pytest.raises(ConfigError, match="finite amount above 0"):
            replay_all([recorded(curve((0.5, 1)))], value_per_point=value)

    def test_in_two_currencies_are_refused(self) -> None:
        euro = settings(prices={**PRICES, "currency": "EUR"})
        with pytest.raises(ConfigError, match=r"c in USD, c in EUR"):
            replay_all([recorded(curve((0.5, 1))), recorded(curve((0.5, 1)), euro)])

    def test_the_value_of_a_point_is_told_with_its_origin(self) -> None:
        made = recorded(curve((0.5, 10), (0.7, 20)))
        assert "--value-per-point" in replay_all([made], value_per_point=2.0).notes[0]
        derived = replay_all([made])
        assert derived.value_per_point == 0.5
        assert "just pays over the whole record" in derived.notes[0]
        rules_ = {row.rule: row for row in derived.rows}
        assert "marginal_value" not in rules_
        assert rules_["marginal_value (value in hindsight)"].regret is None
        assert rules_[regret.TO_THE_END].regret is not None
        assert replay_all([made], value_per_point=2.0).rows[4].rule == "marginal_value"
        ruled = settings(policy={"metric": "accuracy", "stop": {"marginal_value": {"value_per_point": 3}}})
        assert replay_all([recorded(curve((0.5, 10), (0.7, 20)), ruled)]).value_per_point == 3
        flat = replay_all([recorded(curve((0.5, 10), (0.5, 20)))])
        assert flat.value_per_point is None
        assert {row.regret for row in flat.rows} == {None}

    def test_are_drawn_for_one_curve_and_for_several(self) -> None:
        found = replay_all([recorded(curve((0.5, 10), (0.7, 20)))])
        again = figures.curve(found.recordings[0], found.rows)
        assert again == figures.curve(found.recordings[0], found.rows)
        assert again[:8] == figures.bars(found.means, 1, "USD")[:8] == b"\x89PNG\r\n\x1a\n"

    def test_are_plain_json(self) -> None:
        found = replay_all([recorded(curve((0.5, 10), (0.7, 20)))]).plain()
        json.dumps(found, allow_nan=False)


class TestSizes:
    def test_land_where_the_policy_would_have_landed(self) -> None:
        made = recorded(curve((0.5, 10), (0.6, 20), (0.64, 30), (0.66, 40), (0.67, 50)))
        landed = sizes.landings(made, "geometric")
        assert [size.labels for size in landed] == [100, 200, 400, 500]
        assert [size.accuracy for size in landed] == [0.5, 0.6, 0.66, 0.67]
        assert not any(size.interpolated for size in landed)
        epochs = made.config.train.epochs
        assert [size.record_epochs for size in landed] == [100 * epochs, 300 * epochs, 700 * epochs, 1200 * epochs]

    def test_between_two_rounds_are_interpolated_and_before_the_first_unknown(self) -> None:
        config = settings(policy={"metric": "accuracy", "schedule": {"shares": [0.05, 0.2]}})
        landed = sizes.landings(recorded(curve((0.5, 10), (0.6, 20), (0.64, 30)), config, pool=1000), "schedule")
        assert [(size.labels, size.accuracy, size.interpolated) for size in landed] == [
            (50, None, True),
            (250, 0.62, True),
            (300, 0.64, False),
        ]

    def test_need_a_known_pool_for_shares_of_it(self) -> None:
        made = recorded(curve((0.5, 10), (0.6, 20)), pool=None)
        assert sizes.landings(made, "schedule") == []
        assert {size.record_epochs for size in sizes.landings(made, "geometric")} == {None}


class TestCommand:
    def test_writes_tables_and_a_picture(self, tmp_path: Path) -> None:
        path = written(tmp_path, HEADER, *LINES)
        result = frugal("replay", path, "-w", tmp_path, "--out", tmp_path / "out")
        assert result.exit_code == 0, result.output
        assert "best in" in result.stdout
        assert "learning_curve: " in result.stdout
        assert "stable_predictions: cannot be replayed: no kappa in the curve" in result.stdout
        assert {one.name for one in (tmp_path / "out").iterdir()} == {"stops.csv", "sizes.csv", "replay.png"}

    def test_of_several_curves_sums_them_up(self, tmp_path: Path) -> None:
        lines = [f"{line},{run}" for run in ("a", "b") for line in LINES]
        result = frugal("replay", written(tmp_path, f"{HEADER},run", *lines), "-w", tmp_path)
        assert result.exit_code == 0, result.output
        assert "2 curves" in result.stdout
        assert (tmp_path / "replay" / "means.csv").read_text().startswith("rule,n,stopped,")

    def test_takes_every_loop_of_a_comparison(self, tmp_path: Path) -> None:
        arms = {name: settings(name=name) for name in ("one", "two")}
        comparison = folder.Comparison(tmp_path / "x", "x", arms, 2)
        folder.store(comparison, tmp_path / "raw")
        for arm, seed in comparison.loops[:3]:
            trained(comparison.workspace(arm, seed).root, (0.5, 0.6, 0.62))
        found = as_json(frugal("replay", tmp_path / "x", "-w", tmp_path, "--json"))
        assert found["curves"] == ["one seed 0", "two seed 0", "one seed 1"]

    def test_prices_a_bare_file_by_those_of_the_workspace(self, tmp_path: Path) -> None:
        path = written(tmp_path, "labels,accuracy", "100,0.7", "200,0.8")
        (tmp_path / "conf").mkdir()
        (tmp_path / "conf" / "prices.yaml").write_text(json.dumps({**PRICES, "currency": "EUR", "label": 3}))
        found = as_json(frugal("replay", path, "-w", tmp_path, "--json"))
        assert found["currency"] == "EUR"
        assert {row["money"] for row in found["rows"] if row["round"] == 1} == {600}
        assert "prices: those of conf/prices.yaml" in found["notes"]

    def test_refuses_to_write_into_a_file(self, tmp_path: Path) -> None:
        path = written(tmp_path, HEADER, *LINES)
        check_refused(frugal("replay", path, "-w", tmp_path, "--out", path), "is a file; name a folder for the tables")

    def test_refuses_what_is_nowhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        check_refused(frugal("replay", "nowhere.csv", "-w", tmp_path), "nowhere.csv", "no such folder or file")
        check_refused(frugal("replay", "-w", tmp_path), "not a workspace")
        check_refused(frugal("replay", "-w", tmp_path, "--value-per-point", 0), "--value-per-point")
        assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def mlflow_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a record of one loop that began anew after its first round."""
    root: Path = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        record(Workspace(root))
        yield root


class TestMlflow:
    def test_gives_the_curve_back(self, mlflow_root: Path) -> None:
        from flows.record import tracking

        (found,) = tracking.loops(Workspace(mlflow_root), "digits entropy seed 0")
        config = configs.parse(found.settings, "test")
        assert config == settings(train={"epochs": 7})
        made = rows.recording(found.name, "MLflow", [rows.of_metrics(values) for values in found.rounds], config)
        assert [(one.labels, one.bought, one.accuracy) for one in made.history] == [
            (100, 100, 0.1),
            (100, 150, 0.5),
            (200, 250, 0.7),
        ]
        assert [one.restarted for one in made.history] == [True, False, False]
        assert made.history[2].measured.kappa == 0.5
        assert (
            tracking.loops(Workspace(mlflow_root), "digits")
            == [found]
            == tracking.loops(Workspace(mlflow_root), "some-id")
        )
        assert tracking.loops(Workspace(mlflow_root), "other") == []

    def test_of_another_release_borrows_a_configuration_and_says_so(
        self, mlflow_root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from flows.record import tracking_curve

        monkeypatch.setattr(tracking_curve, "_nested", lambda params: {"name": params["name"], "old": 1})
        found = as_json(frugal("replay", "digits", "-w", mlflow_root, "--json"))
        assert any("not of this release" in note for note in found["notes"])
        rules_ = {row["rule"]: row["reason"] for row in found["rows"]}
        assert "no prices" in rules_["marginal_value (value in hindsight)"]

    def test_is_replayed_by_name(self, mlflow_root: Path) -> None:
        found = as_json(frugal("replay", "digits", "-w", mlflow_root, "--json"))
        assert found["curves"] == ["digits entropy seed 0"]
        assert {row["rule"]: row["labels"] for row in found["rows"]}[regret.TO_THE_END] == 250


def frugal(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="frugal")


def as_json(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    assert all(Path(path).is_file() for path in found["files"])
    return found


def check_refused(result: Result, *words: str) -> None:
    """One line that holds the words, exit 2, no traceback."""
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr


def written(folder_: Path, header: str, *lines: str) -> Path:
    path = folder_ / "curve.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def trained(root: Path, accuracies: tuple[float, ...], **values: Any) -> Workspace:
    """A finished loop by its files: 30 labels for 1.5 and 30 items scored for 0.75 a round, the last one unscored."""
    loop = {"initial": 30, "query_size": 30, "rounds": len(accuracies)}
    workspace = make_workspace(root, items=200, loop=loop, **values)
    files.write_table(workspace.pool / "test.parquet", pa.table({"id": list("abcd"), "label": [0, 1, 2, 0]}))
    prices = PricesConfig.model_validate(PRICES)
    for number, accuracy in enumerate(accuracies):
        last, where = number == len(accuracies) - 1, workspace.round_dir(number)
        write_plan(workspace, number)
        metrics = {"accuracy": accuracy, "nll": 1.0, "ece": 0.1, "labels": 30 * (number + 1)}
        files.write_json(where / "metrics.json", metrics)
        # 13,500 seconds at 0.2 an hour are 0.75.
        scored = ledger.Usage(items_scored=30, forward_passes=30, wall_s=13_500, device_s={"cpu": 13_500})
        bought = ledger.Usage(labels=30, label_price=1.5)
        for name, used in {"label": bought, "train": ledger.Usage(), "infer": scored}.items():
            if name != "infer" or not last:
                ledger.write_entry(where, name, used, prices, {}, {})
        decision: dict[str, Any] = {
            "action": "stop" if last else "continue",
            "reason": "test",
            "policy": "test",
            "numbers": {},
        }
        files.write_json(where / "decision.json", {**decision, "measured": asdict(Measured())})
    return workspace


def record(place: Workspace) -> None:
    """Enter a loop that began anew after its first round in the MLflow of a folder."""
    from flows.record import tracking, tracking_run

    tracking.prepare(place)
    client = tracking.connect(place)
    location = (place.root / "mlartifacts").as_uri()
    experiment = client.create_experiment("digits", artifact_location=location)
    tags = {"frugal.loop_id": "some-id", "frugal.kind": "loop"}
    run = client.create_run(experiment, tags=tags, run_name="digits entropy seed 0").info.run_id
    tracking_run.log_params(client, run, configs.dump(settings(train={"epochs": 7})))
    for number, (labels, bought, accuracy) in enumerate([(100, 100, 0.1), (100, 150, 0.5), (200, 250, 0.7)]):
        values = {"labels": bought, "attempt_labels": labels, "accuracy": accuracy, "money": 5.0 * number}
        values |= {"round": number, "attempt": int(number > 0), "policy/kappa": 0.5, "bill/labels": 1.0}
        client.log_batch(run, metrics=tracking_run._points(values, 1000 + number, bought))
