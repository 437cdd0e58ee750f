"""Comparisons as far as no server is needed: which arms, which folder, which numbers."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from flows import compare as comparing
from flows import start
from tasks.compare import figures, folder, results, summary
from tasks.compare.arms import arms, unattended, variations
from tasks.compare.folder import Comparison, comparison_of, make_workspace
from tasks.compare.interval import half_width
from tasks.compare.points import Point, points
from tasks.compare.summary import Row
from tasks.compare.tables import to_csv
from tasks.config import Config, load, override
from tasks.errors import ConfigError, WorkspaceError
from tasks.history import history
from tasks.rounds import Workspace, find_workspace
from tests.pools import snapshot
from tests.test_loop import CONF, QUICK, finish

Numbers = st.lists(st.floats(0, 1, width=32), min_size=2, max_size=8)


def begin(workspace: Workspace, comparison: Comparison) -> None:
    """Lay out a comparison, and let go of it again."""
    with comparing.begun(workspace, comparison):
        pass


def conf(name: str, *overrides: str) -> tuple[str, Config]:
    return f"{name}.yaml", load(CONF, (f"name={name}", *overrides))


def point(arm: str, seed: int, round_: int, accuracy: float, **values: Any) -> Point:
    made = Point(
        arm=arm,
        seed=seed,
        round=round_,
        labels=10 * (round_ + 1),
        accuracy=accuracy,
        nll=1.0,
        ece=0.1,
        items_scored=100 * round_,
        record_epochs=30,
        device_seconds=1.5,
        cpu_seconds=2.0,
        money=0.5 * (round_ + 1),
        money_labels=0.5,
        money_compute=0.25,
    )
    return replace(made, **values)


# Which arms


def test_random_arm_is_the_first_configuration_at_random() -> None:
    found = arms([conf("entropy"), conf("margin", "infer.acquisition=margin")])
    assert list(found) == ["entropy", "margin", "random"]
    assert found["random"] == override(found["entropy"], ("name=random", "select.strategy=random"), "test")


def test_random_arm_that_is_there_stays_the_only_one() -> None:
    assert list(arms([conf("chance", "select.strategy=random"), conf("entropy")])) == ["chance", "entropy"]


def test_random_arm_gets_another_name_where_random_is_taken() -> None:
    assert list(arms([conf("random")])) == ["random", "random-random"]


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (conf("b"), r"b\.yaml: the same settings as a\.yaml"),
        (conf("b", "record.mlflow=false"), r"b\.yaml: the same settings as a\.yaml"),
        (conf("a", "train.lr=0.1"), r"a\.yaml: name: 'a' is that of a\.yaml"),
        (conf("b", "train.lr=0.1", "loop.rounds=3"), r"loop\.rounds: 5 in a\.yaml, 3 in b\.yaml; .* same budget"),
        (conf("b", "train.lr=0.1", "dataset.limit=99"), r"dataset\.limit: None in a\.yaml, 99 in b\.yaml"),
        (conf("b", "train.lr=0.1", "prices.label=1.0"), r"prices\.label: 0\.05 in a\.yaml, 1\.0 in b\.yaml"),
        (conf("b", "train.lr=0.1", "label.noise=0.1"), r"label\.noise"),
        (conf("b", "train.lr=0.1", "seed=1"), r"seed: 0 in a\.yaml, 1 in b\.yaml"),
        (conf("b", "train.lr=0.1", "device=cpu"), r"device: 'auto' in a\.yaml, 'cpu' in b\.yaml"),
        (conf("b", "proxy={target: {end: false, every: 2}}"), r"b\.yaml: proxy\.target\.end: false; .*=true"),
        (conf("b", "label.labeler=files"), r"b\.yaml: label\.labeler: .* label\.labeler=oracle"),
    ],
    ids=[
        "same",
        "same but recorded",
        "name",
        "rounds",
        "pool",
        "prices",
        "noise",
        "seed",
        "device",
        "target",
        "people",
    ],
)
def test_arms_that_make_no_comparison_are_refused(second: tuple[str, Config], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        arms([conf("a"), second])


def test_random_arm_alone_is_refused() -> None:
    with pytest.raises(ConfigError, match="is the random arm itself"):
        arms([conf("a", "select.strategy=random")])


def test_variations_are_the_keys_in_which_any_arm_differs() -> None:
    found = arms([conf("a"), conf("b", "train.lr=0.1")])
    lr = found["a"].train.lr
    assert variations(found) == {
        "a": {"select.strategy": "top_k", "train.lr": lr},
        "b": {"select.strategy": "top_k", "train.lr": 0.1},
        "random": {"select.strategy": "random", "train.lr": lr},
    }


def test_data_of_a_loop_elsewhere_are_found_from_the_workspace(tmp_path: Path) -> None:
    settings = unattended(conf("a", "dataset.root=images")[1], Workspace(tmp_path), mlflow=False)
    assert settings.dataset.root == str(tmp_path / "images")
    assert (settings.record.git, settings.record.dvc, settings.record.mlflow) == ("off", False, False)


# Which folder


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace in which no loop has begun, and from which one compares."""
    root = tmp_path / "w"
    (root / "conf").mkdir(parents=True)
    (root / "dvc.yaml").touch()
    return Workspace(root)


