"""A Prefect server with all its services, a worker, and what they were told."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from tasks import files
from tasks.rounds import Workspace
from tests.pools import column

BIN = Path(sys.executable).parent


def wait_for(what: str, done: Callable[[], Any], seconds: float = 90) -> Any:
    """What ``done`` gives as soon as that is something."""
    deadline = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.1)
    return found


@contextmanager
def background(log: Path, *command: str | Path, **environment: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A program of this environment that ends with the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **environment},
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def frozen(workspace: Workspace) -> Iterator[None]:
    """The process that works in a workspace stands still for the length of the block, however long that is."""
    pid = json.loads((workspace.root / "data" / ".lock").read_text())["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        # It may have been killed meanwhile.
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@contextmanager
def listener() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """An address that takes notifications as JSON, and those that came."""
    came: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_address[1]}/", came
        http.shutdown()


def answer_all(workspace: Workspace, round_: int) -> None:
    """Lay a file of answers beside a round's tasks: the true labels."""
    ids = column(workspace.round_dir(round_) / "selected.parquet", "id")
    oracle = files.read_table(workspace.pool / "oracle.parquet", ["id", "label"]).to_pylist()
    truth = {row["id"]: row["label"] for row in oracle}
    classes = files.read_json(workspace.pool / "pool.json")["classes"]
    rows = "".join(f"{id_},{classes[truth[id_]]}\n" for id_ in ids)
    (workspace.round_dir(round_) / "labels.csv").write_text(f"id,label\n{rows}")


def billed(workspace: Workspace, round_: int) -> set[str]:
    """The stages of a round that have finished."""
    path = workspace.round_dir(round_) / "cost.json"
    return set(files.read_json(path)["stages"]) if path.exists() else set()
