"""What the benchmarks of CEAL's protocol make of their loops."""

import importlib
import subprocess
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import files, loop, stages
from tasks.compare.interval import half_width
from tasks.config import load
from tasks.datasets.run import run as build_pool
from tasks.loop import Step
from tasks.rounds import Workspace, begin, load_config
from tests.pools import column, make_workspace, snapshot, write_scores
from tests.test_loop import QUICK, Killed

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def benchmarks() -> Any:
    """Where the modules of benchmarks/ can be imported, and what they set for their own processes is undone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield


@pytest.fixture(scope="module")
def ceal(benchmarks: None) -> ModuleType:
    return importlib.import_module("ceal")


@pytest.fixture(scope="module")
def harness(benchmarks: None) -> ModuleType:
    return importlib.import_module("harness")


# Which arms


@pytest.mark.parametrize("conf", ["mnist-frugal", "cifar10-frugal"])
@pytest.mark.parametrize("size", [300, 10_000])
def test_the_published_sampler_takes_nothing_from_ours(ceal: ModuleType, conf: str, size: int) -> None:
    config = load(ROOT / "conf" / f"{conf}.yaml", ceal.published(size))
    assert config.infer.scope == ("candidates",)
    assert config.infer.candidates.model_dump() == {
        "size": size,
        "ratio": None,
        "scale": "raw",
        "temperature": 1.0,
        "power": 1.2,
        "explore": 0.0,
        "stale_bonus": 0.0,
    }


# Recall


@given(data=st.data())
def test_recall_is_the_best_that_any_choice_among_equals_gives(ceal: ModuleType, data: st.DataObject) -> None:
    scores = np.array(data.draw(st.lists(st.integers(0, 3).map(float), min_size=1, max_size=7)))
    query = data.draw(st.integers(1, len(scores)))
    drawn = np.array(sorted(data.draw(st.sets(st.integers(0, len(scores) - 1)))), dtype=np.int64)
    highest = sum(sorted(scores)[-query:])
    tops = [set(top) for top in combinations(range(len(scores)), query) if scores[list(top)].sum() == highest]
    assert ceal.recall(scores, drawn, query) == max(len(top & set(drawn.tolist())) for top in tops) / query


@pytest.mark.parametrize(("drawn", "found"), [([0, 1], 1.0), ([1, 2], 1.0), ([1, 3], 0.5), ([1], 0.5), ([3], 0.0)])
def test_of_equal_scores_any_will_do(ceal: ModuleType, drawn: list[int], found: float) -> None:
    assert ceal.recall(np.array([0.9, 0.9, 0.9, 0.1]), np.array(drawn), 2) == found


def values(workspace: Workspace, round_: int, first: int, scores: Sequence[float]) -> None:
    """The cache of a round, of items x/first, x/first+1, …; those without a score have been bought."""
    named = {f"x/{number:04d}": score for number, score in enumerate(scores, first) if not np.isnan(score)}
    write_scores(workspace.round_dir(round_) / "scores.parquet", named)


def test_a_replayed_sampler_learns_the_values_of_its_own_candidates_alone(ceal: ModuleType, tmp_path: Path) -> None:
    # So cold that the three highest known values are drawn.
    candidates = {"size": 3, "temperature": 1e-300, "explore": 0.0}
    workspace = make_workspace(
        tmp_path / "w",
        items=8,
        loop={"initial": 2, "query_size": 2, "rounds": 4},
        infer={"scope": ["candidates"], "candidates": candidates},
    )
    bought = np.nan
    values(workspace, 0, 1, [0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.25])
    # Items 1, 2 and 3 are drawn; 2 and 4 are the true top.
    values(workspace, 1, 1, [0.1, 0.9, 0.2, 0.8, 0.0, 0.0, 0.05])
    # Items 5, 6 and 7 are drawn: 1 and 3 are now known to be low, and of 5, 6 and 7 nothing new is known.
    values(workspace, 2, 1, [0.3, bought, 0.2, bought, 0.1, 0.9, 0.8])
    config = load_config(workspace)
    assert ceal.replay(workspace, workspace, config) == [0.5, 1.0]
    # With another first pass the same loop is replayed from other values.
    other = Workspace(tmp_path / "other")
    values(other, 0, 1, [0.1, 0.8, 0.2, 0.9, 0.7, 0.6, 0.5])
    assert ceal.replay(workspace, other, config) == [1.0, 1.0]


# Round 000


@pytest.fixture
def run(ceal: ModuleType, tmp_path: Path) -> Any:
    """Three arms on a few digits, of which the first has finished round 000."""
    arms = (
        ceal.Arm("full", ceal.FULL),
        ceal.Arm("random", ceal.RANDOM),
        ceal.Arm("ours 5", ("infer.scope=[candidates]", *ceal.ours(5))),
        ceal.Arm("lean", ceal.FULL, start="lean"),
    )
    conf, settings = ROOT / "conf" / "digits.yaml", (*QUICK, "device=cpu")
    protocol = ceal.Protocol("test", conf, settings, arms, 5, {}, {}, "", ())
    made = ceal.Run(protocol, tmp_path, (), 1, np.inf)
    leader = opened(made, "full")
    while (step := loop.next_step(leader)) is not None and not step.round:
        loop.run(leader, step)
    return made


def opened(run: Any, name: str) -> Workspace:
    """The workspace of an arm, in which the loop has begun and no round is open."""
    arm = run.protocol.arm(name)
    workspace, config = run.place(arm, 0), run.configuration(arm, 0)
    begin(workspace, config)
    build_pool(workspace, config)
    return workspace


def shared(ceal: ModuleType, run: Any, name: str) -> Workspace:
    """The same, with what it takes over of round 000."""
    workspace = opened(run, name)
    ceal.share_start(run, run.protocol.arm(name), 0, workspace)
    return workspace


def test_an_arm_that_scores_takes_round_000_over_whole(ceal: ModuleType, run: Any) -> None:
    workspace, leader = shared(ceal, run, "ours 5"), run.place(run.protocol.arm("full"), 0)
    assert loop.next_step(workspace) == Step("plan", 1)
    copied, original = (snapshot(place.round_dir(0)) for place in (workspace, leader))
    assert copied.keys() == original.keys()
    assert {name for name in copied if copied[name] != original[name]} == {"cost.json"}
    bills = [ceal.bill(run, run.protocol.arm(name), 0) for name in ("full", "ours 5")]
    assert bills[0] == bills[1]
    assert bills[0].items_scored == [110]


def test_the_random_arm_takes_no_scores_and_pays_for_none(ceal: ModuleType, run: Any) -> None:
    workspace = shared(ceal, run, "random")
    assert loop.next_step(workspace) == Step("infer", 0)
    loop.run(workspace, Step("infer", 0))
    assert loop.next_step(workspace) == Step("plan", 1)
    assert column(workspace.round_dir(0) / "scores.parquet", "id") == []
    assert ceal.bill(run, run.protocol.arm("random"), 0).items_scored == [0]


@pytest.mark.parametrize("name", ["full", "lean"])
def test_an_arm_that_leads_or_starts_otherwise_takes_nothing_over(ceal: ModuleType, run: Any, name: str) -> None:
    arm = run.protocol.arm(name)
    workspace = run.place(arm, 0) if name == "full" else opened(run, name)
    before = snapshot(workspace.root)
    ceal.share_start(run, arm, 0, workspace)
    assert snapshot(workspace.root) == before


@pytest.mark.parametrize("name", ["random", "ours 5"])
@pytest.mark.parametrize(("module", "function"), [(files, "write_json"), (stages, "input_digests")])
def test_a_copy_that_was_cut_short_is_made_anew(
    ceal: ModuleType, run: Any, monkeypatch: pytest.MonkeyPatch, name: str, module: ModuleType, function: str
) -> None:
    def killed(*_: Any) -> None:
        raise Killed

    workspace, arm = opened(run, name), run.protocol.arm(name)
    with monkeypatch.context() as patch:
        patch.setattr(module, function, killed)
        with pytest.raises(Killed):
            ceal.share_start(run, arm, 0, workspace)
    assert not (workspace.round_dir(0) / "cost.json").exists()
    ceal.share_start(run, arm, 0, workspace)
    after = snapshot(workspace.round_dir(0))
    assert ("infer" in files.read_json(workspace.round_dir(0) / "cost.json")["stages"]) == (name == "ours 5")
    ceal.share_start(run, arm, 0, workspace)
    assert snapshot(workspace.round_dir(0)) == after


def test_what_was_discarded_stays_on_the_bill(ceal: ModuleType, run: Any) -> None:
    arm = run.protocol.arm("full")
    before, path = ceal.bill(run, arm, 0), run.place(arm, 0).round_dir(0) / "cost.json"
    book = files.read_json(path)
    entry = book["stages"]["train"]
    entry["discarded"] = [entry["used"] | {"cpu_s": 7.0}, entry["used"] | {"cpu_s": 5.0}]
    files.write_json(path, book)
    after = ceal.bill(run, arm, 0)
    assert after.seconds["train"] == pytest.approx(before.seconds["train"] + 12)
    assert after.seconds_so_far == pytest.approx([before.seconds_so_far[0] + 12])


# Figures


def bill(ceal: ModuleType, accuracy: float, train_s: float) -> Any:
    return ceal.Bill([9], [accuracy], [60], {"select": 1.0, "train": train_s, "infer": 4.0}, [9.0], [4.0])


def told(ceal: ModuleType, accuracies: dict[str, list[float]], recalls: dict[str, Any]) -> dict[str, Any]:
    """The figures of arms with these final accuracies, one a seed; TRAIN takes 10 s and one more for each arm."""
    arms = tuple(ceal.Arm(name, (), len(of_seeds), check=name == "check") for name, of_seeds in accuracies.items())
    protocol = ceal.Protocol("test", Path(), (), arms, 50, {}, {}, "", ())
    bills = {
        name: [bill(ceal, accuracy, 10.0 + number) for accuracy in of_seeds]
        for number, (name, of_seeds) in enumerate(accuracies.items())
    }
    tables = {name: ceal.summary(of_seeds, protocol.clock) for name, of_seeds in bills.items()}
    figures: dict[str, Any] = ceal.figures(protocol, tables, recalls, {})
    return figures


def test_the_paired_difference_stands_beside_the_unpaired_comparison(ceal: ModuleType) -> None:
    found = told(ceal, {"full": [0.90, 0.94, 0.98], "ours 50": [0.89, 0.93, 0.96]}, {})
    gaps = [-0.01, -0.01, -0.02]
    assert found["within_full_ci"] is True
    assert found["accuracy_difference"] == pytest.approx(-0.04 / 3, abs=1e-6)
    assert found["accuracy_difference_ci95"] == pytest.approx(half_width(gaps), abs=1e-6)
    assert found["accuracy_difference_low"] == pytest.approx(-0.04 / 3 - half_width(gaps), abs=2e-6)


def test_a_single_seed_has_no_interval_and_no_lower_bound(ceal: ModuleType) -> None:
    found = told(ceal, {"full": [0.9], "ours 50": [0.9]}, {})
    names = ("within_full_ci", "accuracy_difference_ci95", "accuracy_difference_low", "recall_gain_at_50")
    assert [found[name] for name in names] == [None] * 4


def test_the_gain_in_recall_is_the_mean_of_the_ratios_of_the_seeds(ceal: ModuleType) -> None:
    recalls = {
        "ours 50": {"recall": 0.6, "values": [0.8, 0.4]},
        "published 50": {"recall": 0.3, "values": [0.2, 0.4]},
    }
    found = told(ceal, {"full": [0.9, 0.9], "ours 50": [0.9, 0.9]}, recalls)
    assert found["recall_gain_at_50_values"] == [4.0, 1.0]
    assert found["recall_gain_at_50"] == 2.5
    assert found["recall_gain_at_50_ci95"] == pytest.approx(half_width([4.0, 1.0]), abs=0.005)


def test_the_spread_of_train_is_over_the_arms_that_have_the_seed(ceal: ModuleType) -> None:
    arms = {"full": [0.9, 0.9], "ours 50": [0.9, 0.9], "published 50": [0.9], "check": [0.9]}
    assert told(ceal, arms, {})["train_cpu_s_spread"] == [(10.0, 12.0), (10.0, 11.0)]


# The commit


def test_the_result_says_at_which_commit_it_was_made_and_whether_files_differ(
    harness: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert harness.revision(tmp_path) is None
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    for command in (("init", "-q"), (*identity, "commit", "-q", "--allow-empty", "-m", "t")):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    clean = harness.revision(tmp_path)
    assert len(clean["commit"]) == 40
    assert clean["dirty"] is False
    files.write_json(tmp_path / "benchmarks" / "results" / "it.json", {})
    assert harness.revision(tmp_path) == clean
    files.write_json(tmp_path / "benchmarks" / "it.json", {})
    assert harness.revision(tmp_path) == clean | {"dirty": True}
