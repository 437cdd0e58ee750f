"""What a user does with a finished loop: look at its history, run a stage again, take it elsewhere, go back."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flows.init import init
from tasks.rounds import Workspace, rounds
from tests.pools import snapshot
from tests.test_loop import QUICK

pytestmark = [pytest.mark.server, pytest.mark.timeout(400)]

BIN = Path(sys.executable).parent
#: From round 001 on, INFER scores a sample drawn by the cached values.
CANDIDATES = ["infer.scope=[candidates]", "infer.candidates.size=40"]
#: It selects for a target that is trained in the end.
PROXY = "proxy={train: {model: linear, lr: 0.05}, agreement: 20}"


def sh(root: Path, *command: str, **environment: str) -> str:
    """Run a command in a workspace as a user of this environment would; its output."""
    settings = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **environment}
    done = subprocess.run(command, cwd=root, env=settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Path:
    root = tmp_path_factory.mktemp("finished") / "w"
    init(root)
    sh(root, "frugal", "run", "conf/digits.yaml", *QUICK, *CANDIDATES, PROXY, PREFECT_API_URL=prefect_server)
    return root


@pytest.fixture
def workspace(finished: Path, tmp_path: Path) -> Path:
    """A copy of a finished loop of three rounds."""
    return shutil.copytree(finished, tmp_path / "w", symlinks=True)


def test_history_of_git_tells_the_story_of_the_loop(finished: Path) -> None:
    assert sh(finished, "git", "status", "--porcelain") == ""
    story = sh(finished, "git", "log", "--reverse", "--format=%s").splitlines()
    assert [line.split(":")[0] for line in story] == ["frugal init", "round 000", "round 001", "round 002"]
    assert story[3].startswith("round 002: 30 labels, accuracy 0.")


def test_dvc_has_nothing_to_do_after_a_run(workspace: Path) -> None:
    assert "up to date" in sh(workspace, "dvc", "repro")
    assert sh(workspace, "git", "status", "--porcelain") == ""


def test_only_candidates_were_scored_after_the_first_pass(finished: Path) -> None:
    told = json.loads(sh(finished, "frugal", "status", "--json"))
    first, second, last = (outcome["items_scored"] for outcome in told["rounds"])
    assert (second - first, last - second) == (40, 0)


def test_stages_really_run_again_to_the_same_bytes(workspace: Path) -> None:
    before = snapshot(workspace / "data" / "rounds")
    for stage in ("train@001", "infer@001", "target@002"):
        out = sh(workspace, "dvc", "repro", "-f", "-s", "--no-run-cache", stage)
        assert f"{stage.replace('@', ' ')}: done" in out
    assert sh(workspace, "git", "status", "--porcelain") == ""
    assert snapshot(workspace / "data" / "rounds") == before


def test_clone_with_pulled_data_is_up_to_date_and_can_run_again(workspace: Path, tmp_path: Path) -> None:
    sh(workspace, "dvc", "remote", "add", "-d", "store", str(tmp_path / "store"))
    sh(workspace, "git", "commit", "-qam", "remote")
    sh(workspace, "dvc", "push")
    sh(tmp_path, "git", "clone", "-q", str(workspace), "clone")
    clone = tmp_path / "clone"
    sh(clone, "dvc", "pull")
    assert "up to date" in sh(clone, "dvc", "repro", "train@002")
    assert "train 002: done" in sh(clone, "dvc", "repro", "-f", "-s", "--no-run-cache", "train@002")
    assert sh(clone, "git", "status", "--porcelain") == ""
    assert "finished" in sh(clone, "frugal", "status")


def test_earlier_commit_brings_its_pools_back(workspace: Path) -> None:
    pools = ("labeled.parquet", "unlabeled.parquet", "scores.parquet")
    wanted = {name: (workspace / "data/rounds/001" / name).read_bytes() for name in pools}
    shutil.rmtree(workspace / "data" / "rounds")
    sh(workspace, "git", "checkout", "-q", "-f", "HEAD~1")
    sh(workspace, "dvc", "checkout")
    assert rounds(Workspace(workspace)) == [0, 1]
    assert {name: (workspace / "data/rounds/001" / name).read_bytes() for name in pools} == wanted


def test_lock_names_only_stages_of_the_rounds(finished: Path) -> None:
    locked = yaml.safe_load((finished / "dvc.lock").read_text())["stages"]
    stages = {"pool"} | {f"{name}@00{number}" for number in range(3) for name in ("select", "label", "train")}
    assert set(locked) == stages | {"infer@000", "infer@001", "target@002"}


def test_finished_loop_run_again_only_reports(finished: Path, prefect_server: str) -> None:
    before = snapshot(finished / "data")
    assert "loop.rounds = 3 reached" in sh(finished, "frugal", "run", PREFECT_API_URL=prefect_server)
    assert {k: v for k, v in snapshot(finished / "data").items() if k != ".lock"} == {
        k: v for k, v in before.items() if k != ".lock"
    }


def test_mlflow_holds_one_loop_with_its_rounds_over_labels(finished: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{finished / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("digits")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert len(runs) == 4
    assert parent.info.status == "FINISHED"
    for metric in ("accuracy", "money", "device_hours"):
        steps = [point.step for point in client.get_metric_history(parent.info.run_id, metric)]
        assert sorted(steps) == [10, 20, 30]
    assert client.get_model_version_by_alias("digits", "champion").run_id in {run.info.run_id for run in runs}
