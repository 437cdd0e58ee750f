"""A Label Studio server of the tests' own, in an environment and on a database of its own."""

import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

VERSION = "1.23.2"
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "frugal-loop" / f"label-studio-{VERSION}"
_TOKEN, _PASSWORD = "0123456789abcdef0123456789abcdef01234567", "not-a-secret"
ANN, BOB = "ann@example.com", "bob@example.com"
_START_S = 240


def program() -> Path:
    """`label-studio`, installed once for all runs; skips where it cannot be, but not in CI."""
    _CACHE.mkdir(parents=True, exist_ok=True)
    # Beside the environment, whose own lock uv takes.
    with (_CACHE.parent / f"{_CACHE.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (_CACHE / ".ready").exists():
            _install()
    return _CACHE / "bin" / "label-studio"


def _install() -> None:
    uv = str(Path(sys.executable).parent / "uv")
    make = [uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(_CACHE)]
    fill = [uv, "pip", "install", "--quiet", "--python", str(_CACHE / "bin" / "python"), f"label-studio=={VERSION}"]
    for command in (make, fill):
        done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
        if done.returncode and "CI" not in os.environ:
            pytest.skip(f"label-studio cannot be installed: {done.stderr.strip().splitlines()[-1:]}")
        assert done.returncode == 0, done.stderr
    (_CACHE / ".ready").touch()


@dataclass
class Studio:
    """One server, which may be stopped and started again on what it holds."""

    folder: Path
    port: int
    token: str = _TOKEN
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [str(program()), "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(self.port)]
        user = ["--username", ANN, "--password", _PASSWORD, "--user-token", _TOKEN]
        environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ},
            "LABEL_STUDIO_BASE_DATA_DIR": str(self.folder),
            "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
            # Else it calls no webhook on this machine.
            "USE_DEFAULT_BANNED_SUBNETS": "false",
            "SENTRY_DSN": "",
            "FRONTEND_SENTRY_DSN": "",
            "COLLECT_ANALYTICS": "false",
        }
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *user],
                env=environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until = time.monotonic() + _START_S
        while not self._is_up():
            assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
            assert time.monotonic() < until, "Label Studio did not start in time"
            time.sleep(0.3)

    def _is_up(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=5, trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def stop(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(30)
            self.process = None

    def user(self, token: str = _TOKEN) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Token {token}"}, timeout=60, trust_env=False)

    def invite(self, email: str) -> str:
        """A second user, who signs up by the link of an invitation; the user's token."""
        with self.user() as ann:
            link = ann.get("/api/invite").raise_for_status().json()["invite_url"]
        with self.session(email, link) as session:
            return str(session.get("/api/current-user/token").raise_for_status().json()["token"])

    @contextmanager
    def session(self, email: str, page: str = "/user/login/") -> Iterator[httpx.Client]:
        """As a browser that has logged in, or signed up at ``page``."""
        with httpx.Client(base_url=self.url, timeout=60, trust_env=False, headers={"Referer": self.url}) as session:
            found = re.search(r'csrfmiddlewaretoken" value="(\w+)"', session.get(page).raise_for_status().text)
            assert found is not None
            form = {"email": email, "password": _PASSWORD, "csrfmiddlewaretoken": found[1]}
            assert session.post(page, data=form).status_code == 302
            yield session


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def begin(folder: Path) -> Studio:
    """A server on an empty database."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    studio = Studio(folder, free_port())
    studio.start()
    return studio


def annotate(user: httpx.Client, task: int, choice: str | None, seconds: float = 2.0) -> dict[str, Any]:
    """What the page sends when somebody has chosen, or skipped."""
    result = [] if choice is None else _result(choice)
    body = {"result": result, "lead_time": seconds, "was_cancelled": choice is None}
    made: dict[str, Any] = user.post(f"/api/tasks/{task}/annotations/", json=body).raise_for_status().json()
    return made


def edit(user: httpx.Client, annotation: int, choice: str) -> None:
    """What the page sends when somebody has thought again."""
    user.patch(f"/api/annotations/{annotation}/", json={"result": _result(choice)}).raise_for_status()


def _result(choice: str) -> list[dict[str, Any]]:
    return [{"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": [choice]}}]