@pytest.fixture
def want(workspace: Workspace) -> Callable[..., Comparison]:
    """A quick comparison of digits.yaml with its random arm, wanted and not begun."""

    def make(*overrides: str, seeds: int = 2, out: Path | None = None) -> Comparison:
        settings = (*QUICK, "loop.rounds=1", "record.mlflow=false", *overrides)
        return comparing.wanted(workspace, (str(CONF),), settings, seeds, out)

    return make


def test_loops_run_pair_by_pair_from_the_first_seed(want: Callable[..., Comparison]) -> None:
    comparison = want("seed=7")
    assert comparison.name == "digits-vs-random"
    assert comparison.loops == [("digits", 7), ("random", 7), ("digits", 8), ("random", 8)]


def test_a_named_arm_is_not_taken_for_the_random_one() -> None:
    given = [conf("a"), conf("random", "infer.acquisition=margin"), conf("a-random", "train.epochs=3")]
    found = arms(given)
    assert list(found) == ["a", "random", "a-random", "a-random-2"]
    assert [name for name, arm in found.items() if arm.select.strategy == "random"] == ["a-random-2"]


@pytest.mark.parametrize("name", [".gitignore", "data/raw/mine.txt", "data/notes", ".env"])
def test_a_folder_with_files_of_somebody_else_is_refused(tmp_path: Path, name: str) -> None:
    theirs = tmp_path / "out" / name
    theirs.parent.mkdir(parents=True)
    theirs.write_text("mine")
    comparison = Comparison(tmp_path / "out", "out", arms([conf("a")]), 1)
    with pytest.raises(WorkspaceError, match="holds other files"):
        folder.check(comparison)
    assert theirs.read_text() == "mine"


def test_wanting_writes_nothing(want: Callable[..., Comparison], workspace: Workspace) -> None:
    before = snapshot(workspace.root)
    want()
    with pytest.raises(ConfigError, match="more than the pool's 120 items"):
        begin(workspace, want("loop.initial=5000"))
    with pytest.raises(ConfigError, match="less than 9223372036854775808"):
        want(f"seed={2**63 - 1}")
    assert snapshot(workspace.root) == before


def test_other_arms_are_refused_and_more_seeds_are_not(want: Callable[..., Comparison], workspace: Workspace) -> None:
    begin(workspace, want())
    begin(workspace, want(seeds=5))
    assert folder.load(want().root).count == 5
    with pytest.raises(ConfigError, match=r"digits: train\.lr: 0\.003 → 0\.1"):
        want("train.lr=0.1")
    with pytest.raises(ConfigError, match="arms: digits, random → other, random"):
        want("name=other", out=want().root)


