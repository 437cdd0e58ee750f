"""What it takes to record a round in MLflow when there are few rounds before it, and when there are hundreds.

    python benchmarks/record.py [--quick] [--out benchmarks/results]

Small files in the true format stand for the rounds, so that nothing else is timed. Each round is recorded as soon as it
is there, into the workspace's own database and into a server of this machine by HTTP; last, all rounds are caught up
with at once, as after an outage. In wall seconds. The last line printed is one JSON object.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import harness
import pytest

# The rounds and the server are those of the tests.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from flows.record import tracking
from tasks.rounds import Workspace
from tests.mlflow_helpers import serving
from tests.record_helpers import add_round, make_workspace
from tests.test_record_mlflow import summary

#: Rounds at each end whose times are compared.
_WINDOW = 10


def main() -> None:
    """Measure, print, and keep the result if asked to."""
    options = harness.parser(__doc__, quick="30 rounds instead of 300").parse_args()
    rounds = 30 if options.quick else 300
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        place = Path(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        workspace = made(place / "loop", rounds)
        found = {"sqlite": one_by_one(workspace, rounds)}
        with serving(place) as server:
            patch.setenv("MLFLOW_TRACKING_URI", server.uri)
            found["http"] = one_by_one(workspace, rounds)
        patch.delenv("MLFLOW_TRACKING_URI")
        workspace = made(place / "missed", rounds)
        began = time.perf_counter()
        record(workspace, range(rounds))
        catch_up_s = time.perf_counter() - began
    figures: dict[str, Any] = {
        "rounds": rounds,
        "n": _WINDOW,
        "first_s": {name: figure(times[1 : 1 + _WINDOW]) for name, times in found.items()},
        "last_s": {name: figure(times[-_WINDOW:]) for name, times in found.items()},
        "catch_up_sqlite_s": round(catch_up_s, 2),
    }
    harness.publish("record", figures, options, ("mlflow", "sqlalchemy"))


def made(root: Path, rounds: int) -> Workspace:
    """A loop of so many finished rounds, none of them recorded."""
    workspace = make_workspace(root, record={"git": "off", "dvc": False})
    for number in range(rounds):
        add_round(workspace, number)
    return workspace


def one_by_one(workspace: Workspace, rounds: int) -> list[float]:
    """Wall seconds of each round, with the search for what is missing before it."""
    times = []
    for number in range(rounds):
        began = time.perf_counter()
        record(workspace, [number])
        times.append(time.perf_counter() - began)
    return times


def record(workspace: Workspace, numbers: Sequence[int]) -> None:
    """What a catch-up does in MLflow."""
    known = tracking.recorded_rounds(workspace)
    for number in numbers:
        assert number not in known
        tracking.record_round(workspace, number, summary(number))


def figure(times: Sequence[float]) -> dict[str, float]:
    """Median, smallest and largest."""
    return {name: round(of(times), 3) for name, of in (("median", statistics.median), ("min", min), ("max", max))}


if __name__ == "__main__":
    main()
