"""Wherever a user meets a regression it is by R² and its errors: in status, records, comparisons and replays."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from flows import artifacts, console
from flows.record import Summary, catch_up, subject
from tasks import curve_file, files
from tasks.compare import figures, results
from tasks.compare.arms import arms
from tasks.compare.folder import Comparison
from tasks.config import Config, override, parse
from tasks.errors import ConfigError, DataError
from tasks.history import history
from tasks.replay import recording, rows, table
from tasks.replay.run import Replay, replay, write
from tasks.rounds import Workspace, load_config
from tasks.status import status
from tasks.task_type.headline import ACCURACY, R2
from tests.number_helpers import metrics, write_loop
from tests.pools import PRICES
from tests.report_helpers import stages, write_ledger
from tests.report_helpers import write_loop as write_classes
from tests.test_replay import check_refused, frugal, written

VALUES = [-0.6, 0.3, 0.5, 0.6, 0.65, 0.66]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return write_loop(tmp_path / "w", VALUES, loop={"initial": 6, "query_size": 6, "rounds": 6})


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every loop counts as finished, though its stages have never run."""
    monkeypatch.setattr("tasks.loop.next_step", lambda workspace: None)


def printed(shown: Any) -> str:
    out = Console(file=io.StringIO(), width=120)
    out.print(shown)
    text: str = out.file.getvalue()  # type: ignore[attr-defined]
    return text


def header(path: Path) -> list[str]:
    return path.read_text().splitlines()[0].split(",")


def of_numbers(**settings: Any) -> Config:
    loop = {"initial": 6, "query_size": 6, "rounds": 6}
    return parse({"name": "test", "task": "regression", "loop": loop, "prices": PRICES} | settings, "test")


def test_history_tells_r2_and_errors(workspace: Workspace) -> None:
    last = history(workspace)[-1]
    assert (last.accuracy, last.rmse, last.ece) == (0.66, pytest.approx(10 * 0.34**0.5), None)
    assert (last.nll, last.validation_accuracy) == (-0.25, None)


def test_history_tells_the_target_that_a_proxy_selects_for(workspace: Workspace) -> None:
    agreement = {"spearman": 0.5, "pearson": 0.4, "overlap": 0.3, "ceiling": None}
    folder = workspace.round_dir(5)
    files.write_json(folder / "target" / "metrics.json", metrics(0.9, 36) | {"agreement": agreement})
    write_ledger(workspace, 5, stages(scored=False) | {"target": stages()["train"]})
    last = history(workspace)[-1]
    assert last.target is not None
    assert (last.target_accuracy, last.target.ece, last.target.rmse) == (0.9, None, pytest.approx(10 * 0.1**0.5))
    assert last.target.proxy.spearman == 0.5


@pytest.mark.usefixtures("ended")
def test_status_and_its_table_say_r2_and_rmse(workspace: Workspace) -> None:
    told = status(workspace)
    assert (told["r2"], told["target_r2"], told["rounds"][0]["r2"]) == (0.66, None, -0.6)
    assert "accuracy" not in json.dumps(told)
    shown = printed(console.rounds_table(told))
    assert [name in shown for name in ("r2", "rmse", "accuracy")] == [True, True, False]
    assert "-0.6000" in shown
    assert "12.65" in shown


@pytest.mark.usefixtures("ended")
def test_table_has_proxy_and_target_where_there_are_both(workspace: Workspace) -> None:
    told = status(workspace)
    told["rounds"][-1]["target_r2"] = 0.75
    shown = printed(console.rounds_table(told))
    assert [name in shown for name in ("proxy", "target", "rmse", "0.7500")] == [True] * 4


@pytest.mark.usefixtures("ended")
def test_status_of_classes_has_no_errors_of_numbers(tmp_path: Path) -> None:
    told = status(write_classes(tmp_path / "w", [0.5, 0.75]))
    assert told["accuracy"] == 0.75
    assert {"rmse", "mae", "r2"}.isdisjoint(told["rounds"][0])
    assert list(told["rounds"][0])[:5] == ["round", "labels", "accuracy", "nll", "ece"]


