"""The Prefect server of a command, for those who run none of their own: a temporary one, or one for schedules.

Prefect would start a temporary server itself, but only at the first flow and then with everyone waiting. Ours starts
first of all, so that its many imports overlap with our own, and it dies with us whatever happens. It keeps its
database in the user's Prefect home, where `prefect server start` shows the runs later. What it has to say goes to a
file there, removed after a clean end.
"""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

import psutil

from flows.masked import masked
from tasks.errors import FrugalError, WorkspaceError

_START_S, _STOP_S, _PROBE_S = 120.0, 5.0, 10.0
_OFF = ("SCHEDULER", "LATE_RUNS", "TRIGGERS", "FOREMAN", "PAUSE_EXPIRATIONS", "CANCELLATION_CLEANUP")
_QUIET = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT__SERVER_FINAL": "1"}
_TEMPORARY = _QUIET | {
    "PREFECT_SERVER_UI_ENABLED": "false",
    # `prefect server start` registers them; no flow of ours stores a block.
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
    "PREFECT__SERVER_EPHEMERAL": "1",
    # Deployments are the business of a server that stays.
    **{f"PREFECT_SERVER_SERVICES_{service}_ENABLED": "false" for service in _OFF},
}


class ServerError(FrugalError):
    """The Prefect server did not come up, or went away."""


@dataclass
class Server:
    """A Prefect server, ours or one that was there."""

    url: str
    _process: subprocess.Popen[bytes] | None = None
    _log: Path | None = None

    def wait(self) -> None:
        """Return once the server answers; one that was there before is not asked.

        Raises:
            ServerError: it did not come up.
        """
        if self._process is None:
            return
        opener = build_opener(ProxyHandler({}))
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with opener.open(f"{self.url}/health", timeout=2):
                    return
            except (URLError, OSError):
                time.sleep(0.05)
        raise ServerError(
            f"the Prefect server did not come up: {self._last_words()}; see {self._log}, "
            "or set PREFECT_API_URL to a server of your own"
        )

    def ended(self) -> str | None:
        """What a server of ours said last if it has ended by itself, else None."""
        return self._last_words() if self._process is not None and self._process.poll() is not None else None

    def _last_words(self) -> str:
        text = self._log.read_text(encoding="utf-8", errors="replace") if self._log else ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1] if lines else "it said nothing"


@contextmanager
def embedded() -> Iterator[Server]:
    """Make Prefect use a server for the length of the block: the one that is configured, else our own.

    Enter it before importing Prefect and before starting threads, and call ``wait`` before the first flow.
    """
    if (configured := _configured()) is not None:
        yield configured
        return
    with _started(_TEMPORARY) as started:
        _ours.add(started.url)
        try:
            yield started
        finally:
            _ours.discard(started.url)


@contextmanager
def scheduling(port: int) -> Iterator[Server]:
    """As ``embedded``, but our own server has all services, which schedules need, and its pages, on ``port``.

    Raises:
        WorkspaceError: the port is taken.
    """
    if (configured := _configured()) is not None:
        yield configured
        return
    with _started(_QUIET, port) as started:
        yield started


@contextmanager
def _started(settings: dict[str, str], port: int = 0) -> Iterator[Server]:
    log = home() / f"frugal-loop-server-{os.getpid()}.log"
    with ExitStack() as stack:
        process, url = _start(log, settings, port)
        stack.callback(_stop, process, log)
        stack.enter_context(_used(url))
        yield Server(url, process, log)


def _configured() -> Server | None:
    if url := configured_url():
        _probe(url)
        return Server(url)
    return None


#: The servers that live only as long as this process.
_ours: set[str] = set()


def lends_slots() -> bool:
    """Whether concurrency slots may be occupied: a temporary server never takes back those of a run that was killed."""
    return not _ours


@contextmanager
def needed() -> Iterator[None]:
    """Turn the loss of the server within the block, for longer than Prefect tries again, into an error of one line.

    Raises:
        ServerError: the server is gone, or does not take our credentials.
    """
    from httpx import HTTPError, HTTPStatusError

    try:
        yield
    except HTTPError as lost:
        if isinstance(lost, HTTPStatusError) and lost.response.status_code in (401, 403):
            raise ServerError(
                f"the Prefect server refuses us (HTTP status {lost.response.status_code}); set "
                "PREFECT_API_AUTH_STRING, or PREFECT_API_KEY, to what it asks for"
            ) from None
        raise ServerError(
            f"the Prefect server went away in mid-run ({masked(str(lost))}); what is finished is kept, and the same "
            "command goes on"
        ) from None
    except RuntimeError as unknown:
        # Prefect's own words when it looks at the server's release.
        if not str(unknown).startswith(("Failed to reach API", "Found incompatible versions")):
            raise
        raise ServerError(
            f"no Prefect server that we understand answers ({masked(str(unknown))}); correct PREFECT_API_URL or your "
            "Prefect profile, and type the same command again"
        ) from None


