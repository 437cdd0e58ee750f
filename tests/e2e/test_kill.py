"""A loop that is killed over and over ends with the bytes of one that was left alone, and buys no label twice."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from flows.init import init
from tasks import files, loop
from tasks.history import history
from tasks.rounds import Workspace, rounds
from tests.test_loop import QUICK, results

KILLS = 25
#: A run that was not killed by then hangs.
LIMIT_S = 120.0


def command(workspace: Workspace) -> list[str]:
    frugal = str(Path(sys.executable).parent / "frugal")
    return [frugal, "run", "--workspace", str(workspace.root), "conf/digits.yaml", *QUICK]


def fresh(root: Path) -> Workspace:
    init(root)
    return Workspace(root)


def traces(workspace: Workspace) -> dict[str, int]:
    """When each file that the loop writes was last written."""
    places = ("data/rounds", "dvc.lock", ".git/logs")
    found = {}
    for place in places:
        path = workspace.root / place
        for file in [path, *path.rglob("*")]:
            try:
                found[str(file)] = file.stat().st_mtime_ns
            except FileNotFoundError:
                continue
    return found


def killed_somewhere(workspace: Workspace, rng: random.Random, patience: float) -> bool:
    """Start the loop, wait until it does something, and kill it and its children a random while later.

    False if it came to its end before.
    """
    before = traces(workspace)
    log = workspace.root.parent / "log"
    with log.open("ab") as output:
        process = subprocess.Popen(command(workspace), stdout=output, stderr=output, start_new_session=True)
    deadline = time.monotonic() + LIMIT_S
    while process.poll() is None and traces(workspace) == before and time.monotonic() < deadline:
        time.sleep(0.02)
    wait_until = time.monotonic() + rng.uniform(0, patience)
    while process.poll() is None and time.monotonic() < wait_until:
        time.sleep(0.005)
    if process.poll() is not None:
        assert process.returncode == 0, log.read_text()
        return False
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return True


def git(workspace: Workspace, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(workspace.root), *arguments], check=True, capture_output=True, text=True
    ).stdout


def check_finished(workspace: Workspace, undisturbed: Workspace) -> None:
    assert results(workspace) == results(undisturbed)
    assert loop.next_step(workspace) is None
    assert git(workspace, "status", "--porcelain") == ""
    messages = git(workspace, "log", "--format=%s").splitlines()
    assert [message.partition(":")[0] for message in reversed(messages)] == [
        "frugal init",
        "round 000",
        "round 001",
        "round 002",
    ]
    locked = yaml.safe_load((workspace.root / "dvc.lock").read_text())["stages"]
    assert {name for name in locked if name.startswith("train@")} == {
        f"train@00{number}" for number in rounds(workspace)
    }
    bought = [id_ for number in rounds(workspace) for id_ in ids_bought(workspace, number)]
    assert len(bought) == len(set(bought)) == history(workspace)[-1].labels


def ids_bought(workspace: Workspace, round_: int) -> list[str]:
    ids: list[str] = files.read_table(workspace.round_dir(round_) / "labels.parquet", ["id"])["id"].to_pylist()
    return ids


def check_mlflow(workspace: Workspace) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{workspace.root / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert len(parents) == 1
    assert len(runs) == 4
    points = client.get_metric_history(parents[0].info.run_id, "accuracy")
    assert sorted(point.step for point in points) == [10, 20, 30]


@pytest.mark.server
@pytest.mark.timeout(900)
def test_loop_killed_at_25_instants_ends_as_if_left_alone(
    tmp_path: Path, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    undisturbed = fresh(tmp_path / "undisturbed" / "w")
    subprocess.run(command(undisturbed), check=True, capture_output=True)
    rng = random.Random(2026)
    kills, finished = 0, 0
    while kills < KILLS:
        workspace = fresh(tmp_path / str(finished) / "w")
        while killed_somewhere(workspace, rng, patience=4.0 if kills < KILLS else LIMIT_S):
            kills += 1
        check_finished(workspace, undisturbed)
        check_mlflow(workspace)
        finished += 1
