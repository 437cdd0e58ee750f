"""What exact greedy k-centers costs: 5,000 picks among 50,000 points, 1,000 more are labelled.

    python benchmarks/kcenter.py [--quick] [--peer PYTHON] [--out benchmarks/results]

The features are synthetic: 100 Gaussian clusters of unit variance whose centres are standard normal, float32. The
product stands beside a plain loop (for each pick one matrix-vector product in float32 by PyTorch, a running minimum and
an arg max) and beside scikit-activeml's `CoreSet`, whose time for all picks is extrapolated from a few: a pick costs
the same each time, and the two batches of `PEER_PICKS` give the slope. Each measurement is a process of its own; the
sides take turns, each turn gives one ratio of wall seconds, and the median is published; that of CPU seconds stands
beside it. Memory is the peak of what is resident above what the process held with the features in memory and the
libraries warm. `same_picks` compares the product's picks with those of the same plain loop in float64, whose rounding
is too small to matter; in float32 the loop itself may swap two points that are nearly as far. Threads: as
OMP_NUM_THREADS says, else all cores. scikit-activeml needs an environment of its own:

    uv venv E && uv pip install --python E scikit-activeml==1.0.1

and --peer E/bin/python. The last line printed is one JSON object.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# What only our side needs is imported where it is used: the peer's environment does not have it.

ROOT = Path(__file__).resolve().parent.parent
TARGETS = {"vs_skactiveml": 25, "vs_one_at_a_time": 12, "same_picks": True, "extra_mb": 300}
CLUSTERS = 100
PEER_PICKS = (10, 50)
TURNS = 3


@dataclass(frozen=True)
class Case:
    """A pool of n points of d features with m labelled ones, and b picks."""

    n: int
    d: int
    b: int
    m: int


CASES = {"d512": Case(50_000, 512, 5_000, 1_000), "d64": Case(50_000, 64, 5_000, 1_000)}
QUICK = {"d512": Case(10_000, 512, 500, 200), "d64": Case(10_000, 64, 500, 200)}
GROWTH = {
    "n": [Case(n, 512, 2_500, 1_000) for n in (12_500, 25_000, 50_000)],
    "b": [Case(50_000, 512, b, 1_000) for b in (1_250, 2_500, 5_000)],
    "m": [Case(50_000, 512, 2_500, m) for m in (0, 1_000, 10_000)],
}


def main() -> None:
    """Measure, print, and keep the result if asked to."""
    if "--worker" in sys.argv:
        side, *numbers = sys.argv[sys.argv.index("--worker") + 1 :]
        print(json.dumps(work(side, Case(*map(int, numbers)))))
        return
    from benchmarks import harness

    parser = harness.parser(__doc__, "10,000 points, 500 picks, one turn, no growth; under a minute")
    parser.add_argument("--peer", metavar="PYTHON", default=sys.executable, help="interpreter that has scikit-activeml")
    options = parser.parse_args()
    began = time.perf_counter()
    peer = versions_of(options.peer)
    cases = {
        name: compare(case, options, has_peer=peer is not None)
        for name, case in (QUICK if options.quick else CASES).items()
    }
    main_case = cases["d512"]
    figures = {
        "vs_skactiveml": main_case.get("skactiveml", {}).get("wall_ratio"),
        "vs_one_at_a_time": main_case["one_at_a_time"]["wall_ratio"],
        "same_picks": all(case["same_picks"] for case in cases.values()),
        "extra_mb": main_case["ours"]["extra_mb"],
        "targets": TARGETS,
        "cases": cases,
        "growth": {} if options.quick else {name: [alone(case) for case in row] for name, row in GROWTH.items()},
        "clusters": CLUSTERS,
        "peer": peer,
        "peer_picks": PEER_PICKS,
        "load_average": os.getloadavg()[0],
        "wall_s": round(time.perf_counter() - began, 1),
    }
    harness.publish("kcenter", figures, options, ("torch", "numpy"))


def versions_of(python: str) -> dict[str, str] | None:
    """Of scikit-activeml and scikit-learn in its environment; None, and a line about it, where it is missing."""
    code = "import json; from importlib.metadata import version; "
    code += "print(json.dumps({name: version(name) for name in ('scikit-activeml', 'scikit-learn', 'numpy')}))"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True)
    if found.returncode:
        print(f"{python} has no scikit-activeml, so it is left out; --help says how to get it", file=sys.stderr)
        return None
    return json.loads(found.stdout.splitlines()[-1])


def compare(case: Case, options: argparse.Namespace, has_peer: bool) -> dict[str, Any]:
    """Let the sides take turns; figures of each, how they compare with ours, and whether the picks are right."""
    pythons = {"ours": sys.executable, "one_at_a_time": sys.executable}
    if has_peer:
        pythons["skactiveml"] = options.peer
    turns = [
        {side: run(python, side, case) for side, python in pythons.items()}
        for _ in range(1 if options.quick else TURNS)
    ]
    picks = {side: turns[0][side]["picks"] for side in pythons} | {
        "one_at_a_time_float64": run(sys.executable, "one_at_a_time_float64", case)["picks"]
    }
    figures = {side: summary(side, turns) | agreement(picks["ours"], picks[side]) for side in pythons}
    exact = agreement(picks["ours"], picks["one_at_a_time_float64"])
    repeated = all(turn["ours"]["picks"] == picks["ours"] for turn in turns)
    return vars(case) | {"same_picks": exact["alike_until"] == case.b and repeated} | figures


def agreement(ours: list[int], theirs: list[int]) -> dict[str, Any]:
    """The first pick that differs (their number if none does), and the share of theirs among as many of ours."""
    alike = next((at for at, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), len(theirs))
    shared = len(set(ours[: len(theirs)]) & set(theirs))
    return {"picks_made": len(theirs), "alike_until": alike, "in_common": round(shared / len(theirs), 4)}


def summary(side: str, turns: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians and extremes over the turns of one side, and of the ratio to ours."""
    figures: dict[str, Any] = {"turns": len(turns), "extra_mb": max(turn[side]["extra_mb"] for turn in turns)}
    for clock in ("wall", "cpu"):
        seconds = [turn[side][f"{clock}_s"] for turn in turns]
        figures[f"{clock}_s"] = round(statistics.median(seconds), 3)
        figures[f"{clock}_s_spread"] = [round(min(seconds), 3), round(max(seconds), 3)]
        if side != "ours":
            ratios = [turn[side][f"{clock}_s"] / turn["ours"][f"{clock}_s"] for turn in turns]
            figures[f"{clock}_ratio"] = round(statistics.median(ratios), 1)
            figures[f"{clock}_ratio_spread"] = [round(min(ratios), 1), round(max(ratios), 1)]
    return figures


