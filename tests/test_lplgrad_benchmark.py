"""What the benchmark of predicted losses and entropy gradients makes of its loops."""

import argparse
import importlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.test_loop import QUICK

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def lplgrad() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield importlib.import_module("lplgrad")


def options(lplgrad: ModuleType, **changes: Any) -> argparse.Namespace:
    values = {"quick": False, "seeds": None, "first": 0, "methods": list(lplgrad.METHODS)}
    return argparse.Namespace(**{**values, "protocol": "cpu", "dataset": None, **changes})


def run(lplgrad: ModuleType, seed: int, *accuracy: float, train_s: float = 10.0, query_s: float = 2.0) -> Any:
    labels = tuple(100 * (place + 1) for place in range(len(accuracy)))
    return lplgrad.Run(seed, labels, accuracy, train_s, query_s, items_scored=1000)


# Methods


@pytest.mark.parametrize("question", ["MNIST", "CIFAR10", "PAPER"])
@pytest.mark.parametrize("quick", [False, True])
def test_methods_differ_in_what_they_select_by_and_learn_for_it(
    lplgrad: ModuleType, question: str, quick: bool
) -> None:
    arms = lplgrad.arms_of(getattr(lplgrad, question), options(lplgrad, quick=quick))
    configs = {arm.name.split()[1]: arm.configuration(1) for arm in arms}
    assert set(configs) == set(lplgrad.METHODS)
    assert {name for name, config in configs.items() if config.train.loss_prediction} == {"learning_loss", "lplgrad"}
    entropy = configs["entropy"]
    for config in configs.values():
        alike = {
            "infer": config.infer.model_copy(update={"acquisition": "entropy"}),
            "select": config.select.model_copy(update={"strategy": "top_k"}),
            "train": config.train.model_copy(update={"loss_prediction": None}),
        }
        assert config.model_copy(update=alike) == entropy


def test_the_paper_has_the_budgets_of_its_table(lplgrad: ModuleType) -> None:
    loop = lplgrad.arms_of(lplgrad.PAPER, options(lplgrad))[0].configuration(0).loop
    labels = [loop.initial + number * loop.query_size for number in range(loop.rounds)]
    assert all(set(published) <= set(labels) for published in lplgrad.PUBLISHED["accuracy"].values())


def test_one_method_and_seed_can_be_asked_for(lplgrad: ModuleType) -> None:
    asked = options(lplgrad, protocol="paper", methods=["lplgrad"], seeds=1, first=3)
    (question,) = lplgrad.questions(asked)
    (arm,) = lplgrad.arms_of(question, asked)
    assert (arm.name, list(arm.numbers)) == ("cifar10 lplgrad", [3])


# Loops


def test_a_finished_loop_is_read_by_either_clock(lplgrad: ModuleType, tmp_path: Path) -> None:
    arm = lplgrad.Arm("digits entropy", "digits.yaml", (*QUICK, "device=cpu"), 1)
    made = lplgrad.Bench(tmp_path, (arm,), ())
    lplgrad.loops.advance(made, arm, 0)
    place = made.place(arm, 0)
    by_cpu, by_wall = (lplgrad.run_of(place, 0, clock) for clock in ("cpu_s", "wall_s"))
    assert by_cpu.labels == (10, 20, 30)
    assert by_cpu.accuracy == by_wall.accuracy
    (spent,) = made.finished(arm)
    assert by_cpu.train_s == pytest.approx(spent.stages["train"])
    assert by_cpu.query_s == pytest.approx(spent.stages["infer"] + spent.stages["select"])
    assert by_wall.train_s > 0


def test_methods_that_have_not_begun_are_left_out(lplgrad: ModuleType, tmp_path: Path) -> None:
    asked = options(lplgrad, quick=True)
    made = lplgrad.Bench(tmp_path, lplgrad.arms_of(lplgrad.MNIST, asked), ())
    told = lplgrad.tell(made, lplgrad.MNIST, asked, "cpu_s")
    assert (told["methods"], told["claims"], told["joint_loss_train_s"]) == ({}, {}, None)
    lplgrad.print_table("mnist", told["methods"])


# Figures


def test_differences_are_taken_seed_by_seed(lplgrad: ModuleType) -> None:
    found = {
        "random": [run(lplgrad, seed, 50.0 + 10 * seed, 60.0 + 10 * seed) for seed in range(3)],
        # Of seed 1 there is no loop yet.
        "entropy": [run(lplgrad, seed, 50.0 + 10 * seed, 62.0 + 10 * seed) for seed in (0, 2)],
    }
    told = lplgrad.row("entropy", found)
    assert told["seeds"] == [0, 2]
    assert told["budgets"]["200"]["to_random"] == {"mean": 2.0, "ci95": 0.0, "n": 2}
    assert "to_entropy" not in told["budgets"]["200"]
    assert told["later_accuracy"]["mean"] == 72.0
    assert told["query_ms_per_item"]["mean"] == 2.0


@pytest.mark.parametrize(
    ("mean", "half", "expected"),
    [
        (1.0, 0.5, "holds"),
        (-1.0, 0.5, "fails"),
        (0.4, 0.5, "undecided"),
        (-0.5, 0.5, "undecided"),
        (9, None, "undecided"),
    ],
)
def test_a_claim_is_borne_out_by_its_interval(
    lplgrad: ModuleType, mean: float, half: float | None, expected: str
) -> None:
    assert lplgrad.verdict(mean, half) == expected


def test_claims_are_of_what_was_selected_and_not_of_the_first_round(lplgrad: ModuleType) -> None:
    found = {
        "entropy": [run(lplgrad, seed, 90.0, 60.0, 70.0 + seed) for seed in range(3)],
        "entropy_gradnorm": [run(lplgrad, seed, 10.0, 61.0 + 0.1 * seed, 71.0 + seed) for seed in range(3)],
        "k_centers": [run(lplgrad, seed, 90.0, 60.0, 70.0, query_s=50.0) for seed in range(3)],
    }
    told = lplgrad.claims(found)
    assert told["entropy_gradnorm > entropy"]["verdict"] == "holds"
    assert told["entropy_gradnorm > entropy"]["mean"] == 1.05
    assert told["k_centers queries many times as long as entropy"]["ratio"] == 25.0
    assert "lplgrad > entropy_gradnorm" not in told


def test_the_joint_loss_is_priced_by_its_training(lplgrad: ModuleType) -> None:
    found = {
        "entropy": [run(lplgrad, 0, 50.0, 60.0, train_s=10.0), run(lplgrad, 1, 50.0, 60.0, train_s=20.0)],
        "learning_loss": [run(lplgrad, 0, 50.0, 60.0, train_s=11.0), run(lplgrad, 1, 50.0, 60.0, train_s=24.0)],
    }
    assert lplgrad.joint_loss(found)["values"] == [1.1, 1.2]


def test_the_table_has_a_line_for_each_method(lplgrad: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    found = {method: [run(lplgrad, seed, 50.0, 60.0) for seed in range(2)] for method in ("random", "entropy")}
    found["random"] = [replace(one, items_scored=0) for one in found["random"]]
    lplgrad.print_table("mnist", {method: lplgrad.row(method, found) for method in found})
    lines = capsys.readouterr().out.strip().splitlines()
    assert [line.split("|")[1].strip() for line in lines] == ["mnist", "---", "random", "entropy"]
    assert len({line.count("|") for line in lines}) == 1
