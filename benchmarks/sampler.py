"""What it takes to draw candidates from a large acquisition cache.

    python benchmarks/sampler.py [--quick] [--out benchmarks/results]

1 % of the pool is drawn by the cached values as INFER does it: from the ids, which are hashed into the noise, and the
values to the positions, by `candidates` with its default settings. Each pool size has a process of its own; `peak_mb`
is its highest resident memory beyond the inputs. Beside it, alternating in the same process, stands what NumPy offers:
`Generator.choice(replace=False, p=softmax(value / temperature))`, once with the same temperature on uniform values,
where both draw from nearly the same distribution, and once with the published, flatter softmax(value^1.2). Seconds are
medians of wall time; CPU seconds and the spread stand beside them. Growth is of CPU seconds, so that neighbours on the
machine do not count. The last line printed is one JSON object.
"""

import multiprocessing
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import psutil
import pyarrow as pa

from benchmarks import harness
from tasks.config import CandidatesConfig
from tasks.infer.scopes.candidates import narrow
from tasks.infer.scopes.scope import Known

TARGETS = {"seconds_1e7": 1.5, "peak_mb": 500}
RATIO = 0.01
DEFAULT = CandidatesConfig(ratio=RATIO).model_dump()
PUBLISHED = DEFAULT | {"scale": "raw", "temperature": 1.0, "power": 1.2, "explore": 0.0}
#: Bytes an item of inputs, of temporaries and of what else the process needs, with a margin.
ROOM = 120


def main() -> None:
    """Measure, print, and keep the result if asked to."""
    options = harness.parser(__doc__, "fewer repetitions, and no pool of 100 million").parse_args()
    million, large = alone(measure, 10**6, 5 if options.quick else 11), alone(measure, 10**7, 3 if options.quick else 9)
    huge = None
    if not options.quick and psutil.virtual_memory().available > ROOM * 10**8:
        huge = alone(measure, 10**8, 3)
    ours = large["ours"]["wall_s"]
    figures: dict[str, Any] = {
        "seconds_1e7": ours["median"],
        "cpu_seconds_1e7": large["ours"]["cpu_s"]["median"],
        "peak_mb": large["peak_mb"],
        "growth_1e6_to_1e7": growth(million, large),
        "growth_1e7_to_1e8": growth(large, huge) if huge else None,
        "numpy_choice_seconds": large["numpy_choice"]["wall_s"]["median"],
        "targets": TARGETS,
        "n": large["n"],
        "spread": {"seconds_1e7": [ours["min"], ours["max"]]},
        "pools": {"1e6": million, "1e7": large, "1e8": huge},
        "settings": DEFAULT,
        "load_average": os.getloadavg()[0],
    }
    harness.publish("sampler", figures, options, ("numpy", "pyarrow"))


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a call in a fresh process, whose memory nothing else has touched."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def growth(small: dict[str, Any], large: dict[str, Any]) -> float:
    """How many times the CPU seconds the larger pool takes."""
    return round(large["ours"]["cpu_s"]["median"] / small["ours"]["cpu_s"]["median"], 1)


def measure(count: int, repeats: int) -> dict[str, Any]:
    """Seconds and memory of one pool size; product and NumPy alternate after a warm-up."""
    pool, among = cache(count), np.arange(count, dtype=np.int64)
    seeds = iter(np.random.SeedSequence(0).spawn(2 * repeats + 2))
    rng = np.random.default_rng(0)
    inputs = peak_mb()
    narrow(pool, among, DEFAULT, next(seeds))
    ours_peak = peak_mb() - inputs
    work = {
        "ours": lambda: narrow(pool, among, DEFAULT, next(seeds)),
        "numpy_choice": lambda: choice(pool.score / DEFAULT["temperature"], rng),
        "published": lambda: narrow(pool, among, PUBLISHED, next(seeds)),
        "numpy_choice_published": lambda: choice(pool.score**1.2, rng),
    }
    # NumPy's takes as long as it takes; on 100 million it would be minutes of no interest.
    names = list(work) if count <= 10**7 else ["ours", "published"]
    took = {name: [] for name in names}
    for _ in range(repeats):
        for name in names:
            took[name].append(seconds(work[name]))
    timed = {name: summary(values) for name, values in took.items()}
    return {"items": count, "n": repeats, "peak_mb": round(ours_peak)} | timed


def cache(count: int) -> Known:
    """Items train/0000000, train/0000001, …, all scored in the round before with uniform values."""
    nothing = np.broadcast_to(np.int32(-1), count)
    return Known(
        ids=identities(count),
        score=np.random.default_rng(1).random(count),
        scored_round=np.full(count, 2, dtype=np.int32),
        times_scored=nothing,
        cluster=nothing,
        distance=np.broadcast_to(np.float32(np.nan), count),
        dropped=np.broadcast_to(np.False_, count),
        round=3,
    )


def identities(count: int) -> pa.Array:
    """The ids, written straight into Arrow's buffers: no more memory is touched than they take."""
    digits = max(7, len(str(count - 1)))
    prefix = np.frombuffer(b"train/", dtype=np.uint8)
    text = np.empty((count, len(prefix) + digits), dtype=np.uint8)
    text[:, : len(prefix)] = prefix
    for start in range(0, count, 10**6):
        numbers = np.arange(start, min(start + 10**6, count))
        for place in range(digits):
            text[start : start + len(numbers), -1 - place] = numbers // 10**place % 10 + ord("0")
    offsets = np.arange(0, count * text.shape[1] + 1, text.shape[1], dtype=np.int32)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(text))


def choice(log_weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same number of items by NumPy's weighted choice without replacement."""
    log_weights -= log_weights.max()
    probabilities = np.exp(log_weights, out=log_weights)
    probabilities /= probabilities.sum()
    return rng.choice(len(probabilities), round(RATIO * len(probabilities)), replace=False, p=probabilities)


class Seconds(NamedTuple):
    """Of the process's CPUs, and of the clock on the wall."""

    cpu: float
    wall: float


def seconds(work: Callable[[], Any]) -> Seconds:
    """What ``work`` takes."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return Seconds(time.process_time() - cpu, time.perf_counter() - wall)


def summary(took: list[Seconds]) -> dict[str, Any]:
    """Least, median and most seconds, by either clock."""
    return {
        f"{name}_s": {
            "min": round(min(values), 3),
            "median": round(statistics.median(values), 3),
            "max": round(max(values), 3),
        }
        for name, values in (("wall", [one.wall for one in took]), ("cpu", [one.cpu for one in took]))
    }


def peak_mb() -> float:
    """The highest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)


if __name__ == "__main__":
    main()
