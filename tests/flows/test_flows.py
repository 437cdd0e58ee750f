"""The flows on a real Prefect server."""

import shutil
import threading
from pathlib import Path

import pytest

from tasks import files, loop
from tasks.errors import FrugalError
from tasks.history import history
from tasks.rounds import Workspace, rounds
from tests.pools import column
from tests.test_loop import QUICK

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]

OFF = ["record.git=off", "record.dvc=false", "record.mlflow=false"]


@pytest.fixture
def workspace(made: Path, tmp_path: Path, prefect_server: str) -> Workspace:
    """A workspace as `frugal init` leaves it, with Prefect sent to the session's server."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: prefect_server}):
        yield Workspace(shutil.copytree(made, tmp_path / "w", symlinks=True).resolve())


def test_whole_loop_ends_and_shows_its_rounds_and_decision(workspace: Workspace) -> None:
    from prefect.artifacts import Artifact

    from flows.loop import run_loop

    state = run_loop(str(workspace.root), "conf/digits.yaml", [*QUICK, *OFF, "name=shown"], return_state=True)
    assert state.is_completed()
    assert loop.next_step(workspace) is None
    table, text = Artifact.get("shown-rounds"), Artifact.get("shown-decision")
    assert table is not None
    assert text is not None
    assert '"labels": 30' in str(table.data)
    assert "loop.rounds = 3 reached" in str(text.data)


def test_the_same_call_again_finds_nothing_to_do(workspace: Workspace) -> None:
    from flows.loop import run_loop

    settings = [*QUICK, *OFF, "loop.rounds=1"]
    # As a schedule does it: the same parameters each time, here without a file.
    for _ in range(2):
        assert run_loop(str(workspace.root), None, settings, return_state=True).is_completed()
    assert rounds(workspace) == [0]


def test_every_step_is_a_task_run_named_after_it(workspace: Workspace) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    from flows.loop import run_loop

    state = run_loop(str(workspace.root), "conf/digits.yaml", [*QUICK, *OFF, "loop.rounds=1"], return_state=True)
    with get_client(sync_client=True) as client:
        flow_id = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
        names = {run.name for run in client.read_task_runs(flow_run_filter=flow_id)}
    assert {"plan 000", "select 000", "label 000", "train 000", "decide 000"} <= names


def test_open_and_close_are_two_halves_around_the_people(workspace: Workspace) -> None:
    from flows.loop import close_round, open_round, run_loop
    from flows.tick import AWAITING

    assert close_round(str(workspace.root), return_state=True).name == "NothingToClose"
    settings = [*QUICK, *OFF, "label.labeler=files", "label.noise=0.0"]
    state = open_round(str(workspace.root), "conf/digits.yaml", settings, return_state=True)
    assert (state.name, state.is_completed()) == (AWAITING, True)
    assert run_loop(str(workspace.root), return_state=True).name == AWAITING
    ids = column(workspace.round_dir(0) / "selected.parquet", "id")
    classes = files.read_json(workspace.pool / "pool.json")["classes"]
    answers = "id,label\n" + "".join(f"{id_},{classes[0]}\n" for id_ in ids)
    (workspace.round_dir(0) / "labels.csv").write_text(answers)
    assert close_round(str(workspace.root), return_state=True).name == "Completed"
    assert history(workspace)[0].labels == len(ids)
    assert (workspace.round_dir(0) / "scores.parquet").exists()
    open_round(str(workspace.root))
    assert rounds(workspace) == [0, 1]


def test_user_errors_come_through_without_a_second_try(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.loop import run_loop

    tries = []

    def fail(*_: object) -> None:
        tries.append(1)
        raise FrugalError("diverged")

    monkeypatch.setattr(loop, "run", fail)
    with pytest.raises(FrugalError, match="diverged"):
        run_loop(str(workspace.root), "conf/digits.yaml", [*QUICK, *OFF])
    assert len(tries) == 1


def test_machine_faults_are_tried_again(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows import loop as flows

    real, tries = loop.run, []

    def flaky(place: Workspace, step: loop.Step) -> None:
        tries.append(step.name)
        if len(tries) == 1:
            raise OSError("the disk went away for a moment")
        real(place, step)

    monkeypatch.setattr(loop, "run", flaky)
    monkeypatch.setattr(flows.run_step, "retry_delay_seconds", 0)
    state = flows.run_loop(str(workspace.root), "conf/digits.yaml", [*QUICK, *OFF, "loop.rounds=1"], return_state=True)
    assert state.is_completed()
    assert tries[:2] == ["plan", "plan"]


def test_gpu_slot_is_created_and_occupied(workspace: Workspace) -> None:
    from prefect.client.orchestration import get_client

    from flows.loop import device_slot

    with get_client(sync_client=True) as client, device_slot("cuda"):
        assert client.read_global_concurrency_limit_by_name("gpu").active_slots == 1


@pytest.mark.usefixtures("workspace")
def test_a_second_run_waits_for_the_gpu() -> None:
    from flows.loop import device_slot

    entered = threading.Event()

    def second() -> None:
        with device_slot("cuda"):
            entered.set()

    with device_slot("cuda"):
        waiting = threading.Thread(target=second, daemon=True)
        waiting.start()
        assert not entered.wait(2)
    assert entered.wait(60)
    waiting.join(60)
    assert not waiting.is_alive()


def test_round_is_recorded_later_if_mlflow_is_away(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from flows.loop import run_loop
    from flows.record import tracking

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    settings = [*QUICK, "record.git=off", "record.dvc=false", "loop.rounds=2"]
    assert run_loop(str(workspace.root), "conf/digits.yaml", settings, return_state=True).is_completed()
    assert "MLflow refused" in " ".join(capsys.readouterr().err.split())
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert run_loop(str(workspace.root), return_state=True).is_completed()
    assert tracking.recorded_rounds(workspace) == {0, 1}
