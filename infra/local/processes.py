"""Processes that outlive the command which started them.

They are known by a mark in their environment, which their children inherit. So there are no files of process numbers
that could go stale or be lost, and what a server has started ends with it, even if the server itself was killed.
"""

import errno
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tasks.errors import ConfigError

_MARK = "FRUGAL_LOCAL_SERVER"
_STOP_S = 20.0


@dataclass(frozen=True)
class Process:
    """A server's process, by its name in a state folder."""

    name: str
    state: Path

    @property
    def log(self) -> Path:
        """What it has said."""
        return self.state / "logs" / f"{self.name}.log"

    @property
    def _mark(self) -> str:
        return f"{self.state}:{self.name}"

    def pid(self) -> int | None:
        """Its number while it runs."""
        # It leads a session; its children do not.
        return next((each.pid for each in self._family() if _leads(each.pid)), None)

    def start(self, command: Sequence[str], environment: Mapping[str, str], user: str | None = None) -> None:
        """Start it in a session of its own; what it says is appended to its log."""
        self.log.parent.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(handle, "ab") as output:
            started = subprocess.Popen(
                command,
                cwd=self.state,
                env={**environment, _MARK: self._mark},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                umask=0o077,
                user=user,
            )
        # One that ends while we still run is not to stay behind as a zombie.
        threading.Thread(target=started.wait, daemon=True).start()

    def stop(self, kind: signal.Signals = signal.SIGTERM) -> bool:
        """End it, and whatever it has started and not ended itself; False if nothing of it ran."""
        family = self._family()
        if (leader := self.pid()) is not None:
            with suppress(ProcessLookupError):
                os.kill(leader, kind)
            psutil.wait_procs([each for each in family if each.pid == leader], _STOP_S)
        for each in self._family():
            with suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(family, _STOP_S)
        return bool(family)

    def last_words(self) -> str:
        """The last line of its log."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1] if lines else "it said nothing"

    def _family(self) -> list[psutil.Process]:
        """All living processes that bear the mark."""
        # The environment of another user's process reads as None.
        living = psutil.process_iter(["environ"])
        return [each for each in living if (each.info["environ"] or {}).get(_MARK) == self._mark]


def _leads(pid: int) -> bool:
    """Whether a process leads a session; one that has just ended leads none."""
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False


def is_taken(host: str, port: int) -> bool:
    """Whether something listens there already.

    Raises:
        ConfigError: nothing of ours could ever listen there.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
            raise ConfigError(f"{host}:{port}: cannot listen there: {error.strerror}; FRUGAL_HOST says where") from None
    return False
