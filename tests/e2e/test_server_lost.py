"""Prefect's server is killed while a command is at work."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from flows import server
from tasks.rounds import Workspace
from tests.e2e.schedule_helpers import BIN, billed, wait_for
from tests.test_loop import begin, finish, results

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]

#: Two rounds; the first training takes some seconds.
SLOW = (
    "dataset.limit=600",
    "loop.rounds=2",
    "loop.initial=200",
    "train.model=ceal_cnn",
    "train.epochs=40",
)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A loop that has begun, without a round; no server is configured."""
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    return begin(tmp_path / "w", *SLOW)


def start(workspace: Workspace, **environment: str) -> "subprocess.Popen[str]":
    command = [str(BIN / "frugal"), "run", "--workspace", str(workspace.root)]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )


def test_stage_ends_and_the_same_command_goes_on(workspace: Workspace, tmp_path: Path) -> None:
    undisturbed = finish(Workspace(shutil.copytree(workspace.root, tmp_path / "undisturbed")))
    with server.scheduling(0) as prefect:
        prefect.wait()
        # Prefect would otherwise wait a minute, twice, for the server to come back.
        with start(workspace, PREFECT_API_URL=prefect.url, PREFECT_CLIENT_MAX_RETRIES="1") as cut:
            wait_for("TRAIN", lambda: "label" in billed(workspace, 0))
            assert prefect._process is not None
            prefect._process.kill()
            told = cut.communicate(timeout=120)[1]
    assert cut.returncode == 1
    (line,) = [line for line in told.splitlines() if line.startswith("error: ")]
    assert "the Prefect server went away in mid-run" in line
    assert "Traceback" not in told
    assert "train" in billed(workspace, 0)
    with start(workspace) as again:
        assert again.wait(120) == 0
    assert results(workspace) == results(undisturbed)