def _probe(url: str) -> None:
    """Refuse a configured server that cannot be reached; any answer will do, it may ask for credentials first."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        with socket.create_connection((parts.hostname or "", port), timeout=_PROBE_S):
            return
    except ValueError:
        # Its words would quote the address, which may hold a password.
        raise ServerError(
            "PREFECT_API_URL, or your Prefect profile, holds no valid address; give one such as "
            "http://127.0.0.1:4200/api, with special characters of a password percent-encoded"
        ) from None
    except OSError as error:
        # The address itself may hold a password.
        raise ServerError(
            f"the Prefect server that PREFECT_API_URL or your Prefect profile names, at {parts.hostname}, does not "
            f"answer ({error}); start it, or unset the variable to use one of our own"
        ) from None


def configured_url() -> str | None:
    """The server that the environment or the user's active Prefect profile names."""
    if url := os.environ.get("PREFECT_API_URL"):
        return url
    try:
        profiles = tomllib.loads(Path(os.environ.get("PREFECT_PROFILES_PATH") or home() / "profiles.toml").read_text())
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ServerError(f"{home() / 'profiles.toml'}: cannot be read ({error}); mend or remove it") from None
    active = os.environ.get("PREFECT_PROFILE") or profiles.get("active")
    profile = profiles.get("profiles", {}).get(active, {})
    return profile.get("PREFECT_API_URL") or None


def home() -> Path:
    """The user's Prefect folder."""
    return Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect").expanduser()


def _start(log: Path, settings: dict[str, str], port: int) -> tuple[subprocess.Popen[bytes], str]:
    log.parent.mkdir(parents=True, exist_ok=True)
    _remove_old_logs(log.parent)
    with socket.socket() as listener, log.open("wb") as output:
        # The port is ours from the start, and whoever connects early waits instead of failing.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen(128)
        except OSError:
            raise WorkspaceError(f"Prefect: port {port} is taken; choose another with --port") from None
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.server", str(listener.fileno()), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[listener.fileno()],
            # An interrupt from the terminal is ours to handle.
            start_new_session=True,
            env={
                **os.environ,
                **settings,
                "PREFECT_UI_API_URL": url,
                "PREFECT_UI_URL": url.removesuffix("/api"),
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            },
        )
        return process, url


def _remove_old_logs(folder: Path) -> None:
    """Remove what the servers of killed commands have left."""
    for log in folder.glob("frugal-loop-server-*.log"):
        pid = log.stem.rpartition("-")[2]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            log.unlink(missing_ok=True)


@contextmanager
def _used(url: str) -> Iterator[None]:
    """Send this process's Prefect to ``url``, already imported or not."""
    local = ",".join(filter(None, [os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), "127.0.0.1"]))
    wanted = {"PREFECT_API_URL": url, "NO_PROXY": local, "no_proxy": local, "DO_NOT_TRACK": "1"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        if "prefect" in sys.modules:
            from prefect.settings import PREFECT_API_URL, temporary_settings

            with temporary_settings({PREFECT_API_URL: url}):
                yield
        else:
            yield
    finally:
        _flush()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _flush() -> None:
    """Let Prefect send what it still has, while there is somebody to take it."""
    if "prefect.events.worker" in sys.modules:
        from prefect.events.worker import EventsWorker

        EventsWorker.drain_all(timeout=_STOP_S)
    if "prefect.logging.handlers" in sys.modules:
        from prefect.logging.handlers import APILogWorker

        APILogWorker.drain_all(timeout=_STOP_S)


def _stop(process: subprocess.Popen[bytes], log: Path) -> None:
    failed = process.poll() is not None
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if not failed:
        log.unlink(missing_ok=True)


def die_with(parent: int) -> None:
    """Have the kernel end this process when ``parent`` ends, even by SIGKILL; end it now if it is no child of that."""
    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


def _serve(listener: socket.socket) -> None:
    import uvicorn
    from prefect.server.api.server import create_app

    with (home() / "frugal-loop.lock").open("w") as lock:
        # Two servers must not both build the tables of a new database.
        fcntl.flock(lock, fcntl.LOCK_EX)

        class Quiet(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                fcntl.flock(lock, fcntl.LOCK_UN)

        Quiet(uvicorn.Config(create_app, factory=True, log_level="error", lifespan="on")).run([listener])


if __name__ == "__main__":
    die_with(int(sys.argv[2]))
    _serve(socket.socket(fileno=int(sys.argv[1])))
