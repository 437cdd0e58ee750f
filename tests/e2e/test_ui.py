"""`frugal ui` as a user starts and ends it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command(root: Path, port: int) -> list[str]:
    return [str(Path(sys.executable).parent / "frugal"), "ui", "--workspace", str(root), "--port", str(port)]


@contextmanager
def ending(process: "subprocess.Popen[str]") -> Iterator[None]:
    """End a process with the block: one that a failed assertion leaves alone would be waited for."""
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)


def test_pages_are_served_on_this_machine_and_end_with_the_command(
    made: Path, tmp_path: Path, prefect_server: str
) -> None:
    root, port = shutil.copytree(made, tmp_path / "w", symlinks=True), free_port()
    environment = {**os.environ, "PREFECT_API_URL": prefect_server}
    with subprocess.Popen(command(root, port), stdout=subprocess.PIPE, text=True, env=environment) as ui, ending(ui):
        assert ui.stdout is not None
        assert ui.stdout.readline() == f"Prefect: {prefect_server} (PREFECT_API_URL)\n"
        assert ui.stdout.readline() == f"MLflow: http://127.0.0.1:{port}\n"
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=120) as page:
            assert "MLflow" in page.read().decode()
        family = psutil.Process(ui.pid).children(recursive=True)
        listening = {connection.laddr.ip for child in family for connection in child.net_connections("tcp4")}
        assert listening <= {"127.0.0.1"}
        ui.send_signal(signal.SIGINT)
        assert ui.wait(60) == 0
    psutil.wait_procs(family, timeout=10)
    assert not [child for child in family if child.is_running()]


def test_taken_port_is_one_line(made: Path, tmp_path: Path, prefect_server: str) -> None:
    root = shutil.copytree(made, tmp_path / "w", symlinks=True)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        environment = {**os.environ, "PREFECT_API_URL": prefect_server}
        done = subprocess.run(command(root, port), capture_output=True, text=True, env=environment)
    assert done.returncode == 2
    assert done.stderr == f"error: MLflow: port {port} is taken; choose another with --port\n"
