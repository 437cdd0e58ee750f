"""`frugal serve` as a user starts it, stops it, and as a machine kills it."""

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from tasks.rounds import Workspace
from tests.e2e.schedule_helpers import BIN, answer_all, wait_for
from tests.test_cli import check_refused, frugal
from tests.test_loop import CONF, QUICK, UNRECORDED

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]

PEOPLE = (*QUICK, *UNRECORDED, "loop.rounds=1", "label.labeler=files", "label.noise=0")


@pytest.fixture
def workspace(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A new workspace, and a Prefect home of its own."""
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    return Workspace(shutil.copytree(made, tmp_path / "w", symlinks=True).resolve())


@contextmanager
def serving(workspace: Workspace, log: Path) -> Iterator[psutil.Popen]:
    """The command, with a start of either half every quarter of a minute."""
    command = [BIN / "frugal", "serve", "--workspace", workspace.root, CONF, *PEOPLE, "--every", "0.25", "--port", "0"]
    with log.open("ab") as output:
        process = psutil.Popen([str(part) for part in command], stdout=output, stderr=output, start_new_session=True)
    try:
        yield process
    finally:
        if process.is_running():
            process.kill()
        process.wait()


def family(process: psutil.Popen) -> list[psutil.Process]:
    """The processes that the command has started: its server, and its runs."""
    children: list[psutil.Process] = process.children(recursive=True)
    return children


def check_gone(processes: list[psutil.Process]) -> None:
    left = psutil.wait_procs(processes, timeout=15)[1]
    assert [process.cmdline() for process in left if process.status() != psutil.STATUS_ZOMBIE] == []


def test_round_opens_and_closes_by_itself_and_a_kill_leaves_nothing(workspace: Workspace, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with serving(workspace, log) as first:
        wait_for("round 000", (workspace.round_dir(0) / "tasks.jsonl").exists, 180)
        processes = wait_for("a run", lambda: len(found := family(first)) > 1 and found)
        assert {address for one in processes for address in listening(one)} <= {"127.0.0.1"}
        first.send_signal(signal.SIGKILL)
        check_gone([*processes, first])
    answer_all(workspace, 0)
    with serving(workspace, log) as second:
        wait_for("the end of round 000", (workspace.round_dir(0) / "decision.json").exists, 180)
        processes = family(second)
        second.send_signal(signal.SIGINT)
        assert second.wait(60) == 0
        check_gone(processes)
    assert log.read_text().endswith("stopped\n")


def listening(process: psutil.Process) -> set[str]:
    try:
        return {connection.laddr.ip for connection in process.net_connections("tcp") if connection.status == "LISTEN"}
    except psutil.NoSuchProcess:
        return set()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--open", "every day"], ["'every day'", "no cron expression"]),
        (["--timezone", "Berlin"], ["--timezone Berlin", "Europe/Berlin"]),
    ],
)
def test_schedule_that_cannot_be_is_refused(workspace: Workspace, options: list[str], words: list[str]) -> None:
    check_refused(frugal("serve", "--workspace", workspace.root, "--port", "0", *options), *words)


def test_configuration_that_cannot_be_is_refused_before_anything_starts(workspace: Workspace) -> None:
    check_refused(frugal("serve", "--workspace", workspace.root, CONF, "loop.rounds=0"), "loop.rounds")
    assert not (workspace.root.parent / "prefect").exists()


def test_taken_port_is_one_line(workspace: Workspace) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = frugal("serve", "--workspace", workspace.root, "--port", port)
    check_refused(result, f"port {port} is taken", "--port")


class _Refusing(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.send_response(401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def test_server_that_refuses_us_is_one_line_without_the_password(workspace: Workspace) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Refusing) as refusing:
        threading.Thread(target=refusing.serve_forever, daemon=True).start()
        named = {"PREFECT_API_URL": f"http://me:hunter@2@127.0.0.1:{refusing.server_port}/api"}
        command = [BIN / "frugal", "serve", "--workspace", workspace.root, CONF, *PEOPLE]
        result = subprocess.run(command, env={**os.environ, **named}, capture_output=True, text=True)
        refusing.shutdown()
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "PREFECT_API_AUTH_STRING" in line
    assert "hunter" not in result.stdout + result.stderr


def test_webhook_without_a_secret_is_refused(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FRUGAL_WEBHOOK_SECRET", raising=False)
    check_refused(frugal("serve", "--workspace", workspace.root, "--webhook", "0"), "FRUGAL_WEBHOOK_SECRET")
    assert not (workspace.root.parent / "prefect").exists()
