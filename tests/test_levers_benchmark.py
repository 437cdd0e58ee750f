"""What the benchmarks of the levers and of the stopping rules make of their loops."""

import importlib
from collections.abc import Iterator
from dataclasses import asdict, replace
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tasks import files, loop
from tasks.cost.rates import Rates
from tasks.history import Outcome
from tests.pools import snapshot
from tests.test_loop import QUICK, Killed

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def benchmarks() -> Iterator[None]:
    """Where the modules of benchmarks/ can be imported, and what they set for their own processes is undone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield


@pytest.fixture(scope="module")
def loops(benchmarks: None) -> ModuleType:
    return importlib.import_module("loops")


@pytest.fixture(scope="module")
def levers(benchmarks: None) -> ModuleType:
    return importlib.import_module("levers")


@pytest.fixture(scope="module")
def stopping(benchmarks: None) -> ModuleType:
    return importlib.import_module("stopping")


# Arms


@pytest.mark.parametrize("quick", [False, True])
def test_every_arm_is_a_configuration_and_but_the_preset_adds_to_vanilla(levers: ModuleType, quick: bool) -> None:
    vanilla, *others = levers.arms(quick)
    for arm in others:
        assert arm.configuration(0) != vanilla.configuration(0)
        if arm.name != "preset":
            assert arm.conf == vanilla.conf
            assert arm.settings[: len(vanilla.settings)] == vanilla.settings


def test_the_preset_trains_the_model_of_vanilla_on_no_more_labels(levers: ModuleType) -> None:
    vanilla, preset = (arm.configuration(3) for arm in levers.arms()[:2])
    assert preset.train == vanilla.train
    assert preset.dataset == vanilla.dataset
    assert preset.loop.max_labels == vanilla.loop.max_labels
    assert preset.loop.initial == vanilla.loop.initial
    assert preset.infer.acquisition == vanilla.infer.acquisition
    assert preset.policy.needs_metric() == []


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("warm", ("policy.retrain", "policy.warm")),
        ("geometric", ("policy.query_size", "policy.geometric")),
        ("candidates", ("infer.scope", "infer.candidates")),
        ("stop in time", ("policy.stop", "policy.stop_set")),
        ("false-start watch", ("policy.false_start",)),
    ],
)
def test_the_preset_puts_together_what_is_tried_alone(levers: ModuleType, name: str, blocks: tuple[str, ...]) -> None:
    alone, preset = ({arm.name: arm.configuration(0) for arm in levers.arms()}[of] for of in (name, "preset"))
    for block in blocks:
        assert attrgetter(block)(alone) == attrgetter(block)(preset)


@pytest.mark.parametrize("quick", [False, True])
def test_recorded_curves_are_measured_for_all_rules_and_run_to_their_end(stopping: ModuleType, quick: bool) -> None:
    for arm in stopping.arms(quick):
        config = arm.configuration(0)
        assert config.policy.needs_stop_set()
        assert config.policy.stop.rules() == {}
        assert config.policy.stop.all.rounds.at_least > config.loop.rounds
        assert config.train.validation
        assert config.rates is not None


# Loops


@pytest.fixture
def bench(loops: ModuleType, tmp_path: Path) -> Any:
    """Two arms on a few digits, of which nothing has been done."""
    settings = (*QUICK, "device=cpu")
    arms = (
        loops.Arm("vanilla", "digits.yaml", settings, seeds=2),
        loops.Arm("stop, early", "digits.yaml", (*settings, "policy.stop.rounds.at_least=2"), seeds=1),
    )
    return loops.Bench(tmp_path, arms, ())


def test_an_arm_is_run_to_its_end_once(loops: ModuleType, bench: Any) -> None:
    arm = bench.arm("vanilla")
    assert bench.finished(arm) == []
    loops.advance(bench, arm, 1)
    (spent,) = bench.finished(arm)
    before = snapshot(bench.work)
    assert (spent.seed, [outcome.labels for outcome in spent.history]) == (1, [10, 20, 30])
    loops.advance(bench, arm, 1)
    assert snapshot(bench.work) == before


def test_a_loop_that_was_cut_short_goes_on(loops: ModuleType, bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    arm, whole = bench.arm("vanilla"), loop.run

    def killed(workspace: Any, step: loop.Step) -> None:
        if step == loop.Step("train", 1):
            raise Killed
        whole(workspace, step)

    loops.advance(bench, arm, 0)
    (undisturbed,) = bench.finished(arm)
    cut = replace(bench, work=bench.work / "cut")
    with monkeypatch.context() as patch:
        patch.setattr(loop, "run", killed)
        with pytest.raises(Killed):
            loops.advance(cut, arm, 0)
    assert cut.finished(arm) == []
    loops.advance(cut, arm, 0)
    (gone_on,) = cut.finished(arm)
    assert [outcome.accuracy for outcome in gone_on.history] == [one.accuracy for one in undisturbed.history]


def test_loops_on_one_data_set_share_its_pool(loops: ModuleType, bench: Any) -> None:
    for arm in bench.arms:
        loops.advance(bench, arm, 0)
    first, second = (bench.place(arm, 0) for arm in bench.arms)
    assert snapshot(first.pool) == snapshot(second.pool)
    arrays = [sorted(path.stat().st_ino for path in place.raw.rglob("*.npy")) for place in (first, second)]
    assert arrays[0] == arrays[1]


def test_nothing_is_begun_when_the_time_is_over(loops: ModuleType, bench: Any) -> None:
    late = replace(bench, until=0.0)
    with pytest.raises(loops.OutOfTime):
        loops.advance(late, late.arm("vanilla"), 0)
    assert late.finished(late.arm("vanilla")) == []


def test_what_a_loop_used_is_what_its_ledger_says(loops: ModuleType, bench: Any) -> None:
    arm = bench.arm("vanilla")
    loops.advance(bench, arm, 0)
    (spent,) = bench.finished(arm)
    books = [files.read_json(path)["stages"] for path in sorted(bench.place(arm, 0).root.rglob("cost.json"))]
    total = sum(entry["used"]["cpu_s"] for book in books for entry in book.values())
    assert spent.cpu_s == pytest.approx(total)
    assert spent.cpu_s_by_round[-1] == pytest.approx(total)
    steps = files.read_json(bench.place(arm, 0).root / "policies.json")
    assert set(steps) == {f"{step} {round_}" for step in ("plan", "decide") for round_ in range(3)}
    assert spent.policies == pytest.approx(sum(steps.values()))


def test_what_was_discarded_counts(loops: ModuleType, bench: Any) -> None:
    arm = bench.arm("vanilla")
    loops.advance(bench, arm, 0)
    path = bench.place(arm, 0).round_dir(0) / "cost.json"
    (before,), book = bench.finished(arm), files.read_json(path)
    book["stages"]["train"]["discarded"] = [book["stages"]["train"]["used"] | {"cpu_s": 7.0}]
    files.write_json(path, book)
    (after,) = bench.finished(arm)
    assert after.cpu_s == pytest.approx(before.cpu_s + 7)
    assert after.stages["train"] == pytest.approx(before.stages["train"] + 7)


# Figures of the levers


def outcome(accuracy: float, labels: int = 100, record_epochs: int = 1000, items_scored: int = 10) -> Outcome:
    return Outcome(
        round=0,
        labels=labels,
        accuracy=accuracy,
        nll=0.1,
        ece=0.1,
        money=5.0,
        money_labels=4.0,
        money_compute=1.0,
        device_hours=0.01,
        record_epochs=record_epochs,
        items_scored=items_scored,
        bought=labels,
    )


def spent(loops: ModuleType, seed: int, accuracy: float, train_s: float, **used: int) -> Any:
    return loops.Spent(seed, [outcome(accuracy, **used)], [{"train": train_s, "infer": 1.0}], 0.5)


def test_shares_are_taken_seed_by_seed(levers: ModuleType, loops: ModuleType) -> None:
    vanilla = [spent(loops, seed, 0.9, 9.0 + 10 * seed) for seed in range(3)]
    # Of seed 1 there is no loop yet.
    preset = [spent(loops, 0, 0.91, 1.0, record_epochs=500), spent(loops, 2, 0.88, 2.0, items_scored=40)]
    found = levers.summary(preset, vanilla)
    assert found["seeds"] == [0, 2]
    assert found["points_to_vanilla"] == pytest.approx(-0.5)
    assert found["share_of_vanilla"]["cpu_s"] == {"median": 0.15, "least": 0.1, "most": 0.2}
    assert found["share_of_vanilla"]["record_epochs"] == {"median": 0.75, "least": 0.5, "most": 1.0}
    assert found["share_of_vanilla"]["items_scored"] == {"median": 2.5, "least": 1.0, "most": 4.0}
    assert (found["cpu_s"], found["cpu_s_policies"]) == (2.5, 0.5)


@pytest.mark.parametrize(
    ("accuracy", "labels", "train_s", "missed"),
    [(0.897, 100, 1.0, None), (0.896, 100, 1.0, "accuracy"), (0.9, 101, 1.0, "labels"), (0.9, 100, 1.5, "compute")],
)
def test_the_headline_says_what_was_reached(
    levers: ModuleType, loops: ModuleType, accuracy: float, labels: int, train_s: float, missed: str | None
) -> None:
    vanilla = [spent(loops, 0, 0.9, 9.0)]
    preset = [spent(loops, 0, accuracy + 1e-9, train_s, labels=labels)]
    table = {"vanilla": levers.summary(vanilla, vanilla), "preset": levers.summary(preset, vanilla)}
    reached = levers.headline(table)["preset"]["reached"]
    assert reached == {name: name != missed for name in ("accuracy", "labels", "compute")}


def test_a_table_and_a_picture_are_made_of_every_arm(
    levers: ModuleType, loops: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vanilla = [spent(loops, seed, 0.9 + 0.01 * seed, 9.0) for seed in range(2)]
    table = {name: levers.summary(vanilla, vanilla) for name in ("vanilla", "preset", "every 2nd")}
    levers.tell(table)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines] == ["arm", "---", "vanilla", "preset", "every 2nd"]
    assert len({line.count("|") for line in lines}) == 1
    levers.draw(table, tmp_path / "levers.png")
    assert (tmp_path / "levers.png").read_bytes().startswith(b"\x89PNG")


def test_the_forecast_of_fixed_policies_has_the_units_of_the_ledger(
    levers: ModuleType, loops: ModuleType, bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(levers, "measure", lambda config, sizes: Rates("cpu", 1e-4, 1e-5, 0.01))
    for arm in bench.arms:
        loops.advance(bench, arm, 0, levers.calibrate)
    found = levers.forecast(bench, bench.arm("vanilla"))
    assert found["units_equal"] is True
    assert found["units"]["labels"] == {"forecast": 30, "ledger": 30}
    assert found["rates"] == asdict(Rates("cpu", 1e-4, 1e-5, 0.01))
    # Nobody knows beforehand where a rule will stop.
    assert levers.forecast(bench, bench.arm("stop, early")) is None


# Regrets


def test_every_rule_is_replayed_on_every_curve(
    stopping: ModuleType, loops: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arm = stopping.arms(quick=True)[0]
    made = loops.Bench(tmp_path, (arm,), ())
    loops.advance(made, arm, 0)
    curves = stopping.recordings(made)
    assert [len(curve.history) for curve in curves] == [4]
    rows, means = stopping.regrets(curves, 1.0)
    assert all(row.regret is not None and row.regret >= 0 for row in rows)
    assert {mean.rule for mean in means} > {stopping.DEFAULT, "plateau", "marginal_value", "run to the end"}
    stopping.tell((rows, means), 1.0)
    assert len({line.count("|") for line in capsys.readouterr().out.splitlines() if "|" in line}) == 1
    stopping.draw(means, tmp_path / "stopping.png")
    assert (tmp_path / "stopping.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("mine", "end", "share"), [(1.0, 4.0, 0.25), (1.0, 0.0, None), (None, 4.0, None)])
def test_the_default_rule_is_set_against_running_to_the_end(
    stopping: ModuleType, mine: float | None, end: float, share: float | None
) -> None:
    nothing = dict.fromkeys(("saved_labels", "saved_device_hours", "saved_money", "points_lost"), 0.0)
    unsure = {"points_lost_ci95": None, "regret_ci95": None}
    means = [
        stopping.Mean(rule=rule, n=1, stopped=0, regret=regret, **nothing, **unsure)
        for rule, regret in ((stopping.DEFAULT, mine), ("run to the end", end))
    ]
    assert stopping.share(means) == share
