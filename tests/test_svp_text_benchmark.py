"""What the benchmark of selection via proxy on texts makes of its rounds."""

import argparse
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

from tasks.config_train import FastTextConfig, TrainConfig, VdcnnConfig
from tasks.datasets.texts import Texts
from tasks.models.encoded import encode, encoding_of
from tasks.train.examples import Examples
from tests.pools import snapshot

ROOT = Path(__file__).parents[1]
ITEMS, LABELS = 40, (8, 14, 20)


@pytest.fixture(scope="module")
def svp() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield importlib.import_module("svp_text")


# Protocols


@pytest.mark.parametrize("name", ["CPU", "PAPER"])
def test_rounds_end_at_the_sources_shares_of_the_pool(svp: ModuleType, name: str) -> None:
    protocol = getattr(svp, name)
    assert [labels / protocol.pool for labels in protocol.sizes] == [0.02, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert protocol.proxies[0].name == svp.FASTTEXT


@pytest.mark.parametrize("protocol", ["cpu", "paper"])
def test_a_quick_run_asks_the_same_of_fewer_items_on_a_cpu(svp: ModuleType, protocol: str) -> None:
    options = argparse.Namespace(protocol=protocol, quick=True, device=None, seeds=None)
    small, whole = svp.chosen(options), svp.chosen(argparse.Namespace(**{**vars(options), "quick": False}))
    assert small.arms == whole.arms
    assert set(svp.models(small)) == set(svp.models(whole))
    assert small.device == "cpu"
    assert max(small.budgets) < small.pool < whole.pool


# Rounds


def made(svp: ModuleType, work: Path) -> Any:
    """Short texts in two classes, and trainings of an epoch."""
    texts = Texts.of([f"{'good' if number % 2 else 'bad'} film number {number}" for number in range(ITEMS)])
    arms = (svp.Arm(svp.TARGET, {}), svp.Arm(svp.FASTTEXT, {**svp.OF_FASTTEXT, "epochs": 1}), svp.Arm(svp.RANDOM, None))
    settings = {"vdcnn": VdcnnConfig(length=57), "fasttext": FastTextConfig(buckets=100), "epochs": 1}
    train = TrainConfig(model="vdcnn9", batch_size=16, optimizer="sgd", lr=0.01, **settings)
    initial, *budgets = LABELS
    smaller = {"initial": initial, "budgets": tuple(budgets), "pool": ITEMS, "held_out": 6, "seeds": 1}
    protocol = replace(svp.CPU, train=train, arms=arms, **smaller)
    inputs, shapes = {}, {}
    work.parent.mkdir(parents=True, exist_ok=True)
    for name, model in svp.models(protocol).items():
        encoding = encoding_of(model)
        assert encoding is not None
        items = encode(texts, encoding, work.parent)
        inputs[name], shapes[name] = {"pool": items, "test": items[np.arange(6)]}, encoding.shape(items)
    labels = {"pool": np.arange(ITEMS) % 2, "test": np.arange(6) % 2}
    outside = Examples(inputs["vdcnn9"]["test"], labels["test"])
    ids = pa.array([f"t{number:03d}" for number in range(ITEMS)])
    bench = svp.Bench(work, protocol)
    bench.__dict__["data"] = svp.Data(protocol, 2, ids, inputs, shapes, labels, outside)
    return bench


@pytest.fixture(scope="module")
def bench(svp: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A bench at which everything is done; for reading only."""
    bench = made(svp, tmp_path_factory.mktemp("svp") / "work")
    svp.run_all(bench, float("inf"))
    return bench


def test_all_arms_begin_with_the_same_labels_and_keep_to_the_budgets(bench: Any) -> None:
    (found,) = bench.finished()
    assert len({tuple(steps[0]["rows"][: LABELS[0]].tolist()) for steps in found.values()}) == 1
    for steps in found.values():
        assert [one["labels"] for one in steps] == list(LABELS)
        for one, following in zip(steps, (*LABELS[1:], LABELS[-1]), strict=True):
            assert len(set(one["rows"].tolist())) == following


def test_who_does_not_select_for_itself_is_trained_once(bench: Any) -> None:
    (found,) = bench.finished()
    trained = {name: [one["labels"] for one in steps if "target" in one] for name, steps in found.items()}
    assert trained == {"target": [8, 14, 20], "fasttext": [20], "random": [20]}
    parts = {name: set(steps[0]["select"]) for name, steps in found.items()}
    assert parts == {"target": {"train", "infer", "rank"}, "fasttext": {"train", "infer", "rank"}, "random": {"rank"}}
    assert all(set(steps[-1]["target"]) == {"train", "error", "phrases"} for steps in found.values())


def test_the_target_takes_what_it_is_least_sure_of(bench: Any) -> None:
    (found,) = bench.finished()
    first = found["target"][0]
    labelled, added = first["rows"][: LABELS[0]], first["rows"][LABELS[0] :]
    assert np.isnan(first["of_target"][labelled]).all()
    others = np.delete(first["of_target"], np.concatenate([labelled, added]))
    assert first["of_target"][added].min() >= others.max()


def test_what_was_cut_short_goes_on_to_the_same_end(svp: ModuleType, bench: Any, tmp_path: Path) -> None:
    def rows(made: Any) -> list[list[int]]:
        return [one["rows"].tolist() for steps in made.finished()[0].values() for one in steps]

    again = made(svp, tmp_path / "encoded" / "work")
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
    late = made(svp, tmp_path / "encoded" / "work")
    with pytest.raises(svp.loops.OutOfTime):
        svp.run_all(late, 0.0)
    assert not late.work.exists()


def test_every_figure_can_be_told(svp: ModuleType, bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    found = bench.finished()
    rows = svp.told(bench.protocol, found, "cpu_s")
    svp.print_table(rows)
    lines = capsys.readouterr().out.splitlines()
    # Each arm has a line for the held-out items and one for those outside of the pool.
    assert len(lines) == 2 + 2 * len(bench.protocol.arms)
    assert len({line.count("|") for line in lines}) == 1
    assert set(rows["fasttext"]["cpu_s"]["selection_speedup"]) == {"14", "20"}
    assert set(svp.agreements(bench.protocol, found)) == {"8", "14"}


# Figures


def seconds(cpu_s: float) -> dict[str, float]:
    return {"cpu_s": cpu_s, "wall_s": 2 * cpu_s}


def seed(own: float, proxy: float, errors: tuple[float, float, float]) -> dict[str, list[dict[str, Any]]]:
    """Two rounds of each arm, whose selection takes so long in both together and the last training 100 seconds."""
    last = [{"labels": 14, "target": {"train": seconds(100.0), "error": error}} for error in errors]
    return {
        "target": [{"labels": 8, "select": {"train": seconds(own - 1), "infer": seconds(1.0)}}, last[0]],
        "fasttext": [{"labels": 8, "select": {"train": seconds(proxy - 1), "infer": seconds(1.0)}}, last[1]],
        "random": [{"labels": 8, "select": {"rank": seconds(0.0)}}, last[2]],
    }


def test_speed_ups_are_of_paired_seeds(svp: ModuleType) -> None:
    found = [seed(40.0, 10.0, (50.0, 51.0, 55.0)), seed(60.0, 10.0, (52.0, 51.0, 53.0))]
    protocol = replace(svp.CPU, initial=8, budgets=(14,))
    for clock in ("cpu_s", "wall_s"):
        told = svp.speedups(protocol, "fasttext", found, clock)
        assert told["selection_speedup"] == {"14": {"mean": 5.0, "least": 4.0, "most": 6.0}}
        assert told["end_to_end_speedup"]["least"] == pytest.approx(140 / 110, abs=0.01)
    assert svp.selection_s(found[0]["fasttext"], "wall_s") == 20.0
    # Nothing had been selected before the first labels.
    assert svp.selection_s(found[0]["fasttext"], "cpu_s", labels=8) == 0.0


def test_errors_are_told_beside_the_targets_own_choice_and_chance(svp: ModuleType) -> None:
    found = [seed(40.0, 10.0, (50.0, 51.0, 55.0)), seed(60.0, 10.0, (52.0, 51.0, 53.0))]
    told = svp.errors("fasttext", found)["error"]
    assert told["percent"] == {"mean": 51.0, "std": 0.0, "values": [51.0, 51.0]}
    assert (told["to_target"]["mean"], told["to_random"]["mean"]) == (0.0, -3.0)
    assert told["loss"] == {"within_one_std": True, "significant": False}


@pytest.mark.parametrize(
    ("proxy", "within", "significant"),
    [((20.0, 22.0, 24.0), True, False), ((22.5, 24.5, 26.6), False, True), ((10.0, 12.0, 14.0), True, False)],
)
def test_a_loss_is_set_against_the_spread_of_the_targets_own_choice(
    svp: ModuleType, proxy: tuple[float, ...], within: bool, significant: bool
) -> None:
    told = svp.loss(proxy, (20.0, 22.0, 24.0))
    assert told == {"within_one_std": within, "significant": significant}


def test_a_single_seed_says_nothing_of_a_loss(svp: ModuleType) -> None:
    assert svp.loss((20.0,), (10.0,)) == {"within_one_std": None, "significant": None}
