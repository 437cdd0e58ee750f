"""A real MLflow server that a test can stop, freeze and start again."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_START_S = 240.0


class Server:
    """On a free port of this machine, with its database and files in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = {"--backend-store-uri": f"sqlite:///{self._folder}/mlflow.db", "--workers": "1"}
        options |= {"--artifacts-destination": str(self._folder / "files"), "--host": "127.0.0.1"}
        options |= {"--port": str(self._port)}
        lean = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
        lean["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
        environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"} | lean
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *(word for pair in options.items() for word in pair)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_S
        while not self._answers():
            assert self._process.poll() is None, (self._folder / "server.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def kill(self) -> None:
        """End it and its workers at once, whatever they are doing."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """For the length of the block it takes connections and never answers."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self._process.pid, signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=2):
                return True
        except OSError:
            return False


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """A server for the length of the block."""
    server = Server(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()
