"""Every server of a team at once, and a loop on them: scheduled, recorded, pushed, each server away for a while."""

import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import psutil
import pytest

from tasks import files, loop
from tasks.rounds import Workspace
from tests.e2e.team import Team, running
from tests.pools import column
from tests.test_loop import QUICK

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

pytestmark = [pytest.mark.server, pytest.mark.timeout(600)]

#: Training takes some seconds, in which a server can be stopped.
OVERRIDES = [*QUICK, "train.epochs=3000", "name=team", "label.labeler=files", "label.noise=0.0"]
_RUN_S = 150.0


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    with running(tmp_path_factory.mktemp("servers")) as team, pytest.MonkeyPatch.context() as patch:
        for name, value in team.environment.items():
            patch.setenv(name, value)
        yield team


@pytest.fixture(scope="module")
def prefect(team: Team) -> "Iterator[SyncPrefectClient]":
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    there = team.environment
    settings = {PREFECT_API_URL: there["PREFECT_API_URL"], PREFECT_API_AUTH_STRING: there["PREFECT_API_AUTH_STRING"]}
    with temporary_settings(settings), get_client(sync_client=True) as client:
        yield client


@dataclass(frozen=True)
class Deployed:
    """A workspace whose loop the worker advances."""

    workspace: Workspace
    client: "SyncPrefectClient"
    deployment: UUID
    team: Team

    def run(self) -> "FlowRun":
        """Have it advanced as far as it goes now."""
        return self.ended(self.client.create_flow_run_from_deployment(self.deployment).id)

    def ended(self, run: UUID) -> "FlowRun":
        """The run, once it has ended."""
        deadline = time.monotonic() + _RUN_S
        while not (found := self.client.read_flow_run(run)).state or not found.state.is_final():
            assert time.monotonic() < deadline, f"{found.state}; {self.team.state}/logs/worker.log"
            time.sleep(0.3)
        return found

    def answer(self, round_: int) -> None:
        """Give the true labels of a round's tasks, as a person would by file."""
        folder = self.workspace.round_dir(round_)
        truth = files.read_table(self.workspace.pool / "oracle.parquet")
        labels = dict(zip(truth["id"].to_pylist(), truth["label"].to_pylist(), strict=True))
        classes = files.read_json(self.workspace.pool / "pool.json")["classes"]
        wanted = column(folder / "selected.parquet", "id")
        (folder / "labels.csv").write_text("id,label\n" + "".join(f"{id_},{classes[labels[id_]]}\n" for id_ in wanted))


@pytest.fixture(scope="module")
def deployed(
    made: Path, tmp_path_factory: pytest.TempPathFactory, team: Team, prefect: "SyncPrefectClient"
) -> Deployed:
    """A new workspace with a remote on the store, deployed; its schedule lies a few seconds ahead."""
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.schedules import RRuleSchedule

    root = shutil.copytree(made, tmp_path_factory.mktemp("loop") / "w", symlinks=True).resolve()
    ask(team, root, "dvc", "remote", "add", "--default", "store", "s3://dvc/team")
    ask(team, root, "git", "commit", "--quiet", "--all", "--message", "remote")
    at = (datetime.now(UTC) + timedelta(seconds=12)).strftime("%Y%m%dT%H%M%SZ")
    deployment = prefect.create_deployment(
        flow_id=prefect.create_flow_from_name("run_loop"),
        name="team",
        entrypoint="flows.loop.run_loop",
        # With a path of its own, the worker would copy all of a checkout for each run.
        pull_steps=[{"prefect.deployments.steps.set_working_directory": {"directory": str(root)}}],
        work_pool_name="frugal-process",
        parameters={"workspace": str(root), "conf": "conf/digits.yaml", "overrides": OVERRIDES},
        schedules=[DeploymentScheduleCreate(schedule=RRuleSchedule(rrule=f"DTSTART:{at}\nRRULE:FREQ=DAILY;COUNT=1"))],
    )
    return Deployed(Workspace(root), prefect, deployment, team)


