"""How long work tells that it advances, without knowing who listens."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol


class Progress(Protocol):
    """Somebody who shows progress: a terminal bar, plain lines, nothing."""

    def start(self, label: str, total: int) -> None:
        """A piece of work of ``total`` units begins."""

    def advance(self, units: int, note: str = "") -> None:
        """``units`` more are done; ``note`` says what is worth knowing now."""

    def finish(self) -> None:
        """The piece of work is over, done or not."""


class Silent:
    """Shows nothing."""

    def start(self, label: str, total: int) -> None:
        """Show nothing."""

    def advance(self, units: int, note: str = "") -> None:
        """Show nothing."""

    def finish(self) -> None:
        """Show nothing."""


_listener: ContextVar[Progress] = ContextVar("progress", default=Silent())  # noqa: B039 - Silent has no state


@contextmanager
def shown_by(listener: Progress) -> Iterator[None]:
    """Send the block's progress to ``listener``."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def task(label: str, total: int) -> Iterator[Progress]:
    """Announce ``total`` units of work; the block calls ``advance`` on what it gets."""
    listener = _listener.get()
    listener.start(label, total)
    try:
        yield listener
    finally:
        listener.finish()
