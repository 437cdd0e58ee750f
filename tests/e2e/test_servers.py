"""Every server of a team at once, and a loop on them: scheduled, recorded, pushed, each server away for a while."""

import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import mlflow.artifacts
import psutil
import pytest
from mlflow import MlflowClient
from omegaconf import OmegaConf
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId

from tasks import files, loop
from tasks.errors import HeldError
from tasks.rounds import Workspace, held
from tests.e2e.schedule_helpers import frozen
from tests.e2e.team import Team, running
from tests.pools import column
from tests.test_loop import QUICK

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

pytestmark = [pytest.mark.server, pytest.mark.timeout(600)]

#: Training takes a second or two, in which the run can be frozen.
LOOP = [
    *QUICK,
    "loop.rounds=2",
    "train.epochs=1500",
    "name=team",
    "label.labeler=files",
    "label.noise=0.0",
    "record.push=true",
]
DEPLOY = Path(__file__).resolve().parents[2] / "infra" / "deploy.py"
_RUN_S = 240.0
#: How often the schedule fires; a server that is slow to hear of it may miss the first time.
EVERY = timedelta(minutes=1)
#: Given to the servers and the worker, to be found nowhere.
SECRETS = {
    "AWS_ACCESS_KEY_ID": "plantedkeyid0001",
    "AWS_SECRET_ACCESS_KEY": "plantedstoresecret0002",
    "LABEL_STUDIO_API_KEY": "plantedlabelstudio0003",
    "MLFLOW_FLASK_SERVER_SECRET_KEY": "plantedflask0004",
    "MLFLOW_TRACKING_PASSWORD": "plantedmlflow0005",
    "MLFLOW_TRACKING_USERNAME": "planteduser0006",
    "PREFECT_API_AUTH_STRING": "plantedadmin0007:plantedprefect0008",
}
#: Given to clients whom the servers turn away.
WRONG = "plantedwrong0009"


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    with running(tmp_path_factory.mktemp("servers"), **SECRETS) as team, pytest.MonkeyPatch.context() as patch:
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
    """A workspace whose rounds the worker opens and closes."""

    workspace: Workspace
    client: "SyncPrefectClient"
    #: When the first run is due.
    due: datetime
    team: Team

    def start(self, half: str) -> "FlowRun":
        """Have a half of a round started now."""
        deployment = self.client.read_deployment_by_name(f"{half}-round/{half}")
        return self.client.create_flow_run_from_deployment(deployment.id)

    def run(self, half: str) -> str:
        """Have a half of a round done; the name of the state in which the run ends."""
        return self.ended(self.start(half).id)

    def ended(self, run: UUID) -> str:
        """The name of a run's last state, once it is there."""
        deadline = time.monotonic() + _RUN_S
        while not (state := self.client.read_flow_run(run).state) or not state.is_final():
            assert time.monotonic() < deadline, f"{state}; {self.team.state}/logs/worker.log"
            time.sleep(0.3)
        return str(state.name)

    def answer(self, round_: int) -> None:
        """Give the true labels of a round's tasks, as a person would by file."""
        truth = files.read_table(self.workspace.pool / "oracle.parquet")
        labels = dict(zip(truth["id"].to_pylist(), truth["label"].to_pylist(), strict=True))
        classes = files.read_json(self.workspace.pool / "pool.json")["classes"]
        wanted = column(self.workspace.round_dir(round_) / "selected.parquet", "id")
        path = self.workspace.root.with_name(f"answers-{round_}.csv")
        path.write_text("id,label\n" + "".join(f"{id_},{classes[labels[id_]]}\n" for id_ in wanted))
        self.do("frugal", "answers", "add", str(path))

    def do(self, *command: str) -> str:
        """What a client's command says in the workspace."""
        result = self.team.client(self.workspace.root, *command)
        assert result.returncode == 0, self.team.said[-1]
        return result.stdout