def test_every_server_answers_and_up_again_changes_nothing(team: Team) -> None:
    assert team.local("status").stdout.count("answers") == 5
    before = members(team)
    assert "clients: ." in team.local("up").stdout
    assert members(team) == before


def test_servers_listen_on_loopback_alone(team: Team) -> None:
    listening = [
        connection.laddr.ip
        for pid in members(team)
        for connection in psutil.Process(pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 3
    assert set(listening) == {"127.0.0.1"}


@pytest.mark.parametrize("login", ["nobody:wrong", None])
def test_strangers_are_turned_away(team: Team, login: str | None) -> None:
    from base64 import b64encode

    there = team.environment
    header = {} if login is None else {"Authorization": f"Basic {b64encode(login.encode()).decode()}"}
    for url in (
        f"{there['MLFLOW_TRACKING_URI']}/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default",
        f"{there['PREFECT_API_URL']}/admin/version",
        f"{there['AWS_ENDPOINT_URL_S3']}/mlflow",
    ):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(url, headers=header))
        assert refused.value.code in (400, 401, 403), url


def test_mlflow_answers_to_its_own_names_alone(team: Team) -> None:
    url = f"{team.environment['MLFLOW_TRACKING_URI']}/api/2.0/mlflow/experiments/search"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(urllib.request.Request(url, headers={"Host": "elsewhere.example"}))


def test_scheduled_run_fires_by_itself_and_waits_for_people(deployed: Deployed) -> None:
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId

    own = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployed.deployment]))
    deadline = time.monotonic() + 60
    while not (runs := deployed.client.read_flow_runs(flow_run_filter=own)):
        assert time.monotonic() < deadline
        time.sleep(0.3)
    (run,) = runs
    state = deployed.ended(run.id).state
    assert run.auto_scheduled
    assert state.name == "AwaitingLabels", state
    assert loop.next_step(deployed.workspace).name == "label"


def test_round_finishes_without_mlflow_and_is_recorded_later_once(deployed: Deployed) -> None:
    with deployed.team.without("mlflow"):
        deployed.answer(0)
        state = deployed.run().state
        assert state.name == "AwaitingLabels", state
        assert loop.finished_rounds(deployed.workspace) == [0]
    assert recorded(deployed) == []
    for _ in range(2):
        assert deployed.run().state.name == "AwaitingLabels"
        assert recorded(deployed) == ["round 000"]


def test_stage_finishes_without_prefect_and_the_next_start_goes_on(deployed: Deployed) -> None:
    deployed.answer(1)
    run = deployed.client.create_flow_run_from_deployment(deployed.deployment)
    folder = deployed.workspace.round_dir(1)
    until(lambda: (folder / "labels.parquet").exists())
    with deployed.team.without("prefect"):
        assert not (folder / "metrics.json").exists()
        until(lambda: (folder / "metrics.json").exists())
    assert deployed.run().state.name == "AwaitingLabels"
    assert loop.finished_rounds(deployed.workspace) == [0, 1]
    print(deployed.client.read_flow_run(run.id).state)


def members(team: Team) -> set[int]:
    """The numbers of all processes that belong to the servers."""
    mark = f"{team.state}:"
    living = psutil.process_iter(["environ"])
    return {p.pid for p in living if (p.info["environ"] or {}).get("FRUGAL_LOCAL_SERVER", "").startswith(mark)}


def recorded(deployed: Deployed) -> list[str]:
    """The names of the rounds' runs in MLflow, as a client with a password sees them."""
    from mlflow import MlflowClient

    client = MlflowClient()
    experiment = client.get_experiment_by_name("team")
    if experiment is None:
        return []
    runs = client.search_runs([experiment.experiment_id], "tags.`frugal.kind` = 'round'")
    return sorted(run.info.run_name for run in runs)


def until(reached: Callable[[], bool]) -> None:
    """Return once it is so."""
    deadline = time.monotonic() + _RUN_S
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def ask(team: Team, root: Path, *command: str) -> str:
    """Run a client's command in the workspace."""
    path = f"{Path(sys.executable).parent}:{team.settings['PATH']}"
    result = subprocess.run(
        command, cwd=root, env=team.environment | {"PATH": path}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout
