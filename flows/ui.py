"""`frugal ui`: the web pages of MLflow and Prefect, on this machine only."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from flows.record import tracking_store
from tasks.errors import WorkspaceError
from tasks.rounds import Workspace

_HOST = "127.0.0.1"
_START_S, _STOP_S = 180.0, 10.0


#: Five processes for jobs that a loop has none of would take most of MLflow's start.
_LEAN = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


@dataclass
class _Page:
    name: str
    port: int
    #: An address in this variable is used instead of a server of ours.
    variable: str
    command: list[str]


def serve(workspace: Workspace, port: int, prefect_port: int) -> None:
    """Serve both until interrupted; a server that is configured by its environment variable is only pointed to.

    Raises:
        WorkspaceError: a port is taken, or a server ended by itself.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    pages = [page for page in _pages(workspace, port, prefect_port) if not _pointed_to(page)]
    for page in pages:
        _check_free(page)
    tracking_store.prepare(workspace)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        running = [(page, stack.enter_context(_running(workspace, page, folder / page.name))) for page in pages]
        try:
            for page, server in running:
                _wait_until_up(page, server, folder / page.name)
                click.echo(f"{page.name}: http://{_HOST}:{page.port}")
            if running:
                click.echo("Press Ctrl-C to stop.")
                _watch(running, folder)
        except KeyboardInterrupt:
            click.echo("stopped")


def _pages(workspace: Workspace, port: int, prefect_port: int) -> list[_Page]:
    artifacts = (workspace.root / "mlartifacts").as_uri()
    mlflow = ["-m", "mlflow", "server", "--backend-store-uri", tracking_store.uri(workspace), "--workers", "1"]
    mlflow += ["--artifacts-destination", artifacts, "--host", _HOST, "--port", str(port)]
    prefect = ["-m", "prefect", "server", "start", "--host", _HOST, "--port", str(prefect_port)]
    return [
        _Page("MLflow", port, "MLFLOW_TRACKING_URI", [sys.executable, *mlflow]),
        _Page("Prefect", prefect_port, "PREFECT_API_URL", [sys.executable, *prefect]),
    ]


def _pointed_to(page: _Page) -> bool:
    if address := os.environ.get(page.variable):
        shown = address if "@" not in address else "the server that it names"
        click.echo(f"{page.name}: {shown} ({page.variable})")
        return True
    return False


def _check_free(page: _Page) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, page.port))
        except OSError:
            option = "--port" if page.name == "MLflow" else "--prefect-port"
            raise WorkspaceError(f"{page.name}: port {page.port} is taken; choose another with {option}") from None


@contextmanager
def _running(workspace: Workspace, page: _Page, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    quiet = {"DO_NOT_TRACK": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    with log.open("wb") as output:
        # A session of its own, so that the server and its workers end together.
        server = subprocess.Popen(
            page.command,
            cwd=workspace.root,
            env={**_LEAN, **os.environ, **quiet},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield server
    finally:
        _end(server)


def _end(server: "subprocess.Popen[bytes]") -> None:
    for kind in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, kind)
            server.wait(_STOP_S)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _wait_until_up(page: _Page, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        _check_alive(page, server, log)
        with socket.socket() as probe:
            if probe.connect_ex((_HOST, page.port)) == 0:
                return
        time.sleep(0.2)
    raise WorkspaceError(f"{page.name}: did not answer on port {page.port}: {_last_line(log)}")


def _watch(running: list[tuple[_Page, "subprocess.Popen[bytes]"]], folder: Path) -> None:
    while True:
        for page, server in running:
            _check_alive(page, server, folder / page.name)
        time.sleep(0.5)


def _check_alive(page: _Page, server: "subprocess.Popen[bytes]", log: Path) -> None:
    if server.poll() is not None:
        raise WorkspaceError(f"{page.name}: the server ended by itself: {_last_line(log)}")


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it said nothing"
