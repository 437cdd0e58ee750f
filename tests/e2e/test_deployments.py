"""The deployments of infra/ on a real Prefect server, with a process worker: a loop of one round, to its end."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from flows import server
from infra.deploy import automations
from tasks import loop
from tasks.rounds import Workspace, held, holder, rounds
from tests.e2e.browser import page, screenshot
from tests.e2e.schedule_helpers import BIN, answer_all, background, billed, frozen, listener, wait_for
from tests.test_loop import UNRECORDED, results

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]

#: One round whose training takes some seconds.
SLOW = (
    "dataset.limit=600",
    "loop.rounds=1",
    "loop.initial=200",
    "train.epochs=60",
    "label.labeler=files",
    "label.noise=0",
)


@pytest.fixture(scope="module")
def told() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Where notifications go, and which came."""
    with listener() as found:
        yield found


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with schedules and automations, on a database of its own."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
        patch.delenv("PREFECT_API_URL", raising=False)
        with server.scheduling(0) as started:
            started.wait()
            with temporary_settings({PREFECT_API_URL: started.url}):
                yield started.url


@pytest.fixture(scope="module")
def workspace(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a configuration of its own."""
    root = tmp_path_factory.mktemp("deployed") / "w"
    place = Workspace(shutil.copytree(made, root, symlinks=True).resolve())
    from flows import start

    start.start(place, start.configuration(place, "conf/digits.yaml", SLOW + UNRECORDED))
    return place


def deploy(workspace: Workspace, *arguments: str) -> None:
    command = [sys.executable, "infra/deploy.py", *arguments]
    environment = {**os.environ, "FRUGAL_WORKSPACE": str(workspace.root)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def deployed(api: str, workspace: Workspace, told: tuple[str, list[dict[str, Any]]]) -> None:
    """Deployed twice, as after an upgrade; the schedules are paused, for the tests to be alone."""
    from prefect.blocks.notifications import CustomWebhookNotificationBlock
    from prefect.client.orchestration import get_client

    text = {"text": "{{subject}}\n{{body}}"}
    CustomWebhookNotificationBlock(name="test", url=told[0], json_data=text).save("test")
    deploy(workspace, "--gpus", "2")
    deploy(workspace, "--notify", "custom-webhook/test")
    with get_client(sync_client=True) as client:
        for name in ("open-round/open", "close-round/close"):
            client.pause_deployment(client.read_deployment_by_name(name).id)


@pytest.fixture(scope="module")
def worker(deployed: None, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[subprocess.Popen[bytes]]":
    """A process worker."""
    log = tmp_path_factory.mktemp("worker") / "log"
    command = (BIN / "prefect", "worker", "start", "--pool", "frugal-process", "--type", "process")
    with background(log, *command, PREFECT_WORKER_QUERY_SECONDS="1") as process:
        yield process


def begin(name: str, **options: Any) -> Any:
    from prefect.deployments import run_deployment

    return run_deployment(name, as_subflow=False, **options)


def ended(name: str, **options: Any) -> Any:
    """A run of a deployment, with the state in which it ended."""
    return begin(name, timeout=120, poll_interval=0.5, **options)


def kill_at_work(workspace: Workspace) -> None:
    """Kill the process that works in a workspace."""
    os.kill(json.loads((workspace.root / "data" / ".lock").read_text())["pid"], signal.SIGKILL)


@pytest.fixture(scope="module")
def opened(worker: "subprocess.Popen[bytes]") -> Any:
    """The run that opened the round."""
    return ended("open-round/open")


@pytest.fixture(scope="module")
def undisturbed(opened: Any, workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The round as it ends when nothing happens to it."""
    copy = Workspace(shutil.copytree(workspace.root, tmp_path_factory.mktemp("undisturbed") / "w", symlinks=True))
    answer_all(copy, 0)
    while (step := loop.next_step(copy)) is not None:
        loop.run(copy, step)
    return copy


@pytest.mark.usefixtures("deployed")
def test_both_halves_have_their_schedule_and_refuse_a_second_run() -> None:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        found = [client.read_deployment_by_name(name) for name in ("open-round/open", "close-round/close")]
        limit = client.read_global_concurrency_limit_by_name("gpu")
        names = sorted(automation.name for automation in client.read_automations())
    crons = [schedule.schedule.cron for deployment in found for schedule in deployment.schedules]
    assert crons == ["0 8 * * 1-5", "*/10 * * * *"]
    for deployment in found:
        assert deployment.work_pool_name == "frugal-process"
        assert deployment.concurrency_options.collision_strategy == "CANCEL_NEW"
        assert deployment.global_concurrency_limit.limit == 1
    # The second call asked for no number.
    assert limit.limit == 2
    assert len(names) == len(set(names)) == 4


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize("pool", ["docker", "kubernetes"])
def test_other_pools_take_their_deployments(workspace: Workspace, pool: str) -> None:
    from prefect.client.orchestration import get_client

    deploy(workspace, "--pool", pool)
    with get_client(sync_client=True) as client:
        made = client.read_deployment_by_name(f"close-round/close-{pool}")
        template = client.read_work_pool(f"frugal-{pool}").base_job_template
        client.pause_deployment(made.id)
        client.pause_deployment(client.read_deployment_by_name(f"open-round/open-{pool}").id)
    assert made.job_variables["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"
    if pool == "kubernetes":
        assert made.job_variables["gpus"] == 1
        assert made.job_variables.keys() <= template["variables"]["properties"].keys()
    else:
        # The worker brings the template of its release.
        assert template == {}
        assert made.job_variables["container_create_kwargs"]["device_requests"][0]["count"] == 1


def test_open_round_waits_for_people_and_holds_nothing(opened: Any, workspace: Workspace) -> None:
    assert (opened.state.name, opened.state.type.value) == ("AwaitingLabels", "COMPLETED")
    assert opened.state.message.startswith("round 000 waits for 200 labels: 0 of 200 tasks")
    assert holder(workspace) is None
    with held(workspace):
        pass


def test_its_page_shows_what_is_awaited(opened: Any, api: str, tmp_path: Path) -> None:
    with page(height=760) as shown:
        shown.goto(f"{api.removesuffix('/api')}/runs/flow-run/{opened.id}", wait_until="domcontentloaded")
        expect(shown.get_by_text("AwaitingLabels").first).to_be_visible()
        expect(shown.get_by_text("open-round").first).to_be_visible()
        shown.get_by_text("Artifacts", exact=True).click()
        expect(shown.get_by_text("digits-waiting").first).to_be_visible()
        shown.get_by_text("Task Runs", exact=True).click()
        for task in ("plan 000", "select 000"):
            expect(shown.get_by_text(task).first).to_be_visible()
        screenshot(shown, tmp_path / "prefect.png")


def test_people_are_told_of_one_run(opened: Any, told: tuple[str, list[dict[str, Any]]], workspace: Workspace) -> None:
    assert ended("open-round/open").state.name == "NothingToOpen"
    assert ended("close-round/close").state.name == "AwaitingLabels"
    wait_for("the notification", lambda: told[1])
    # Prefect sends at least once; the link says that it is of one run.
    (came,) = {note["text"] for note in told[1]}
    assert came.startswith(f"Frugal Loop: AwaitingLabels\n{workspace.root}: round 000 waits for 200 labels")
    assert came.endswith(f"/runs/flow-run/{opened.id}")


@pytest.mark.usefixtures("opened")
def test_mistake_fails_in_one_line_and_is_told(told: tuple[str, list[dict[str, Any]]], workspace: Workspace) -> None:
    wrong = workspace.round_dir(0) / "labels.csv"
    wrong.write_text("id,label\nnobody,bee\n")
    state = ended("close-round/close").state
    wrong.unlink()
    assert (state.name, state.type.value) == ("Failed", "FAILED")
    assert "labels.csv, row 1: " in state.message
    assert "\n" not in state.message
    wait_for("the notification", lambda: [note for note in told[1] if "Failed" in note["text"]])


@pytest.mark.usefixtures("opened")
def test_held_workspace_refuses_a_run(workspace: Workspace) -> None:
    with held(workspace):
        state = ended("close-round/close").state
    assert (state.name, state.type.value) == ("Refused", "CANCELLED")
    assert f"held by process {os.getpid()}" in state.message


@pytest.mark.usefixtures("opened")
def test_run_of_a_lost_machine_is_marked_as_crashed_and_the_next_start_goes_on(
    workspace: Workspace, worker: "subprocess.Popen[bytes]", tmp_path: Path
) -> None:
    from prefect.client.orchestration import get_client

    copy = Workspace(shutil.copytree(workspace.root, tmp_path / "w", symlinks=True))
    answer_all(copy, 0)
    there = {"parameters": {"workspace": str(copy.root)}}
    with get_client(sync_client=True) as client, patience(client, 40):
        first = begin("close-round/close", timeout=0, **there)
        wait_for("TRAIN", lambda: "label" in billed(copy, 0))
        # Neither the run nor its worker can tell any more.
        worker.send_signal(signal.SIGSTOP)
        try:
            kill_at_work(copy)
            wait_for("the crash", lambda: client.read_flow_run(first.id).state.is_crashed())
        finally:
            worker.send_signal(signal.SIGCONT)
        assert "No sign of life" in client.read_flow_run(first.id).state.message
    assert ended("close-round/close", **there).state.name == "LoopEnded"


@contextmanager
def patience(client: Any, seconds: int) -> Iterator[None]:
    """For the length of the block runs may be silent for no longer."""
    (usual,) = [automation for automation in automations(None) if "silent" in automation.name]
    (there,) = client.read_automations_by_name(usual.name)
    trigger = usual.trigger.model_copy(update={"within": timedelta(seconds=seconds)})
    client.update_automation(there.id, usual.model_copy(update={"trigger": trigger}))
    try:
        yield
    finally:
        client.update_automation(there.id, usual)


def test_run_killed_in_train_is_gone_on_with_by_the_next_start(
    workspace: Workspace, undisturbed: Workspace, told: tuple[str, list[dict[str, Any]]]
) -> None:
    from prefect.client.orchestration import get_client

    answer_all(workspace, 0)
    first = begin("close-round/close", timeout=0)
    wait_for("TRAIN", lambda: "label" in billed(workspace, 0))
    with frozen(workspace):
        # A start in the meantime is refused, and not kept for later.
        assert ended("close-round/close").state.type.value == "CANCELLED"
        kill_at_work(workspace)
    assert "train" not in billed(workspace, 0)
    with get_client(sync_client=True) as client:
        wait_for("the crash", lambda: client.read_flow_run(first.id).state.is_crashed())
    state = ended("close-round/close").state
    assert (state.name, state.message) == ("LoopEnded", "the loop has ended: loop.rounds = 1 reached")
    assert results(workspace) == results(undisturbed)
    assert ended("close-round/close").state.name == "NothingToClose"
    assert rounds(workspace) == [0]
    ending = f"Frugal Loop: LoopEnded\n{workspace.root}: "
    wait_for("the notification", lambda: [note for note in told[1] if note["text"].startswith(ending)])
    assert len({note["text"] for note in told[1] if note["text"].startswith(ending)}) == 1