@pytest.fixture(scope="module")
def deployed(
    made: Path, tmp_path_factory: pytest.TempPathFactory, team: Team, prefect: "SyncPrefectClient"
) -> Deployed:
    """A new workspace with a remote on the store, deployed; its first round is to be opened in some seconds."""
    from prefect.client.schemas.schedules import IntervalSchedule

    root = shutil.copytree(made, tmp_path_factory.mktemp("loop") / "w", symlinks=True).resolve()
    conf = root / "conf" / "digits.yaml"
    OmegaConf.save(OmegaConf.merge(OmegaConf.load(conf), OmegaConf.from_dotlist(LOOP)), conf)
    for command in (
        ["dvc", "remote", "add", "--default", "store", "s3://dvc/team"],
        ["git", "commit", "--quiet", "--all", "--message", "remote"],
        [sys.executable, str(DEPLOY)],
    ):
        assert team.client(root, *command, FRUGAL_WORKSPACE=str(root)).returncode == 0, team.said[-1]
    opening, closing = (prefect.read_deployment_by_name(f"{half}-round/{half}").id for half in ("open", "close"))
    # Those of every ten minutes are not to come in between.
    for deployment in (opening, closing):
        for usual in prefect.read_deployment_schedules(deployment):
            prefect.delete_deployment_schedule(deployment, usual.id)
    due = datetime.now(UTC) + timedelta(seconds=20)
    prefect.create_deployment_schedules(opening, [(IntervalSchedule(interval=EVERY, anchor_date=due), True)])
    return Deployed(Workspace(root), prefect, due, team)


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
    opening = deployed.client.read_deployment_by_name("open-round/open").id
    own = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[opening]))
    until(lambda: deployed.client.read_flow_runs(flow_run_filter=own))
    run = min(deployed.client.read_flow_runs(flow_run_filter=own), key=lambda run: run.expected_start_time)
    assert run.auto_scheduled
    late = run.expected_start_time.timestamp() - deployed.due.timestamp()
    assert round(late, 3) % EVERY.total_seconds() == 0
    assert deployed.ended(run.id) == "AwaitingLabels"
    for schedule in deployed.client.read_deployment_schedules(opening):
        deployed.client.delete_deployment_schedule(opening, schedule.id)
    assert loop.next_step(deployed.workspace).name == "label"


def test_round_whose_mlflow_and_store_stop_in_mid_run_finishes_and_is_recorded_later_once(deployed: Deployed) -> None:
    deployed.answer(0)
    closing, folder = deployed.start("close"), deployed.workspace.round_dir(0)
    until(lambda: (folder / "labels.parquet").exists())
    with ExitStack() as away:
        with frozen(deployed.workspace):
            for name in ("mlflow", "s3"):
                away.enter_context(deployed.team.without(name))
            assert not (folder / "metrics.json").exists()
        assert deployed.ended(closing.id) == "Completed"
        assert loop.finished_rounds(deployed.workspace) == [0]
    assert recorded("team") == []
    assert pushed(deployed) == 0
    # Servers that were cut off from PostgreSQL connect anew.
    deployed.team.sever()
    assert deployed.run("open") == "AwaitingLabels"
    assert recorded("team") == ["000"]
    assert pushed(deployed) > 0


def test_stage_finishes_without_prefect_and_the_next_start_goes_on(deployed: Deployed) -> None:
    deployed.answer(1)
    deployed.start("close")
    folder = deployed.workspace.round_dir(1)
    until(lambda: (folder / "labels.parquet").exists())
    with ExitStack() as away:
        with frozen(deployed.workspace):
            away.enter_context(deployed.team.without("prefect"))
            assert not (folder / "metrics.json").exists()
        until(lambda: (folder / "metrics.json").exists())
    until(lambda: not is_held(deployed.workspace))
    assert deployed.run("close") in ("LoopEnded", "NothingToClose")
    assert loop.next_step(deployed.workspace) is None
    assert recorded("team") == ["000", "001"]


def test_record_in_mlflow_is_complete(deployed: Deployed, tmp_path: Path) -> None:
    client = MlflowClient()
    champion = client.get_model_version_by_alias("team", "champion")
    (experiment,) = client.search_experiments(filter_string="name = 'team'")
    runs = {run.info.run_id: run for run in client.search_runs([experiment.experiment_id])}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert runs[champion.run_id].data.tags["frugal.round"] == "001"
    metrics = files.read_json(deployed.workspace.round_dir(1) / "metrics.json")
    assert runs[champion.run_id].data.metrics["accuracy"] == metrics["accuracy"]
    kept = client.download_artifacts(champion.run_id, "decision.json", str(tmp_path))
    assert Path(kept).read_bytes() == (deployed.workspace.round_dir(1) / "decision.json").read_bytes()
    assert below(Path(mlflow.artifacts.download_artifacts(artifact_uri=champion.source, dst_path=str(tmp_path / "m"))))


def test_rounds_are_pulled_elsewhere_from_the_store(deployed: Deployed, tmp_path: Path) -> None:
    deployed.do("git", "clone", "--quiet", ".", str(tmp_path / "clone"))
    pulled = deployed.team.client(tmp_path / "clone", "dvc", "pull")
    assert pulled.returncode == 0, pulled.stderr
    for name in ("labels.parquet", "model.safetensors", "unlabeled.parquet"):
        there = deployed.workspace.round_dir(1) / name
        assert (tmp_path / "clone" / there.relative_to(deployed.workspace.root)).read_bytes() == there.read_bytes()


