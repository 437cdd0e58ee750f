"""The embedded Prefect server: up before it is needed, gone with us, and no trouble to another one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flows import server
from flows.masked import masked

pytestmark = pytest.mark.server

FLOW = """
import sys
from flows import server
with server.embedded() as prefect:
    prefect.wait()
    from prefect import flow, task

    @task
    def one(x: int) -> int:
        return x + 1

    @flow(name=sys.argv[1])
    def loop() -> list[int]:
        return [one(x) for x in range(3)]

    assert loop() == [1, 2, 3]
print("done")
"""
HANG = """
import time
from flows import server
with server.embedded() as prefect:
    print(prefect._process.pid, flush=True)
    prefect.wait()
    print("up", flush=True)
    time.sleep(60)
"""
RUNS = """
import asyncio, sys
from flows import server
with server.embedded() as prefect:
    prefect.wait()
    from prefect import get_client

    async def runs() -> None:
        async with get_client() as client:
            for run in await client.read_flow_runs():
                tasks = [task for task in await client.read_task_runs() if task.flow_run_id == run.id]
                flow = await client.read_flow(run.flow_id)
                print(flow.name, run.state_name, len([task for task in tasks if task.state_name == "Completed"]))

    asyncio.run(runs())
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Prefect home shared by the tests of this file, as a user's is by all loops."""
    folder: Path = tmp_path_factory.mktemp("prefect")
    return folder


@pytest.fixture(autouse=True)
def _own_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(home))
    for name in ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_LOGGING_LEVEL", "WARNING")


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", "-c", script, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_loops_at_once_share_a_new_database(home: Path) -> None:
    processes = [start(FLOW, name) for name in ("first", "second")]
    for process in processes:
        assert process.communicate(timeout=200) == ("done\n", "")
        assert process.returncode == 0
    assert not list(home.glob("frugal-loop-server-*.log"))
    # Both are there for whoever asks later.
    with start(RUNS) as later:
        assert sorted(later.communicate(timeout=200)[0].split("\n")) == ["", "first Completed 3", "second Completed 3"]


def test_a_killed_command_leaves_no_server() -> None:
    with start(HANG) as process:
        assert process.stdout is not None
        number = int(process.stdout.readline())
        assert process.stdout.readline() == "up\n"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    deadline = time.monotonic() + 10
    while psutil.pid_exists(number) and psutil.Process(number).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the server outlived its command"
        time.sleep(0.05)


def test_an_interrupt_is_ours_and_ends_the_server() -> None:
    with start(HANG) as process:
        assert process.stdout is not None
        number = int(process.stdout.readline())
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGINT)
        process.wait(20)
    assert not psutil.pid_exists(number)


def test_a_server_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", "nonsense://")
    message = r"did not come up: .+; see .+\.log, or set PREFECT_API_URL"
    with server.embedded() as prefect, pytest.raises(server.ServerError, match=message):
        prefect.wait()


def test_a_server_that_is_configured_is_used(prefect_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    with server.embedded() as prefect:
        prefect.wait()
        assert server.lends_slots()
        assert prefect.url == prefect_server


def test_a_configured_server_that_is_away_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://user:hunter2@127.0.0.1:9/api")
    with pytest.raises(server.ServerError, match=r"at 127\.0\.0\.1, does not answer") as away, server.embedded():
        pass
    assert "hunter2" not in str(away.value)


def test_an_address_that_its_password_splits_is_told_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://user:hunter/2@127.0.0.1:9/api")
    with pytest.raises(server.ServerError, match="no valid address") as away, server.embedded():
        pass
    assert "hunter" not in str(away.value)


@pytest.mark.parametrize("password", ["hunter2", "hunter@2", "@", "a:b"])
def test_addresses_are_shown_without_their_passwords(password: str) -> None:
    assert masked(f"at http://me:{password}@host:4200/api, thus") == "at http://***@host:4200/api, thus"


@pytest.mark.parametrize(("answer", "told"), [(401, "PREFECT_API_AUTH_STRING"), (500, "the same command goes on")])
def test_a_server_that_refuses_us_is_told_without_its_password(answer: int, told: str) -> None:
    import httpx

    refusing = httpx.MockTransport(lambda request: httpx.Response(answer))
    client = httpx.Client(transport=refusing)
    with pytest.raises(server.ServerError, match=told) as raised, client, server.needed():
        client.get("http://me:secret@127.0.0.1/api").raise_for_status()
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("said", ["Failed to reach API at http://h/api", "Found incompatible versions: 3 and 2."])
def test_what_is_no_prefect_server_of_ours_is_told(said: str) -> None:
    with pytest.raises(server.ServerError, match="correct PREFECT_API_URL"), server.needed():
        raise RuntimeError(said)
    with pytest.raises(RuntimeError, match="of a stage"), server.needed():
        raise RuntimeError("of a stage")


def test_the_users_profile_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    assert server.configured_url() is None
    (tmp_path / "profiles.toml").write_text(
        'active = "here"\n[profiles.here]\n[profiles.team]\nPREFECT_API_URL = "http://team:4200/api"\n'
    )
    assert server.configured_url() is None
    monkeypatch.setenv("PREFECT_PROFILE", "team")
    assert server.configured_url() == "http://team:4200/api"


def test_the_environment_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    before = dict(os.environ)
    with server.embedded() as prefect:
        assert os.environ["PREFECT_API_URL"] == prefect.url
    assert dict(os.environ) == before
