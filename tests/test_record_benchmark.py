"""What benchmarks/mnist_loop.py makes of its runs."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tasks import files

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def mnist_loop(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("mnist_loop")


@pytest.fixture
def state(mnist_loop: ModuleType, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    now = {"state": "empty"}
    monkeypatch.setattr(mnist_loop, "status", lambda _place: now)
    return now


def sleeping(seconds: float, exit_code: int = 0) -> list[str]:
    return [sys.executable, "-c", f"import sys, time\ntime.sleep({seconds})\nsys.exit({exit_code})"]


def test_the_pieces_of_a_run_are_summed(mnist_loop: ModuleType, state: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        mnist_loop.wall_s(tmp_path, sleeping(0.4, exit_code=1))
    state["state"] = "interrupted"
    both = mnist_loop.wall_s(tmp_path, sleeping(0.3))
    assert both >= 0.7
    state["state"] = "finished"
    assert mnist_loop.wall_s(tmp_path, ["not run again"]) == both


def test_a_piece_that_nobody_counted_leaves_the_sum_open(
    mnist_loop: ModuleType, state: dict[str, str], tmp_path: Path
) -> None:
    files.write_json(tmp_path / "data" / "raw" / "pieces_s.json", [1.0, None])
    state["state"] = "interrupted"
    assert mnist_loop.wall_s(tmp_path, sleeping(0)) is None
    state["state"] = "finished"
    assert mnist_loop.wall_s(tmp_path, ["not run again"]) is None
    # A run of which no piece is known, and one that was killed before it began.
    (tmp_path / "data" / "raw" / "pieces_s.json").unlink()
    assert mnist_loop.wall_s(tmp_path, sleeping(0)) is None
    state["state"] = "empty"
    assert mnist_loop.wall_s(tmp_path, sleeping(0)) is not None


def test_the_interval_is_students(mnist_loop: ModuleType) -> None:
    assert mnist_loop.interval([0.9]) is None
    # The textbook's points for 2, 5 and 29 degrees of freedom: 4.303, 2.571, 2.045.
    for values, point in (([1.0, 2.0, 3.0], 4.3027), ([0.0, 1.0] * 3, 2.5706), ([0.0, 1.0] * 15, 2.0452)):
        deviation = (sum((value - sum(values) / len(values)) ** 2 for value in values) / (len(values) - 1)) ** 0.5
        assert mnist_loop.interval(values) == pytest.approx(point * deviation / len(values) ** 0.5, abs=1e-4)


def test_the_published_figures_are_those_of_the_code(mnist_loop: ModuleType) -> None:
    kept: dict[str, Any] = json.loads((BENCHMARKS / "results" / "mnist_loop.json").read_text())
    assert kept["targets"].keys() <= kept.keys() | {"accuracy"}
    assert kept["frugal_peak_memory_mb"] < kept["targets"]["frugal_peak_memory_mb"]
    for rows in kept["arms"].values():
        assert [row["ci95"] for row in rows] == [mnist_loop.interval(row["values"]) for row in rows]