def alone(case: Case) -> dict[str, Any]:
    """Our seconds and memory in one case; the median of a few processes."""
    turns = [{"ours": run(sys.executable, "ours", case)} for _ in range(TURNS)]
    return vars(case) | summary("ours", turns)


def run(python: str, side: str, case: Case) -> dict[str, Any]:
    """What a process of its own measures."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    numbers = [str(number) for number in vars(case).values()]
    command = [python, str(Path(__file__).resolve()), "--worker", side, *numbers]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{case}, {side}: {done.stderr.strip()}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(case, side, {name: value for name, value in result.items() if name != "picks"}, file=sys.stderr, flush=True)
    return result


#: Rows that are picked, counted from the first unlabelled one; of (rows, how many of them are labelled, picks).
Pick = Callable[[np.ndarray, int, int], list[int]]


def work(side: str, case: Case) -> dict[str, Any]:
    """Measure one side of one case in this process."""
    rows = features(case)
    pick: Pick = {
        "ours": ours,
        "one_at_a_time": one_at_a_time,
        "one_at_a_time_float64": one_at_a_time_float64,
        "skactiveml": skactiveml,
    }[side]
    # Libraries and their threads are no part of what is measured.
    pick(rows[:500], 10, 2)
    held = resident_from_here()
    if side != "skactiveml":
        took, picks = timed(pick, rows, case.m, case.b)
        return took | {"extra_mb": round((peak() - held) / 2**20), "picks": picks}
    few, many = PEER_PICKS
    short, _ = timed(pick, rows, case.m, few)
    long, picks = timed(pick, rows, case.m, many)
    slopes = {clock: (long[clock] - short[clock]) / (many - few) for clock in short}
    took = {clock: long[clock] + slopes[clock] * (case.b - many) for clock in short}
    return took | {"extra_mb": round((peak() - held) / 2**20), "picks": picks, "extrapolated": True}


def timed(pick: Pick, rows: np.ndarray, labeled: int, size: int) -> tuple[dict[str, float], list[int]]:
    """Seconds by either clock, and what was picked."""
    cpu, wall = time.process_time(), time.perf_counter()
    picks = pick(rows, labeled, size)
    return {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}, picks


def features(case: Case) -> np.ndarray:
    """float32 (m + n, d): the labelled points and then the others."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((CLUSTERS, case.d), dtype=np.float32)
    rows = rng.standard_normal((case.m + case.n, case.d), dtype=np.float32)
    for start in range(0, len(rows), 1000):
        part = rows[start : start + 1000]
        part += centres[rng.integers(0, CLUSTERS, len(part))]
    return rows


def ours(rows: np.ndarray, labeled: int, size: int) -> list[int]:
    """The product."""
    import torch

    from tasks.select.farthest_first import farthest_first

    both = torch.from_numpy(rows)
    return farthest_first(both[labeled:], both[:labeled], size).tolist()


def one_at_a_time(rows: np.ndarray, labeled: int, size: int) -> list[int]:
    """The textbook: one matrix-vector product per pick, and only the running minimum in memory."""
    import torch

    centers, points = torch.from_numpy(rows).split([labeled, len(rows) - labeled])
    norms = torch.linalg.vector_norm(points, dim=1).square_()
    nearest = torch.full_like(norms, torch.inf)
    for part in centers.split(64):
        least = torch.addmm(part.square().sum(dim=1), points, part.T, alpha=-2).amin(dim=1)
        torch.minimum(nearest, least.add_(norms), out=nearest)
    picks, distances = [], torch.empty_like(norms)
    for _ in range(size):
        best = int(nearest.argmax())
        picks.append(best)
        torch.addmv(norms, points, points[best], alpha=-2, out=distances)
        distances += norms[best]
        torch.minimum(nearest, distances, out=nearest)
        nearest[best] = -torch.inf
    return picks


def one_at_a_time_float64(rows: np.ndarray, labeled: int, size: int) -> list[int]:
    """The same in float64."""
    return one_at_a_time(rows.astype(np.float64), labeled, size)


def skactiveml(rows: np.ndarray, labeled: int, size: int) -> list[int]:
    """scikit-activeml as documented."""
    from skactiveml.pool import CoreSet

    y = np.full(len(rows), np.nan)
    y[:labeled] = 0
    return (CoreSet(random_state=0).query(rows, y, batch_size=size) - labeled).tolist()


def resident_from_here() -> int:
    """Bytes resident now; the peak is counted from here on."""
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS")


def peak() -> int:
    """The most bytes that were resident since."""
    return status("VmHWM")


def status(field: str) -> int:
    """A size from what Linux says about this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


if __name__ == "__main__":
    main()
