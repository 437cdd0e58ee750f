"""What a batch by BADGE costs when the gradients are never made.

    python benchmarks/badge.py [--quick] [--peers PYTHON] [--out benchmarks/results]

Beside scikit-activeml's `Badge` and small-text's `BADGE`, on the same probabilities and features, float32, one thread.
Each measurement is a process of its own, after a call on 500 items; the sides take turns, each turn gives one ratio of
CPU seconds, and the median is published. The peak is that of resident memory above what the process held before the
call. `potential` is what k-means++ is for, the mean squared distance of a gradient from the nearest one chosen, over
that of the largest alone: the lower, the better. The others do not choose by the same rule: scikit-activeml begins with
the origin beside the largest gradient, and small-text has another embedding and takes the best of several draws. A
large case, many classes and wide features, is measured on our side alone: the explicit gradients would take 82 GB. The
others need an environment of their own:

    uv venv E && uv pip install --python E scikit-activeml==1.0.1 small-text==1.4.1 torch==2.14.1

(small-text's `BADGE` lives beside what needs torch) and --peers E/bin/python. The last line printed is one JSON object.
"""

import ctypes
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

# What only our side needs is imported where it is used: the others' environment does not have it.

ROOT = Path(__file__).resolve().parent.parent
TARGETS = {"vs_skactiveml": 30, "vs_small_text": 30, "memory_share": 0.1}
PEERS = {"skactiveml": "scikit-activeml", "small_text": "small-text"}
WARM_UP = 500


@dataclass(frozen=True)
class Case:
    """A pool, and how many of it are wanted."""

    items: int
    width: int
    classes: int
    batch: int


CASES = {"small": Case(10_000, 128, 10, 100), "large": Case(10_000, 2048, 1000, 100)}


def main() -> None:
    """Measure, print, and keep the result if asked to."""
    if "--worker" in sys.argv:
        print(json.dumps(work(*sys.argv[sys.argv.index("--worker") + 1 :])))
        return
    from benchmarks import harness

    parser = harness.parser(__doc__, "one turn, without the large case; under a minute")
    parser.add_argument("--peers", metavar="PYTHON", default=sys.executable, help="interpreter that has the others")
    options = parser.parse_args()
    versions = versions_of(options.peers)
    sides = ["ours", *(PEERS if versions else ())]
    turns = [
        {side: run(sys.executable if side == "ours" else options.peers, "small", side) for side in sides}
        for _ in range(1 if options.quick else 7)
    ]
    small = {side: summary([turn[side] for turn in turns]) for side in sides}
    figures: dict[str, Any] = {
        f"vs_{side}": ratio(turns, side, "cpu_s")["median"] if versions else None for side in PEERS
    }
    figures |= {
        "memory_share": round(small["ours"]["peak_mb"] / min(small[side]["peak_mb"] for side in PEERS), 3)
        if versions
        else None,
        "targets": TARGETS,
        "seconds": small["ours"]["wall_s"],
        "ratios": {side: {key: ratio(turns, side, key) for key in ("cpu_s", "wall_s")} for side in sides[1:]},
        "small": vars(CASES["small"]) | small,
        "large": None if options.quick else vars(CASES["large"]) | summary([run(sys.executable, "large", "ours")]),
        "n": len(turns),
        "threads": 1,
        "peers": versions,
        "load_average": os.getloadavg()[0],
    }
    harness.publish("badge", figures, options, ("numpy", "pyarrow"))


def versions_of(python: str) -> dict[str, str] | None:
    """Of the others in their environment; None, and a line about it, where they are missing."""
    code = "import json; from importlib.metadata import version; "
    code += f"print(json.dumps({{name: version(name) for name in {('numpy', *PEERS.values())}}}))"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True)
    if found.returncode:
        print(f"{python} lacks the others, so they are left out; --help says how to install them", file=sys.stderr)
        return None
    return json.loads(found.stdout.splitlines()[-1])


def ratio(turns: list[dict[str, Any]], side: str, key: str) -> dict[str, float]:
    """How many times ours it takes, turn by turn."""
    values = [turn[side][key] / turn["ours"][key] for turn in turns]
    named = {"min": min(values), "median": statistics.median(values), "max": max(values)}
    return {name: round(value, 1) for name, value in named.items()}


