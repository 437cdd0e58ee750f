"""Fresh things for each test."""

from pathlib import Path

import pytest

from tasks.config import Config, parse
from tasks.rounds import Workspace
from tests.pools import PRICES, make_workspace


@pytest.fixture
def config() -> Config:
    """A small valid configuration."""
    return parse({"name": "test", "prices": PRICES}, "test")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace whose loop has begun on a pool of 60 synthetic items of 3 classes; no round is open."""
    return make_workspace(tmp_path / "w")
