"""The endpoint that a labelling server calls."""

import http.client
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest

from flows import webhook
from tasks.errors import ConfigError
from tasks.label.label_studio.webhook import HEADER

SECRET = "0123456789abcdef-planted"


class Count:
    """Counts its calls; ``wait`` waits for one more than there were."""

    def __init__(self) -> None:
        self.calls, self.more = 0, threading.Semaphore(0)

    def __call__(self) -> None:
        self.calls += 1
        self.more.release()

    def wait(self) -> bool:
        return self.more.acquire(timeout=10)


@contextmanager
def endpoint(patch: pytest.MonkeyPatch, on_event: Callable[[], None], pause: float = 0.0) -> Iterator[str]:
    patch.setenv(webhook.SECRET, SECRET)
    with webhook.listening(on_event, pause=pause) as address:
        yield address


def call(address: str, secret: str | None = SECRET, content: bytes = b"{}") -> int:
    headers = {} if secret is None else {HEADER: secret}
    return httpx.post(address, headers=headers, content=content, trust_env=False).status_code


def test_a_call_with_the_secret_is_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    count = Count()
    with endpoint(monkeypatch, count) as address:
        assert address.startswith("http://127.0.0.1:")
        assert call(address) == 204
        assert count.wait()
        assert call(address, content=b"not JSON at all \xff") == 204
        assert count.wait()
    assert count.calls == 2


@pytest.mark.parametrize("secret", [None, "", "0123456789abcdef-plante", SECRET + "x", "é" * 20])
def test_a_call_without_the_secret_is_refused_and_is_no_event(
    monkeypatch: pytest.MonkeyPatch, secret: str | None
) -> None:
    count = Count()
    with endpoint(monkeypatch, count) as address:
        port = httpx.URL(address).port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        headers = {} if secret is None else {HEADER: secret.encode()}
        connection.request("POST", "/", body=b"{}", headers=headers)
        assert connection.getresponse().status == 403
        connection.close()
        time.sleep(0.1)
    assert count.calls == 0


@pytest.mark.parametrize(
    ("length", "status"), [("2000000", 413), ("9" * 5000, 413), ("-1", 411), ("x", 411), ("", 411)]
)
def test_a_body_without_bounds_is_not_read(monkeypatch: pytest.MonkeyPatch, length: str, status: int) -> None:
    count = Count()
    with endpoint(monkeypatch, count) as address:
        connection = http.client.HTTPConnection("127.0.0.1", httpx.URL(address).port, timeout=10)
        connection.putrequest("POST", "/")
        connection.putheader(HEADER, SECRET)
        connection.putheader("Content-Length", length)
        connection.endheaders()
        assert connection.getresponse().status == status
        connection.close()
    assert count.calls == 0


def test_other_methods_are_not_served(monkeypatch: pytest.MonkeyPatch) -> None:
    with endpoint(monkeypatch, Count()) as address:
        assert httpx.get(address, headers={HEADER: SECRET}, trust_env=False).status_code == 501


def test_many_calls_at_once_are_one_event_and_the_last_of_them_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    busy, go = threading.Event(), threading.Event()
    count = Count()

    def slow() -> None:
        busy.set()
        go.wait(10)
        count()

    with endpoint(monkeypatch, slow, pause=0.05) as address:
        for _ in range(5):
            assert call(address) == 204
        assert busy.wait(10)
        # The event is being dealt with, and may not see any more what these tell.
        for _ in range(5):
            assert call(address) == 204
        go.set()
        assert count.wait()
        assert count.wait()
        time.sleep(0.3)
    assert count.calls == 2


def test_an_event_that_fails_does_not_end_the_endpoint_and_nothing_logs_the_secret(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    count = Count()

    def failing() -> None:
        count()
        raise OSError("the server is away: http://user:hunter2@127.0.0.1:4200/api")

    with endpoint(monkeypatch, failing) as address:
        for _ in range(2):
            assert call(f"{address}?{SECRET}") == 204
            assert count.wait()
    assert "the server is away: http://***@127.0.0.1:4200/api" in caplog.text
    assert "hunter2" not in caplog.text
    written = capfd.readouterr()
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    assert SECRET not in "".join(ours) + written.out + written.err


@pytest.mark.parametrize("secret", ["", "short", "with a blank in its midst", "ümläut-ümläut-ümläut"])
def test_a_secret_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    monkeypatch.setenv(webhook.SECRET, secret)
    with pytest.raises(ConfigError, match="FRUGAL_WEBHOOK_SECRET: must be 16 or more"), webhook.listening(Count()):
        pass


def test_a_port_that_is_taken_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with endpoint(monkeypatch, Count()) as address:
        port = httpx.URL(address).port
        assert port is not None
        with pytest.raises(ConfigError, match="cannot listen there"), webhook.listening(Count(), port=port):
            pass
