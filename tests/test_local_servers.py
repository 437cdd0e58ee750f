"""infra/local.sh without its servers: settings, credentials, processes. With them: tests/e2e/test_servers.py."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from infra.local import credentials, postgres
from infra.local.processes import Process, is_taken
from infra.local.servers import all_servers
from infra.local.settings import Settings, load
from tasks.errors import ConfigError, FrugalError

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
#: Starts a child that does not end with it.
PARENT = [sys.executable, "-c", "import subprocess, time; subprocess.Popen(['sleep', '60']); time.sleep(60)"]
PASSWORD = "MLFLOW_TRACKING_PASSWORD"


@pytest.fixture
def here(tmp_path: Path) -> Settings:
    return load(tmp_path, {})


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    process = Process("prefect", tmp_path)
    yield process
    process.stop(signal.SIGKILL)


def start(process: Process, command: list[str]) -> int:
    process.start(command, os.environ)
    pid = process.pid()
    assert pid is not None
    return pid


def script(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    told = {**os.environ, "FRUGAL_PYTHON": sys.executable, **environment}
    return subprocess.run(["infra/local.sh", *arguments], env=told, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("port", ["http", "0", "65536", "-1", "80.5"])
def test_port_that_is_none_is_named(tmp_path: Path, port: str) -> None:
    with pytest.raises(ConfigError, match=r"FRUGAL_S3_PORT: .* is no port"):
        load(tmp_path, {"FRUGAL_S3_PORT": port})


def test_two_servers_on_one_port_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="5000 is mlflow's port too"):
        load(tmp_path, {"FRUGAL_PREFECT_PORT": "5000"})


def test_servers_are_on_loopback_unless_told(tmp_path: Path) -> None:
    assert load(tmp_path, {}).url("mlflow") == "http://127.0.0.1:5000"
    assert load(tmp_path, {"FRUGAL_HOST": "10.0.0.5"}).url("mlflow") == "http://10.0.0.5:5000"


def test_credentials_are_made_once_and_read_by_their_owner_alone(here: Settings) -> None:
    made = credentials.load(here, {})
    credentials.store(here, made, {})
    assert credentials.load(here, {}) == made
    assert len(set(made.values())) == len(made)
    assert (here.state / "env").stat().st_mode & 0o777 == 0o600


def test_what_the_environment_gives_goes_first_and_is_not_written_down(here: Settings) -> None:
    given = {PASSWORD: "of the environment"}
    assert credentials.load(here, given)[PASSWORD] == given[PASSWORD]
    credentials.store(here, credentials.load(here, given), given)
    assert given[PASSWORD] not in (here.state / "env").read_text()
    assert PASSWORD not in credentials.read(here)


def test_sourced_credentials_stay_where_they_are(here: Settings) -> None:
    made = credentials.load(here, {})
    credentials.store(here, made, {})
    credentials.store(here, credentials.load(here, made), made)
    assert credentials.read(here).items() >= made.items()


def test_shell_reads_what_was_written(here: Settings) -> None:
    odd = {PASSWORD: "a 'b' $c \"d\" #e"}
    credentials.store(here, odd, {})
    told = subprocess.run(
        ["sh", "-c", f'. "{here.state}/env" && printf %s "${PASSWORD}"'], capture_output=True, text=True, check=True
    )
    assert told.stdout == odd[PASSWORD] == credentials.read(here)[PASSWORD]


def test_store_of_the_users_own_has_the_users_own_keys(tmp_path: Path) -> None:
    assert "AWS_SECRET_ACCESS_KEY" not in credentials.load(load(tmp_path, {"FRUGAL_S3_URL": "https://s3.example"}), {})


def test_server_is_not_told_what_is_no_business_of_its(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LABEL_STUDIO_API_KEY", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "secret")
    assert "secret" not in credentials.plain_environment().values()


def test_process_is_known_until_it_ends(process: Process) -> None:
    pid = start(process, SLEEP)
    assert Process("mlflow", process.state).pid() is None
    assert process.stop()
    assert not psutil.pid_exists(pid)
    assert not process.stop()


def test_children_of_a_killed_process_end_with_it(process: Process) -> None:
    pid = start(process, PARENT)
    while not (children := psutil.Process(pid).children()):
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    while psutil.pid_exists(pid):
        time.sleep(0.02)
    assert process.pid() is None
    assert process.stop()
    assert not psutil.pid_exists(children[0].pid)


def test_log_is_its_owners_and_its_last_line_is_told(process: Process) -> None:
    start(process, SLEEP)
    while process.last_words() != "up":
        time.sleep(0.02)
    assert process.log.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["export PASSWORD='half", "DJANGO_SECRET=of another program\n", None])
def test_env_that_is_not_ours_is_refused_and_left_alone(tmp_path: Path, text: str | None) -> None:
    env = tmp_path / "env"
    if text is None:
        env.mkdir()
    else:
        env.write_text(text)
    told = script("status", FRUGAL_STATE=str(tmp_path))
    assert (told.returncode, told.stderr.count("\n")) == (2, 1)
    assert "not written by infra/local.sh" in told.stderr
    assert text is None or env.read_text() == text


def test_host_where_nothing_can_listen_is_not_called_taken() -> None:
    # Kept for documentation.
    with pytest.raises(ConfigError, match="FRUGAL_HOST says where"):
        is_taken("192.0.2.1", 4200)


def test_server_that_speaks_no_http_does_not_answer(here: Settings) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        threading.Thread(target=_greet, args=[listener], daemon=True).start()
        chosen = load(here.state, {"FRUGAL_PREFECT_PORT": str(listener.getsockname()[1])})
        place = postgres.Place("127.0.0.1", 1, "me", None)
        (prefect,) = [
            each for each in all_servers(chosen, credentials.load(chosen, {}), place) if each.name == "prefect"
        ]
        assert prefect.fault() == "does not answer"


def _greet(listener: socket.socket) -> None:
    with listener.accept()[0] as caller:
        caller.recv(1000)
        caller.sendall(b"SSH-2.0-OpenSSH\r\n")


def test_process_that_ends_while_it_is_looked_for_is_none(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = psutil.Process(start(process, SLEEP))
    monkeypatch.setattr(Process, "_family", lambda _: [gone])
    gone.kill()
    gone.wait()
    assert process.pid() is None
    process.stop()


def test_port_that_is_listened_on_is_taken() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        assert is_taken("127.0.0.1", listener.getsockname()[1])


def test_postgres_that_is_named_and_away_is_told(here: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("PGHOST", "127.0.0.1")
        monkeypatch.setenv("PGPORT", str(unused.getsockname()[1]))
        with pytest.raises(FrugalError, match="which PGHOST and PGPORT name"):
            postgres.find(here, "secret")


def test_addresses_of_databases_hold_no_password() -> None:
    place = postgres.named({"PGUSER": "team", "PGPASSWORD": "secret"})
    assert place.url("postgresql", "mlflow") == "postgresql://team@127.0.0.1:5432/mlflow"
    assert place.environment() == {"PGPASSWORD": "secret"}


def test_mistake_is_one_line_and_exit_status_2(tmp_path: Path) -> None:
    told = script("up", FRUGAL_STATE=str(tmp_path / "s"), FRUGAL_MLFLOW_PORT="none")
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr == "error: FRUGAL_MLFLOW_PORT: 'none' is no port; give a number from 1 to 65535\n"
    assert not (tmp_path / "s").exists()


def test_script_without_a_python_says_how_to_get_one() -> None:
    told = script("status", FRUGAL_PYTHON="/nowhere/python")
    assert told.returncode == 2
    assert "make .venv/.ready" in told.stderr


def test_down_before_up_changes_nothing(tmp_path: Path) -> None:
    told = script("down", FRUGAL_STATE=str(tmp_path / "s"))
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")
    assert not (tmp_path / "s").exists()
