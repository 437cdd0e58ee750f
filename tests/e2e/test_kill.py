"""A loop that is killed over and over ends with the bytes of one that was left alone, and buys no label twice."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.init import init
from tasks import files, loop
from tasks.history import history
from tasks.rounds import Workspace, rounds
from tests.test_loop import POLICIES, QUICK, results

KILLS = 25
#: A run that was not killed by then hangs.
LIMIT_S = 120.0


def command(workspace: Workspace) -> list[str]:
    return ["run", "--workspace", str(workspace.root), "conf/digits.yaml", *QUICK, *POLICIES, "loop.rounds=5"]


def run_to_its_end(workspace: Workspace) -> None:
    """The real command, started as a user starts it."""
    frugal = str(Path(sys.executable).parent / "frugal")
    done = subprocess.run([frugal, *command(workspace)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


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


class Nursery:
    """Where the processes that are to be killed come from; see nursery.py."""

    def __init__(self) -> None:
        script = str(Path(__file__).with_name("nursery.py"))
        paths = {"PYTHONPATH": str(Path.cwd())}
        self.process = subprocess.Popen(
            [sys.executable, script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **paths},
        )
        assert self.line() == "ready"

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def start(self, log: Path, arguments: list[str]) -> int:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([str(log), *arguments]) + "\n")
        self.process.stdin.flush()
        return int(self.line())

    def close(self) -> None:
        self.process.communicate(timeout=30)


@pytest.fixture
def nursery(prefect_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nursery]:
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    made = Nursery()
    yield made
    made.close()


def is_alive(pid: int) -> bool:
    """Whether it runs; one that has ended and was not asked for its status does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def killed_somewhere(nursery: Nursery, workspace: Workspace, rng: random.Random) -> bool:
    """Start the loop, wait until it does something, and kill it and its children a random while later.

    False if it came to its end before.
    """
    before, log = traces(workspace), workspace.root.parent / "log"
    pid = nursery.start(log, command(workspace))
    deadline = time.monotonic() + LIMIT_S
    while is_alive(pid) and traces(workspace) == before and time.monotonic() < deadline:
        time.sleep(0.005)
    moment = time.monotonic() + rng.uniform(0, 2.0)
    while is_alive(pid) and time.monotonic() < moment:
        time.sleep(0.002)
    killed = is_alive(pid)
    if killed:
        os.killpg(pid, signal.SIGKILL)
    status = int(nursery.line())
    assert status in (0, -signal.SIGKILL), log.read_text()
    return status != 0


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
        *(f"round {number:03d}" for number in rounds(workspace)),
    ]
    locked = yaml.safe_load((workspace.root / "dvc.lock").read_text())["stages"]
    assert {name for name in locked if name.startswith("train@")} == {
        f"train@00{number}" for number in rounds(workspace)
    }
    bought = [id_ for number in rounds(workspace) for id_ in ids_bought(workspace, number)]
    assert len(bought) == len(set(bought)) == history(workspace)[-1].bought


def ids_bought(workspace: Workspace, round_: int) -> list[str]:
    """What was paid for; labels out of the drawer cost nothing."""
    table = files.read_table(workspace.round_dir(round_) / "labels.parquet", ["id", "price"])
    return [row["id"] for row in table.to_pylist() if row["price"]]


def plans(workspace: Workspace) -> list[dict[str, Any]]:
    return [files.read_json(workspace.round_dir(number) / "plan.json") for number in rounds(workspace)]


def check_mlflow(workspace: Workspace) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{workspace.root / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert len(parents) == 1
    assert len(runs) == 1 + len(rounds(workspace))
    points = client.get_metric_history(parents[0].info.run_id, "accuracy")
    assert sorted(point.step for point in points) == [outcome.bought for outcome in history(workspace)]
    aborted = {run.data.tags["frugal.round"] for run in runs if run.data.tags.get("frugal.aborted") == "true"}
    assert aborted == {"000"}
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(client.search_model_versions("name = 'digits'")) == 1
    assert client.get_model_version_by_alias("digits", "champion").version == 1


@pytest.mark.server
@pytest.mark.timeout(900)
def test_loop_with_every_policy_killed_at_25_instants_ends_as_if_left_alone(tmp_path: Path, nursery: Nursery) -> None:
    undisturbed = fresh(tmp_path / "undisturbed" / "w")
    run_to_its_end(undisturbed)
    assert [plan["attempt"]["value"] for plan in plans(undisturbed)] == [0, 1, 1, 1, 1, 1]
    assert {str(plan["retrain"]["value"])[:10] for plan in plans(undisturbed)} == {"scratch", "{'mode': '"}
    rng = random.Random(2026)
    kills, loops = 0, 0
    while kills < KILLS:
        workspace = fresh(tmp_path / str(loops) / "w")
        while kills < KILLS and killed_somewhere(nursery, workspace, rng):
            kills += 1
        run_to_its_end(workspace)
        check_finished(workspace, undisturbed)
        check_mlflow(workspace)
        loops += 1
    assert kills == KILLS