def test_wrong_passwords_cost_one_line_and_without_mlflow_the_loop_goes_on(
    team: Team, made: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(made, tmp_path / "w", symlinks=True)
    address = team.environment["MLFLOW_TRACKING_URI"].replace("://", f"://admin:{WRONG}@")
    wrong = {"MLFLOW_TRACKING_USERNAME": "", "MLFLOW_TRACKING_PASSWORD": "", "MLFLOW_TRACKING_URI": address}
    settings = [*QUICK, "name=wrong", "loop.rounds=2"]
    stranger = {"PREFECT_API_AUTH_STRING": f"admin:{WRONG}"}
    turned_away = team.client(root, "frugal", "run", "conf/digits.yaml", *settings, **stranger)
    assert (turned_away.returncode, turned_away.stderr.count("\n")) == (1, 2)
    assert "PREFECT_API_AUTH_STRING" in turned_away.stderr
    refused = team.client(root, "frugal", "run", "conf/digits.yaml", *settings, **wrong)
    assert refused.returncode == 0, refused.stderr
    warnings = [line for line in (refused.stdout + refused.stderr).splitlines() if "warning" in line]
    assert len(warnings) == 1
    assert "401" in warnings[0]
    assert "Traceback" not in refused.stderr
    # A server that is named with its password in the address is told that it is there all the same.
    right = address.replace(
        f"admin:{WRONG}", f"{SECRETS['MLFLOW_TRACKING_USERNAME']}:{SECRETS['MLFLOW_TRACKING_PASSWORD']}"
    )
    prefect = team.environment["PREFECT_API_URL"].replace("://", f"://{SECRETS['PREFECT_API_AUTH_STRING']}@")
    addresses = {"MLFLOW_TRACKING_URI": right, "PREFECT_API_URL": prefect, "PREFECT_API_AUTH_STRING": ""}
    caught_up = team.client(root, "frugal", "run", **(wrong | addresses))
    assert caught_up.returncode == 0, caught_up.stderr
    assert "warning" not in caught_up.stdout + caught_up.stderr
    assert recorded("wrong") == ["000", "001"]


def test_no_secret_was_written_anywhere(deployed: Deployed) -> None:
    team, root = deployed.team, deployed.workspace.root
    user, password = SECRETS["MLFLOW_TRACKING_USERNAME"], SECRETS["MLFLOW_TRACKING_PASSWORD"]
    headers = [b64encode(f"{user}:{password}".encode()), b64encode(SECRETS["PREFECT_API_AUTH_STRING"].encode())]
    planted = [b"planted", *headers]
    # MLflow keeps its account's name, with a salted hash of the password, and tells that it has made it.
    rows = [(table, row) for table, row in team.rows() if not table.endswith(".users")]
    made = f"Created admin user '{user}'".encode()
    objects = subprocess.run(
        ["git", "-C", str(root), "cat-file", "--batch-all-objects", "--batch"], capture_output=True, check=True
    )
    written = [(str(path), path.read_bytes().replace(made, b"")) for path in [*below(team.state), *below(root)]]
    everything = [*rows, *written, ("git objects", objects.stdout), ("said", "\n".join(team.said).encode())]
    found = {(where, mark) for where, content in everything for mark in planted if mark in content}
    assert not found
    names = {where for where, _ in everything}
    assert any(name.endswith("logs/worker.log") for name in names)
    assert {"flow_run", "log", "artifact", "runs", "params"} <= {name.rpartition(".")[2] for name in names}


def members(team: Team) -> set[int]:
    """The numbers of all processes that belong to the servers."""
    mark = f"{team.state}:"
    living = psutil.process_iter(["environ"])
    return {p.pid for p in living if (p.info["environ"] or {}).get("FRUGAL_LOCAL_SERVER", "").startswith(mark)}


def below(folder: Path) -> list[Path]:
    """All files there."""
    return [path for path in folder.rglob("*") if path.is_file()]


def pushed(deployed: Deployed) -> int:
    """How many files the loop's remote holds."""
    return len(below(deployed.team.state / "s3" / "dvc" / "team"))


def is_held(workspace: Workspace) -> bool:
    """Whether a process works in it."""
    try:
        with held(workspace):
            return False
    except HeldError:
        return True


def recorded(name: str) -> list[str]:
    """The numbers of the rounds that MLflow holds of a loop, as a client with a password sees them."""
    client = MlflowClient()
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return []
    runs = client.search_runs([experiment.experiment_id], "tags.`frugal.kind` = 'round'")
    return sorted(run.data.tags["frugal.round"] for run in runs)


def until(reached: Callable[[], object]) -> None:
    """Return once it is so."""
    deadline = time.monotonic() + _RUN_S
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.1)