def test_folder_with_other_files_is_refused(want: Callable[..., Comparison], tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(WorkspaceError, match="holds other files"):
        want(out=tmp_path)
    with pytest.raises(WorkspaceError, match="is a file"):
        want(out=tmp_path / "mine.txt")


def test_loops_share_the_pool_and_the_decoded_arrays(want: Callable[..., Comparison], workspace: Workspace) -> None:
    comparison = want()
    begin(workspace, comparison)
    first, settings = make_workspace(comparison, "digits", 0)
    start.start(first, settings)
    second, other = make_workspace(comparison, "random", 1)
    assert (other.select.strategy, other.seed) == ("random", 1)
    assert snapshot(second.pool) == snapshot(first.pool)
    assert {place.raw.resolve() for place in (first, second)} == {workspace.raw.resolve()}
    assert not second.raw.readlink().is_absolute()
    assert len(list(workspace.raw.glob("arrays/*.npy"))) == 2
    assert find_workspace(second.root).root == second.root
    assert comparison_of(second) == comparison.root == comparison_of(comparison.place)
    assert comparison_of(workspace) is None


def test_results_are_over_the_seeds_that_every_arm_has_finished(
    want: Callable[..., Comparison], workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparison = want(seeds=3)
    begin(workspace, comparison)
    for arm, seed in comparison.loops[:3]:
        place, settings = make_workspace(comparison, arm, seed)
        start.start(place, settings)
        finish(place)
    assert comparison.complete_seeds() == [0]
    found = results.write(comparison)
    assert [(row.arm, row.n, row.labels) for row in found.finals] == [("digits", 1, 10), ("random", 1, 10)]
    before = {path: path.read_bytes() for path in found.paths}
    assert all(content.startswith(b"\x89PNG") for path, content in before.items() if path.suffix == ".png")
    # Again the same: nothing is drawn.
    monkeypatch.delattr(figures, "curves")
    assert results.write(comparison) == found
    assert {path: path.read_bytes() for path in found.paths} == before


def test_an_arm_with_a_proxy_is_judged_by_its_target_where_that_was_trained(
    want: Callable[..., Comparison], workspace: Workspace
) -> None:
    proxy = "proxy={train: {model: linear, lr: 0.5, epochs: 1}, agreement: 0, target: {every: 2}}"
    comparison = want("loop.rounds=3", proxy, seeds=1)
    begin(workspace, comparison)
    for arm, seed in comparison.loops:
        place, settings = make_workspace(comparison, arm, seed)
        start.start(place, settings)
        finish(place)
    found = points(comparison)
    assert [(one.arm, one.round, one.labels) for one in found] == [
        (arm, number, 10 * number + 10) for arm in ("digits", "random") for number in (1, 2)
    ]
    outcomes = history(comparison.workspace("digits", 0))
    for one, outcome in zip(found[:2], outcomes[1:], strict=True):
        assert outcome.target is not None
        judged = (outcome.target.accuracy, outcome.target.nll, outcome.target.ece)
        assert (one.accuracy, one.nll, one.ece) == judged != (outcome.accuracy, outcome.nll, outcome.ece)
        assert one.money == outcome.money
    assert summary.finals(found)[0].accuracy == outcomes[-1].target_accuracy


# Which numbers


@given(Numbers)
def test_interval_is_that_of_students_t(values: list[float]) -> None:
    mean, error = sum(values) / len(values), float(stats.sem(values))
    low, high = (mean, mean) if error == 0 else stats.t.interval(0.95, len(values) - 1, mean, error)
    assert half_width(values) == pytest.approx((high - low) / 2, rel=1e-9, abs=1e-12)


def test_single_value_has_no_interval() -> None:
    assert half_width([0.5]) is None


@given(Numbers, st.floats(-0.5, 0.5, width=32))
def test_paired_difference_does_not_see_what_a_seed_does_to_both_arms(values: list[float], gain: float) -> None:
    points = [point("a", seed, 0, value) for seed, value in enumerate(values)]
    points += [point("b", seed, 0, value + gain) for seed, value in enumerate(values)]
    first, second = summary.finals(points)
    assert (first.difference, first.difference_ci95) == (None, None)
    assert second.difference == pytest.approx(gain, abs=1e-6)
    assert second.difference_ci95 == pytest.approx(0, abs=1e-6)


def test_rows_are_means_over_the_seeds_that_came_so_far() -> None:
    points = [point("a", 0, 0, 0.5), point("a", 0, 1, 0.7), point("a", 1, 0, 0.6, money=1.5)]
    points += [point("b", 1, 0, 0.9)]
    rows = summary.per_round(points)
    assert [(row.arm, row.round, row.n, row.accuracy, row.money) for row in rows] == [
        ("a", 0, 2, 0.55, 1.0),
        ("a", 1, 1, 0.7, 1.0),
        ("b", 0, 1, 0.9, 0.5),
    ]
    assert (rows[2].difference, rows[2].pairs) == (0.3, 1)
    assert rows[0].pairs is None
    # The loop of seed 1 ended earlier; its last accuracy is the one that counts.
    assert summary.finals(points)[0].accuracy == 0.65


def test_pairs_are_the_seeds_that_both_arms_have_at_a_round() -> None:
    points = [point(arm, seed, 0, 0.5) for arm in ("a", "b") for seed in range(3)]
    # Of the first arm one loop ended before round 1, and of the second another.
    points += [point("a", seed, 1, 0.5) for seed in (0, 1)] + [point("b", seed, 1, 0.6) for seed in (1, 2)]
    rows = summary.per_round(points)
    assert [(row.arm, row.round, row.n, row.pairs) for row in rows] == [
        ("a", 0, 3, None),
        ("a", 1, 2, None),
        ("b", 0, 3, 3),
        ("b", 1, 2, 1),
    ]
    assert rows[3].difference_ci95 is None


ROW = Row("a", 1, 2, 20.0, 0.75, 0.0123456789, None, None, None, 133.5, 3.0, 4.0, 1.0, 0.000001)


def test_csv_has_a_line_for_each_row_and_nothing_for_null() -> None:
    header = (
        "arm,round,n,labels,accuracy,accuracy_ci95,difference,difference_ci95,pairs,"
        "items_scored,device_seconds,cpu_seconds,money,money_compute\n"
    )
    assert to_csv(Row, [ROW]).decode() == f"{header}a,1,2,20,0.75,0.012346,,,,133.5,3,4,1,0.000001\n"


@pytest.mark.parametrize(("value", "text"), [(-1e-9, "0"), (-0.0, "0"), (-1e-6, "-0.000001"), (-120.0, "-120")])
def test_what_rounds_to_zero_has_no_sign(value: float, text: str) -> None:
    line = to_csv(Row, [replace(ROW, difference=value)]).decode().splitlines()[1]
    assert line.split(",")[6] == text


def test_metrics_hold_the_ends_of_the_interval_if_there_is_one() -> None:
    values = ROW.metrics()
    assert (values["accuracy_low"], values["accuracy_high"]) == (0.75 - 0.0123456789, 0.75 + 0.0123456789)
    assert values["device_hours"] == 3 / 3600
    alone = replace(ROW, accuracy_ci95=None).metrics()
    assert not alone.keys() & {"accuracy_low", "accuracy_ci95", "difference", "arm", "round"}


def test_equal_rows_are_drawn_to_equal_bytes() -> None:
    picture = figures.curves([ROW, replace(ROW, arm="b", accuracy_ci95=None)], "money", "title", "USD")
    assert picture.startswith(b"\x89PNG")
    assert picture == figures.curves([ROW, replace(ROW, arm="b", accuracy_ci95=None)], "money", "title", "USD")
    assert picture != figures.curves([ROW], "money", "title", "USD")
