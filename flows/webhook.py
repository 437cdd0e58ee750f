"""A small HTTP endpoint that a labelling server calls when something has happened there.

It tells nothing and trusts nothing: a call that carries the shared secret only means that it is worth looking.
"""

import hmac
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from flows.masked import masked
from tasks.errors import ConfigError
from tasks.label.label_studio.webhook import HEADER

#: The environment variable with the secret that both sides know.
SECRET = "FRUGAL_WEBHOOK_SECRET"  # noqa: S105 - its name
#: Fewer characters can be guessed.
_SHORTEST = 16
#: Bytes of a body, which is thrown away; seconds for a caller to send it.
_LARGEST, _PATIENCE_S = 1 << 20, 10.0

_log = logging.getLogger(__name__)


def secret() -> str:
    """The shared secret.

    Raises:
        ConfigError: there is none in the environment, or it is too short to be one.
    """
    found = os.environ.get(SECRET, "")
    if len(found) < _SHORTEST or not found.isascii() or not found.isprintable() or " " in found:
        raise ConfigError(
            f"{SECRET}: must be {_SHORTEST} or more letters and digits, such as those of `openssl rand -hex 16`"
        )
    return found


@contextmanager
def listening(
    on_event: Callable[[], None], host: str = "127.0.0.1", port: int = 0, pause: float = 1.0
) -> Iterator[str]:
    """Call ``on_event`` soon after each valid call, in a thread of its own; the endpoint's address.

    Calls that come within ``pause`` seconds, or while ``on_event`` is at work, are one event. What it raises is logged.

    Raises:
        ConfigError: there is no secret, or the port is taken.
    """
    bell = _Bell(on_event, pause)
    handler = type("Handler", (_Handler,), {"secret": secret().encode(), "ring": bell.ring})
    try:
        server = _Server((host, port), handler)
    except OSError as error:
        raise ConfigError(f"{host}:{port}: cannot listen there ({error.strerror}); choose another port") from None
    threads = [
        threading.Thread(target=server.serve_forever, daemon=True),
        threading.Thread(target=bell.run, daemon=True),
    ]
    for thread in threads:
        thread.start()
    try:
        yield f"http://{host}:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        bell.stop()
        for thread in threads:
            thread.join()


class _Bell:
    """Turns any number of rings into as few calls as will do: after the last ring there is always one more."""

    def __init__(self, call: Callable[[], None], pause: float) -> None:
        self._call, self._pause = call, pause
        self._rung, self._ended = threading.Event(), threading.Event()

    def ring(self) -> None:
        self._rung.set()

    def stop(self) -> None:
        self._ended.set()
        self._rung.set()

    def run(self) -> None:
        while True:
            self._rung.wait()
            if self._ended.wait(self._pause):
                return
            # Before the call: what rings during it may have come too late for it.
            self._rung.clear()
            try:
                self._call()
            except Exception as error:
                # Whatever it was, the next call is to be heard. An address in its words may hold a password.
                _log.error(
                    "the webhook's event could not be acted on: %s: %s", type(error).__name__, masked(str(error))
                )


class _Server(ThreadingHTTPServer):
    daemon_threads = True


class _Handler(BaseHTTPRequestHandler):
    """Answers at once, and tells a stranger nothing."""

    secret: bytes
    ring: Callable[[], None]
    server_version, sys_version = "frugal", ""
    timeout = _PATIENCE_S

    def do_POST(self) -> None:
        self.close_connection = True
        given = self.headers.get(HEADER, "").encode("latin-1", "replace")
        if not hmac.compare_digest(given, self.secret):
            return self._answer(HTTPStatus.FORBIDDEN)
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            return self._answer(HTTPStatus.LENGTH_REQUIRED)
        # Compared as text first: Python reads no number of thousands of digits.
        if len(length) > len(str(_LARGEST)) or int(length) > _LARGEST:
            return self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        self.rfile.read(int(length))
        type(self).ring()
        return self._answer(HTTPStatus.NO_CONTENT)

    def _answer(self, status: HTTPStatus) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what a request says is a stranger's words, or the secret."""
