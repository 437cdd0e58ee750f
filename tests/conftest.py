"""Fresh things for each test."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

# Before torch is loaded: waiting threads that spin would slow down everything else on a small machine.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Where the tests run in several processes, each has a core of its own.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# What a shell starts in the background ignores interrupts, and so would the commands that are to be interrupted.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest
from hypothesis import settings

from tasks.config import Config, parse
from tasks.rounds import Workspace
from tests.pools import PRICES, make_workspace

# A machine that does other things as well may stop for longer than the default of 200 ms.
settings.register_profile("frugal", deadline=None)
settings.load_profile("frugal")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that are allowed the longest, so that at the end no process waits for another."""

    def allowed(item: pytest.Item) -> float:
        marker = item.get_closest_marker("timeout")
        return marker.args[0] if marker else 0

    longest: dict[Path, float] = {}
    for item in items:
        longest[item.path] = max(longest.get(item.path, 0), allowed(item))
    items.sort(key=lambda item: -longest[item.path])


@pytest.fixture
def config() -> Config:
    """A small valid configuration."""
    return parse({"name": "test", "prices": PRICES}, "test")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace whose loop has begun on a pool of 60 synthetic items of 3 classes; no round is open."""
    return make_workspace(tmp_path / "w")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace as `frugal init` leaves it, to be copied."""
    from flows.init import init

    root = tmp_path_factory.mktemp("made") / "w"
    init(root)
    return root


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one Prefect server for all tests that need one, on a database of its own."""
    from flows.server import embedded

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
        patch.delenv("PREFECT_API_URL", raising=False)
        with embedded() as server:
            server.wait()
            # To the tests it is a server that stays.
            patch.setattr("flows.server._ours", set())
            yield server.url
