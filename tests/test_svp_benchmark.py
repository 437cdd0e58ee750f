"""What the benchmark of selection via proxy makes of its steps."""

import importlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tasks.config_train import TrainConfig
from tasks.datasets.store import PoolInfo
from tasks.task_type import Classification
from tasks.train.examples import Examples
from tests.pools import snapshot

ROOT = Path(__file__).parents[1]
ITEMS, LABELS = 40, (8, 14, 20)


@pytest.fixture(scope="module")
def svp() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield importlib.import_module("svp_cifar10")


def step(labels: int, train_s: float = 0.0, error: float | None = None, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"labels": labels, "select": {"train_s": train_s, "infer_s": 1.0, "rank_s": 0.5}, **more}
    return found if error is None else found | {"target": {"train_s": 100.0, "error": error}}


# Protocols


def test_the_paper_asks_for_a_tenth_to_a_half_of_the_pool(svp: ModuleType) -> None:
    assert [labels / 50_000 for labels in svp.PAPER.sizes] == [0.02, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert svp.PAPER.train.model == "preact_resnet164"
    assert svp.PAPER.proxies[0].selector == {"model": "preact_resnet20"}


@pytest.mark.parametrize("name", ["CPU", "PAPER"])
@pytest.mark.parametrize("small", [False, True])
def test_the_ceiling_is_taken_where_proxy_and_target_are_compared(svp: ModuleType, name: str, small: bool) -> None:
    protocol = svp.quick(getattr(svp, name)) if small else getattr(svp, name)
    assert protocol.ceiling in protocol.budgets[:-1]
    assert protocol.proxies[0].every
    assert max(protocol.budgets) < (protocol.pool or 50_000)
    assert all(protocol.selecting(arm) != protocol.train for arm in protocol.proxies)


# Steps


def made(svp: ModuleType, work: Path) -> Any:
    """Small random images in three classes, and models of an epoch."""
    rng = np.random.default_rng(0)

    def examples(count: int) -> Examples:
        ids = pa.array([f"i{number:03d}" for number in range(count)])
        return Examples(rng.integers(0, 256, (count, 1, 8, 8), dtype=np.uint8), np.arange(count) % 3, ids)

    info = PoolInfo(
        "test", Classification(("a", "b", "c")), (1, 8, 8), "uint8", (0.5,), (0.3,), ITEMS, 9, ITEMS, "digest"
    )
    train = TrainConfig(model="preact_resnet8", epochs=1, batch_size=8)
    initial, *budgets = LABELS
    arms = tuple(
        replace(arm, selector={"model": "linear"}) if arm.name.startswith("preact") else arm for arm in svp.CPU.arms
    )
    smaller = {"initial": initial, "budgets": tuple(budgets), "ceiling": budgets[0], "held_out": 6, "seeds": 1}
    protocol = replace(svp.CPU, train=train, arms=arms, **smaller)
    bench = svp.Bench(work, protocol)
    bench.__dict__["data"] = svp.Data(protocol, info, examples(ITEMS), examples(9))
    return bench


@pytest.fixture(scope="module")
def bench(svp: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A bench at which everything is done; for reading only."""
    bench = made(svp, tmp_path_factory.mktemp("svp") / "work")
    svp.run_all(bench, float("inf"))
    return bench


def test_all_arms_begin_with_the_same_labels_and_keep_to_the_budgets(bench: Any) -> None:
    (found,) = bench.finished()
    firsts = {tuple(sorted(set(steps[0]["rows"][: LABELS[0]].tolist()))) for steps in found.values()}
    assert len(firsts) == 1
    for steps in found.values():
        assert [one["labels"] for one in steps] == list(LABELS)
        for one, following in zip(steps, (*LABELS[1:], LABELS[-1]), strict=True):
            assert len(set(one["rows"].tolist())) == following


def test_the_target_is_trained_where_it_is_wanted(bench: Any) -> None:
    (found,) = bench.finished()
    trained = {name: [one["labels"] for one in steps if "target" in one] for name, steps in found.items()}
    assert trained == {
        "target": [8, 14, 20],
        "preact_resnet20": [14, 20],
        "random": [14, 20],
        "half the epochs": [20],
        "preact_resnet8": [20],
    }
    assert [name for name, steps in found.items() if any("of_second" in one for one in steps)] == ["preact_resnet20"]


def test_the_highest_scores_of_the_unlabelled_are_selected(bench: Any) -> None:
    (found,) = bench.finished()
    first = found["preact_resnet20"][0]
    labelled, added = first["rows"][: LABELS[0]], first["rows"][LABELS[0] :]
    scores = first["of_selector"]
    assert np.isnan(scores[labelled]).all()
    assert scores[added].min() >= np.nanmax(np.delete(scores, np.concatenate([labelled, added])))


def test_what_was_cut_short_goes_on_to_the_same_end(svp: ModuleType, bench: Any, tmp_path: Path) -> None:
    def rows(made: Any) -> list[list[int]]:
        return [one["rows"].tolist() for steps in made.finished()[0].values() for one in steps]

    again = made(svp, tmp_path / "work")
    shutil.copytree(bench.work, again.work)
    before = snapshot(again.work)
    svp.run_all(again, float("inf"))
    assert snapshot(again.work) == before
    for number in (1, 2):
        again.path(again.protocol.arms[1], 0, number).unlink()
    assert again.finished() == []
    svp.run_all(again, float("inf"))
    assert rows(again) == rows(bench)


def test_nothing_is_begun_when_the_time_is_over(svp: ModuleType, tmp_path: Path) -> None:
    late = made(svp, tmp_path / "work")
    with pytest.raises(svp.loops.OutOfTime):
        svp.run_all(late, 0.0)
    assert not late.work.exists()


def test_every_figure_can_be_told(svp: ModuleType, bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    found = bench.finished()
    rows = svp.told(bench.protocol, found)
    svp.print_table(rows)
    lines = capsys.readouterr().out.splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert len(lines) == 2 + len(bench.protocol.arms) * len(bench.protocol.budgets)
    headline = svp.headline(bench.protocol, found)
    assert set(headline["selection_speedup"]) == {"14", "20"}
    assert headline["n"] == 1
    # Of the initial labels there is a target in the arm that selects for itself; of the last ones there is no proxy.
    assert set(rows["preact_resnet20"]["agreement"]) == {"8", "14"}
    assert set(rows["preact_resnet8"]["agreement"]) == {"8"}


# Figures


def test_selection_counts_all_rounds_before_and_not_the_targets_training(svp: ModuleType) -> None:
    steps = [step(8, 10.0), step(14, 20.0, error=50.0), {"labels": 20, "target": {"train_s": 100.0, "error": 40.0}}]
    assert svp.selection_s(steps, 14) == 11.5
    assert svp.selection_s(steps, 20) == 33.0
    assert svp.end_to_end_s(steps, 20) == 133.0
    assert svp.end_to_end_s(steps, 8) is None


def test_speed_ups_are_of_paired_seeds(svp: ModuleType) -> None:
    def seed(own: float, proxy: float, errors: tuple[float, float, float]) -> dict[str, list[dict[str, Any]]]:
        last = [{"labels": 14, "target": {"train_s": 100.0, "error": error}} for error in errors]
        return {
            "target": [step(8, own - 1.5), last[0]],
            "preact_resnet20": [step(8, proxy - 1.5), last[1]],
            "random": [{"labels": 8, "select": {"train_s": 0.0, "infer_s": 0.0, "rank_s": 0.0}}, last[2]],
        }

    found = [seed(40.0, 10.0, (50.0, 51.0, 55.0)), seed(60.0, 10.0, (52.0, 51.0, 53.0))]
    arm = svp.CPU.arms[1]
    row = svp.at_budget(arm, 14, found)
    assert row["selection_speedup"] == {"mean": 5.0, "least": 4.0, "most": 6.0}
    assert row["end_to_end_speedup"]["least"] == pytest.approx(140 / 110, abs=1e-3)
    assert row["target_error"] == {"mean": 51.0, "std": 0.0, "values": [51.0, 51.0]}
    assert row["error_to_target"]["mean"] == 0.0
    assert row["error_to_random"]["mean"] == -3.0


def test_agreement_is_of_the_unlabelled_items_alone(svp: ModuleType) -> None:
    one = np.array([np.nan, 0.1, 0.2, 0.3, 0.4])
    assert svp.agreement(one, one, 2) == pytest.approx(
        {"spearman": 1.0, "pearson": 1.0, "overlap": 1.0, "overlap_by_chance": 0.5}
    )
    other = np.array([np.nan, 0.4, 0.3, 0.2, 0.1])
    assert svp.agreement(one, other, 1) == pytest.approx(
        {"spearman": -1.0, "pearson": -1.0, "overlap": 0.0, "overlap_by_chance": 0.25}
    )
    # Of the ranks, not of the values: one large value moves the linear correlation alone.
    far = np.array([np.nan, 0.1, 0.2, 0.3, 40.0])
    assert svp.agreement(one, far, 2)["spearman"] == pytest.approx(1.0)
    assert svp.agreement(one, far, 2)["pearson"] < 0.8
