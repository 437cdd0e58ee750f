"""What the benchmark of a regression makes of its loops."""

import argparse
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.number_helpers import write_loop

ROOT = Path(__file__).parents[1]
USED = ("device_s", "cpu_s", "record_epochs", "forward_passes")


@pytest.fixture(scope="module")
def regression() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield importlib.import_module("regression")


def run(regression: ModuleType, seed: int, *rmse: float, seconds: float = 1.0) -> Any:
    labels = tuple(100 * (place + 1) for place in range(len(rmse)))
    metrics = {"rmse": rmse, "r2": rmse, "mae": rmse, "nll": rmse}
    return regression.Run(seed, labels, metrics, dict.fromkeys(USED, tuple(seconds * number for number in labels)))


# Arms


@pytest.mark.parametrize("quick", [False, True])
def test_arms_differ_in_how_they_select_and_the_ensembles_in_their_members(regression: ModuleType, quick: bool) -> None:
    arms = {arm.name: arm for arm in regression.arms(argparse.Namespace(quick=quick, seeds=2))}
    configs = {name: arm.configuration(1) for name, arm in arms.items()}
    assert {name for name, config in configs.items() if config.train.members == 5} == {"ensemble", "random, ensemble"}
    assert {name for name, config in configs.items() if config.select.strategy == "random"} == {
        "random",
        "random, ensemble",
    }
    longest = configs["random"].loop.rounds
    assert all(config.loop.rounds < longest for name, config in configs.items() if name != "random")
    one = configs["dropout"]
    for config in configs.values():
        alike = {
            "infer": one.infer,
            "select": one.select,
            "loop": config.loop.model_copy(update={"rounds": one.loop.rounds}),
            "train": config.train.model_copy(update={"members": 1}),
        }
        assert config.model_copy(update=alike) == one


# Compute


def test_scoring_counts_from_the_next_round_on(regression: ModuleType) -> None:
    train, infer = dict.fromkeys(USED, 10.0), dict.fromkeys(USED, 1.0)
    found = regression.compute([{"train": train, "infer": infer}, {"select": infer, "train": train}])
    assert [used["device_s"] for used in found] == [10.0, 22.0]


def test_discarded_runs_and_all_kinds_of_devices_count(regression: ModuleType) -> None:
    runs = [
        {"device_s": {"cpu": 1.0, "cuda": 2.0}, "cpu_s": 3.0, "record_epochs": 4, "forward_passes": 5},
        {"device_s": {}, "cpu_s": 1.0, "record_epochs": 1, "forward_passes": 1},
    ]
    expected = {"device_s": 3.0, "cpu_s": 4.0, "record_epochs": 5, "forward_passes": 6}
    assert regression.total(runs) == expected


# Figures


@pytest.mark.parametrize(("goal", "labels"), [(9.0, 100), (7.0, 150), (6.0, 200), (5.0, 250), (3.0, None)])
def test_labels_at_random_lie_between_the_rounds(regression: ModuleType, goal: float, labels: int | None) -> None:
    # The third round is worse than the second, and tells nothing of errors that the second has already reached.
    assert regression.reached((100, 200, 300), (8.0, 6.0, 4.0), goal) == labels
    assert regression.reached((100, 200, 300), (8.0, 6.0, 7.0), 6.0) == 200


@pytest.mark.parametrize(("seconds", "error"), [(0.5, None), (1.0, 8.0), (2.0, 7.0), (3.0, 6.0), (3.5, None)])
def test_random_at_equal_seconds_is_not_guessed(regression: ModuleType, seconds: float, error: float | None) -> None:
    assert regression.between((1.0, 3.0), (8.0, 6.0), seconds) == error


def test_differences_are_of_paired_seeds_and_of_selected_labels(regression: ModuleType) -> None:
    chance = [run(regression, seed, 90.0 + seed, 80.0 + seed, 70.0, 60.0) for seed in range(3)]
    # Of seed 1 there is no loop yet; the first round's labels nobody has selected.
    mine = [run(regression, seed, 10.0, 76.0 + seed, 66.0, seconds=3.0) for seed in (0, 2)]
    row = regression.row("dropout", {"random": chance, "dropout": mine})
    assert row["later_rmse"]["to_random"] == {"mean": -4.0, "ci95": 0.0, "n": 2}
    cell = row["budgets"]["200"]
    assert cell["rmse_to_random"]["mean"] == -4.0
    # 77 lies 4/11 of the way from 81 at 200 labels to 70 at 300.
    assert cell["labels_at_random"] == 236
    # Three times 200 seconds are what 600 random labels take, which nobody has bought.
    assert cell["random_at_equal_seconds"] is None
    assert row["budgets"]["100"]["random_at_equal_seconds"] == 70.0


def test_the_ensemble_is_set_against_an_ensemble(regression: ModuleType) -> None:
    found = {name: [run(regression, 0, 5.0, 4.0)] for name in ("random", "ensemble", "random, ensemble")}
    rows = {name: regression.row(name, found)["later_rmse"] for name in found}
    assert {name: set(told) for name, told in rows.items()} == {
        "random": set(),
        "ensemble": {"to_random", "to_random, ensemble"},
        "random, ensemble": {"to_random"},
    }


def test_every_figure_can_be_told(regression: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seeds = [run(regression, seed, 9.0 + seed, 8.0, 7.5 + seed) for seed in range(2)]
    longer = [run(regression, seed, 9.0 + seed, 8.5, 8.0, 7.0 - seed) for seed in range(2)]
    found = {name: longer if name == "random" else seeds for name in regression.ARMS}
    regression.print_table({name: regression.row(name, found) for name in found})
    table = [line for line in capsys.readouterr().out.splitlines() if "|" in line]
    assert len(table) == 2 + len(found)
    assert len({line.count("|") for line in table}) == 1
    assert table[0].startswith("| 300 labels |")
    regression.draw(found, tmp_path / "regression.png")
    assert (tmp_path / "regression.png").read_bytes().startswith(b"\x89PNG")


# Loops


def test_a_loop_is_read_from_its_files(regression: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loops = importlib.import_module("loops")
    workspace = write_loop(tmp_path / "dropout-0", [0.2, 0.5])
    arm = regression.arms(argparse.Namespace(quick=True, seeds=1))[1]
    made = loops.Bench(tmp_path, (arm,), ())
    monkeypatch.setattr(loops, "left", lambda place: False)
    (found,) = regression.finished(made, arm)
    assert found == regression.run_of(workspace, 0)
    assert found.metrics["r2"] == pytest.approx((0.2, 0.5))
    assert all(len(found.compute[name]) == 2 for name in USED)