def test_curve_file_has_the_columns_of_the_task(workspace: Workspace, tmp_path: Path) -> None:
    curve_file.sync(workspace)
    names = header(workspace.root / "data" / "curve.csv")
    assert {"r2", "validation_r2", "rmse", "mae", "nll", "target_r2"} <= set(names)
    assert not [name for name in names if "accuracy" in name or name in ("ece", "kappa")]
    classes = write_classes(tmp_path / "c", [0.5])
    curve_file.sync(classes)
    assert {"accuracy", "ece", "kappa"} <= set(header(classes.root / "data" / "curve.csv"))
    assert {"rmse", "mae"}.isdisjoint(header(classes.root / "data" / "curve.csv"))


def test_commit_message_names_r2(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    summaries: list[Summary] = []

    def kept(round_: int, summary: Summary) -> str:
        summaries.append(summary)
        return subject(round_, summary)

    monkeypatch.setattr(catch_up, "subject", kept)
    files.write_json(workspace.round_dir(1) / "history.json", [])
    line = catch_up.one_line(workspace, load_config(workspace), 1)
    assert line == "round 001: 12 labels, r2 0.3000, 0.69 USD"
    logged = summaries[0].metrics
    assert (logged["r2"], logged["nll"]) == (0.3, -0.25)
    assert {"rmse", "mae"} <= set(logged)
    assert not [name for name in logged if "accuracy" in name or "ece" in name]


def test_table_of_prefect_names_r2(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    tables: list[Any] = []
    monkeypatch.setattr("tasks.loop.next_step", lambda workspace: None)
    monkeypatch.setattr(artifacts, "create_table_artifact", lambda table, **_: tables.append(table))
    monkeypatch.setattr(artifacts, "create_markdown_artifact", lambda **_: None)
    artifacts.publish(workspace, 1)
    assert list(tables[0][1]) == ["round", "labels", "r2", "rmse", "items_scored", "money", "device_hours"]


# Comparisons


@pytest.fixture
def comparison(tmp_path: Path, ended: None) -> Comparison:
    first = of_numbers(name="a", record={"mlflow": False, "git": "off", "dvc": False})
    made = Comparison(tmp_path / "c", "a-vs-random", arms([("a.yaml", first)]), 2)
    for number, (arm, seed) in enumerate(made.loops):
        write_loop(made.workspace(arm, seed).root, [value - 0.01 * number for value in VALUES])
    return made


def test_comparison_is_by_r2(comparison: Comparison) -> None:
    found = results.write(comparison)
    assert {path.name for path in found.pictures} == {f"r2-{over.replace('_', '-')}.png" for over in figures.AXES}
    assert header(found.table)[4:6] == ["r2", "r2_ci95"]
    assert {"r2", "rmse", "mae"} <= set(header(found.runs))
    assert "ece" not in header(found.runs)
    with found.table.open(newline="") as stream:
        last = [row for row in csv.DictReader(stream) if row["arm"] == "random"][-1]
    assert float(last["difference"]) == pytest.approx(-0.01)
    shown = printed(console.comparison_table("c", found.finals, "USD", comparison.headline))
    assert [name in shown for name in ("r2", "accuracy")] == [True, False]
    assert {"r2", "r2_low", "r2_high"} <= set(comparison.headline.shown(found.finals[0].metrics()))


def test_arms_of_different_tasks_are_refused() -> None:
    numbers = of_numbers(name="a")
    loop = numbers.loop.model_dump(mode="json")
    classes = parse({"name": "b", "loop": loop, "prices": PRICES}, "b")
    with pytest.raises(ConfigError, match=r"task: 'regression' in a\.yaml, 'classification' in b\.yaml"):
        arms([("a.yaml", numbers), ("b.yaml", classes)])


# Replays


def replayed(workspace: Workspace, **settings: Any) -> Replay:
    return replay([recording.of_workspace(workspace)], value_per_point=0.01, **settings)


def test_replay_is_by_r2(workspace: Workspace, tmp_path: Path) -> None:
    found = replayed(workspace, policies=of_numbers(policy={"metric": "r2", "stop": {"target": {"r2": 0.55}}}))
    told = found.plain()
    assert not [name for row in told["rows"] + told["sizes"] for name in row if "accuracy" in name]
    stopped = {row["rule"]: row for row in told["rows"]}
    assert (stopped["target"]["round"], stopped["target"]["r2"]) == (3, 0.6)
    assert stopped["plateau"]["round"] is not None
    assert "cannot be replayed" in stopped["stable_predictions"]["reason"]
    assert [note for note in told["notes"] if "hundredth of R²" in note]
    assert not [note for note in told["notes"] if "accuracy" in note]
    paths = {path.name: path for path in write(found, tmp_path / "out")}
    assert "r2" in header(paths["stops.csv"])
    assert "accuracy" not in header(paths["stops.csv"])
    assert paths["replay.png"].read_bytes().startswith(b"\x89PNG")
    shown = printed(console.stops_table(found))
    assert [name in shown for name in ("r2", "racy")] == [True, False]


def test_plateau_is_replayed_by_the_items_held_back(workspace: Workspace) -> None:
    made = recording.of_workspace(workspace)
    outcomes = [replace(one, validation_accuracy=one.accuracy, validation_items=500) for one in made.history]
    policy = load_config(workspace).policy
    told = replace(made, history=tuple(outcomes), known=made.known | {"validation_accuracy"})
    assert policy.metric == "validation_r2"
    found = {row.rule: row for row in replay([told], value_per_point=1.0).rows}
    assert "cannot be replayed" not in found["plateau"].reason
    unknown = [replace(one, validation_items=0) for one in outcomes]
    found = {row.rule: row for row in replay([replace(told, history=tuple(unknown))], value_per_point=1.0).rows}
    assert "cannot be replayed" in found["plateau"].reason


def test_curve_of_a_workspace_is_read_back(workspace: Workspace) -> None:
    curve_file.sync(workspace)
    base = parse({"name": "digits", "prices": PRICES}, "test")
    (made,) = table.read(workspace.root / "data" / "curve.csv", base)
    assert [one.accuracy for one in made.history] == VALUES
    assert (made.config.task, made.config.policy.metric, made.history[0].nll) == ("regression", "r2", -0.25)
    assert made.history[0].rmse == pytest.approx(10 * 1.6**0.5)


@pytest.mark.parametrize(
    ("names", "line", "message"),
    [
        ("labels,r2", "6,1.5", r"row 2, column r2: 1.5 is not 1 or less"),
        ("labels,r2,validation_r2", "6,0.5,inf", r"row 2, column validation_r2: inf is no finite number"),
        ("labels,r2,rmse", "6,0.5,-1", r"row 2, column rmse: -1 is not 0 or more"),
        ("labels,r2", "6,", r"row 2, column r2: no value"),
    ],
)
def test_impossible_values_are_refused_by_their_column(tmp_path: Path, names: str, line: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        table.read(written(tmp_path, names, line), parse({"name": "t", "prices": PRICES}, "t"))


def test_metrics_of_mlflow_are_read_by_their_names() -> None:
    row = rows.of_metrics({"labels": 12.0, "attempt_labels": 6.0, "r2": 0.5, "validation_r2": 0.4, "rmse": 2.0})
    assert row.of is R2
    assert row.values == {"labels": 6.0, "bought": 12.0, "accuracy": 0.5, "validation_accuracy": 0.4, "rmse": 2.0}
    assert rows.of_metrics({"labels": 12.0, "accuracy": 0.5}).of is ACCURACY


def test_curves_of_different_tasks_are_refused(workspace: Workspace, tmp_path: Path) -> None:
    other = written(tmp_path, "labels,accuracy", "6,0.5", "12,0.6")
    curve_file.sync(workspace)
    result = frugal("replay", workspace.root / "data" / "curve.csv", other, "-w", tmp_path)
    check_refused(result, "task:", "of a regression", "of a classification")


def test_a_random_arm_of_a_regression_is_one() -> None:
    assert override(of_numbers(), ("select.strategy=random",), "test").policy.metric == "validation_r2"
