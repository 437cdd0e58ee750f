"""A comparison on a real Prefect server: cut short and gone on with, and its record in MLflow."""

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows import compare as comparing
from flows import start
from flows.record import tracking
from tasks.compare import figures, results
from tasks.compare.folder import Comparison, make_workspace
from tasks.rounds import Workspace
from tests.pools import snapshot
from tests.test_cli import frugal
from tests.test_loop import CONF, QUICK, Killed, finish

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]

#: What no clock has a hand in.
COUNTED = ("arm", "round", "n", "labels", "accuracy", "accuracy_ci95", "difference", "difference_ci95", "items_scored")


def begin(workspace: Workspace, comparison: Comparison) -> None:
    """Lay out a comparison, and let go of it again."""
    with comparing.begun(workspace, comparison):
        pass


def want(workspace: Workspace, *overrides: str, seeds: int = 2) -> Comparison:
    return comparing.wanted(workspace, (str(CONF),), (*QUICK, "loop.rounds=2", *overrides), seeds, None)


def run(workspace: Workspace, comparison: Comparison) -> None:
    from flows.loop import compare_arms

    begin(workspace, comparison)
    compare_arms(str(comparison.root))


def counts(comparison: Comparison) -> list[dict[str, str]]:
    """The table without what was measured in seconds."""
    with (comparison.root / "table.csv").open() as lines:
        return [{name: row[name] for name in COUNTED} for row in csv.DictReader(lines)]


@pytest.fixture(scope="module")
def _server(prefect_server: str) -> Iterator[None]:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: prefect_server}), pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        # Nobody looks at the curves here, and they take a second each time.
        patch.setattr(figures, "curves", lambda *_: b"a picture")
        yield


@pytest.fixture(scope="module")
def workspace(_server: None, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = tmp_path_factory.mktemp("comparing") / "w"
    (root / "conf").mkdir(parents=True)
    (root / "dvc.yaml").touch()
    return Workspace(root)


@pytest.fixture(scope="module")
def done(workspace: Workspace) -> Comparison:
    """Two arms, two seeds, recorded in MLflow; killed after the third loop and gone on with."""
    from flows import loop as flows

    comparison = want(workspace)
    real, begun = flows.run_loop, []

    def mortal(root: str) -> Any:
        begun.append(root)
        if len(begun) == 4:
            raise Killed
        return real(root)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flows, "run_loop", mortal)
        with pytest.raises(Killed):
            run(workspace, comparison)
    kept = snapshot(comparison.workspace("digits", 1).root)
    assert [row["n"] for row in counts(comparison)] == ["1"] * 4
    run(workspace, comparison)
    assert snapshot(comparison.workspace("digits", 1).root) == kept
    return comparison


def runs(comparison: Comparison) -> dict[str, Any]:
    """Every run of the comparison by its id."""
    client = tracking.connect(comparison.place)
    experiment = client.get_experiment_by_name("digits-vs-random")
    return {run.info.run_id: run for run in client.search_runs([experiment.experiment_id])}


def above(comparison: Comparison, kind: str) -> list[str]:
    """The names of the runs above those of a kind, in order."""
    found = runs(comparison)
    wanted = [run for run in found.values() if run.data.tags["frugal.kind"] == kind]
    return sorted(found[run.data.tags["mlflow.parentRunId"]].info.run_name for run in wanted)


def test_cut_short_and_gone_on_with_gives_the_table_of_one_left_alone(
    workspace: Workspace, done: Comparison, tmp_path: Path
) -> None:
    alone = Workspace(shutil.copytree(workspace.root, tmp_path / "w", ignore=shutil.ignore_patterns("comparisons")))
    undisturbed = want(alone, "record.mlflow=false")
    begin(alone, undisturbed)
    for arm, seed in undisturbed.loops:
        place, settings = make_workspace(undisturbed, arm, seed)
        start.start(place, settings)
        finish(place)
    results.write(undisturbed)
    assert counts(undisturbed) == counts(done)
    assert [row["n"] for row in counts(done)] == ["2"] * 4


def test_arms_stand_above_their_loops_and_these_above_their_rounds(done: Comparison) -> None:
    assert above(done, "loop") == ["digits", "digits", "random", "random"]
    assert len(above(done, "round")) == 8
    arms = {run.info.run_name: run for run in runs(done).values() if run.data.tags["frugal.kind"] == "arm"}
    assert arms.keys() == {"digits", "random"}
    assert arms["random"].data.params == {"arm": "random", "select.strategy": "random"}
    client = tracking.connect(done.place)
    points = client.get_metric_history(arms["digits"].info.run_id, "accuracy")
    expected = [(int(row["labels"]), float(row["accuracy"])) for row in counts(done) if row["arm"] == "digits"]
    assert sorted((point.step, point.value) for point in points) == expected
    names = {item.path for item in client.list_artifacts(arms["digits"].info.run_id)}
    assert names == {path.name for path in results.write(done).paths} | {"comparison.json"}
    assert {run.info.status for run in runs(done).values()} == {"FINISHED"}
    # Which of four models is the champion, nobody has said.
    assert client.search_registered_models() == []


def test_the_same_again_finds_nothing_to_do(workspace: Workspace, done: Comparison) -> None:
    before, recorded = snapshot(done.root), runs(done).keys()
    run(workspace, want(workspace))
    changed = {name for name, content in snapshot(done.root).items() if before.get(name) != content}
    assert changed <= {"data/.lock", "mlflow.db"}
    assert runs(done).keys() == recorded


def test_command_tells_the_arms_and_where_their_files_are(workspace: Workspace, done: Comparison) -> None:
    told = frugal("compare", "-w", workspace.root, CONF, "--seeds", 2, *QUICK, "loop.rounds=2")
    assert (told.exit_code, told.stderr) == (0, "")
    assert told.stdout.splitlines()[-6:] == [str(path) for path in results.write(done).paths]
    (random,) = [row for row in results.write(done).finals if row.arm == "random"]
    assert f"{random.accuracy:.4f}±{random.accuracy_ci95:.4f}" in told.stdout
    assert f"{random.difference:+.4f}±{random.difference_ci95:.4f}" in told.stdout


def test_other_seeds_replace_the_arms_and_move_their_loops(
    workspace: Workspace, done: Comparison, tmp_path: Path
) -> None:
    before = {id_ for id_, run in runs(done).items() if run.data.tags["frugal.kind"] == "arm"}
    fewer = want(workspace, seeds=1)
    assert comparing.settled(fewer) is None
    run(workspace, fewer)
    after = {id_: run for id_, run in runs(done).items() if run.data.tags["frugal.kind"] == "arm"}
    assert not before & after.keys()
    assert {run.data.metrics["n"] for run in after.values()} == {1.0}
    assert above(done, "loop") == ["digits", "digits", "random", "random"]