def summary(measured: list[dict[str, float]]) -> dict[str, float]:
    """Medians over the turns of one side."""
    return {key: float(f"{statistics.median(one[key] for one in measured):.4g}") for key in measured[0]}


def run(python: str, case: str, side: str) -> dict[str, float]:
    """What a process of its own measures."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    command = [python, str(Path(__file__).resolve()), "--worker", case, side]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{case}, {side}: {done.stderr.strip()}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(case, side, result, file=sys.stderr, flush=True)
    return result


def work(name: str, side: str) -> dict[str, float]:
    """Measure one side of one case in this process."""
    case = CASES[name]
    probabilities, features = pool(case)
    choose = {"ours": ours, "skactiveml": skactiveml, "small_text": small_text}[side]
    choose(probabilities[:WARM_UP], features[:WARM_UP], case.batch)()
    call = choose(probabilities, features, case.batch)
    start = resident_from_here()
    cpu, wall = time.process_time(), time.perf_counter()
    chosen = call()
    seconds = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}
    peak_mb = (status("VmHWM") - start) / 2**20
    return seconds | {"peak_mb": peak_mb, "potential": potential(probabilities, features, np.asarray(chosen))}


def pool(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (n, classes) of a fairly sure model, and features (n, d) behind a rectifier; float32."""
    generator = np.random.default_rng(0)
    logits = 3 * generator.standard_normal((case.items, case.classes), dtype=np.float32)
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    features = np.maximum(generator.standard_normal((case.items, case.width), dtype=np.float32), 0)
    return probabilities, features


Call = Callable[[], Any]


def ours(probabilities: np.ndarray, features: np.ndarray, batch: int) -> Call:
    """The product, from ids and arrays to positions."""
    import pyarrow as pa
    import torch

    from tasks.select.badge import select
    from tasks.select.choice import Candidates, Embedded

    count = len(features)
    ids = pa.array([f"train/{number:07d}" for number in range(count)])
    candidates = Candidates(ids, np.full(count, np.nan), np.random.SeedSequence(0))
    seen = Embedded(features, probabilities, features[:0], torch.device("cpu"))
    return lambda: select(candidates, seen, batch).positions


def skactiveml(probabilities: np.ndarray, features: np.ndarray, batch: int) -> Call:
    """scikit-activeml, with a classifier that knows the answers."""
    from skactiveml.base import SkactivemlClassifier
    from skactiveml.pool import Badge

    class Known(SkactivemlClassifier):
        def fit(self, x: np.ndarray, y: np.ndarray) -> "Known":
            return self

        def predict_proba(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return probabilities, features

    unknown = np.full(len(features), np.nan)
    classifier = Known(classes=list(range(probabilities.shape[1])))
    return lambda: Badge(random_state=0).query(features, unknown, classifier, fit_clf=False, batch_size=batch)


def small_text(probabilities: np.ndarray, features: np.ndarray, batch: int) -> Call:
    """small-text, below the part that would ask a classifier."""
    from small_text.integrations.pytorch.query_strategies.strategies import BADGE

    strategy, rows = BADGE(probabilities.shape[1]), np.arange(len(features))
    return lambda: strategy.sample(None, None, rows, None, None, batch, features, embeddings_proba=probabilities)


def potential(probabilities: np.ndarray, features: np.ndarray, chosen: np.ndarray) -> float:
    """Mean squared distance of the gradients from the nearest chosen one, over that from the largest; float64."""
    residuals = probabilities.astype(np.float64)
    residuals[np.arange(len(residuals)), residuals.argmax(axis=1)] -= 1
    wide = features.astype(np.float64)
    norms = (residuals**2).sum(axis=1) * (wide**2).sum(axis=1)

    def mean(centres: np.ndarray) -> float:
        products = (residuals @ residuals[centres].T) * (wide @ wide[centres].T)
        squared = norms[:, None] + norms[centres] - 2 * products
        return float(squared.min(axis=1).clip(0).mean())

    return mean(chosen) / mean(norms.argmax(keepdims=True))


def resident_from_here() -> int:
    """Bytes resident now; the peak is counted from here on, and what was freed before does not count as held."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS")


def status(field: str) -> int:
    """A size from what Linux says about this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


if __name__ == "__main__":
    main()
