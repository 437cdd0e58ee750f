"""Exact greedy k-centers at ImageNet's size on one GPU: 128,000 picks among 1.28 million points.

    python benchmarks/kcenter_gpu.py [--quick] [--out benchmarks/results]

The features are synthetic: 512 of them, float16, in 1,000 Gaussian clusters of unit variance whose centres are standard
normal; 12,800 more points are labelled. Seconds are wall time from features on the GPU to picks in memory; memory is
what PyTorch allocated at the peak above the features. The first picks are compared with those of a plain loop in
float64. Without CUDA nothing is measured. The last line printed is one JSON object.
"""

import statistics
import sys
import time
from typing import Any

import torch

from benchmarks import harness
from tasks.select.farthest_first import farthest_first, squared_distances

TARGETS = {"seconds": 60, "same_first_picks": True}
WIDTH, CLUSTERS = 512, 1_000
POINTS, LABELED, PICKS = 1_280_000, 12_800, 128_000
CHECKED = 20
TURNS = 3
#: Points that are made, or compared by the plain loop, at one time.
SLICE = 1 << 16


def main() -> int:
    """Measure, print, and keep the result if asked to."""
    options = harness.parser(__doc__, "a tenth of the points and picks").parse_args()
    if not torch.cuda.is_available():
        print("kcenter_gpu needs a GPU, and PyTorch sees none; run benchmarks/kcenter.py instead", file=sys.stderr)
        return 2
    share = 10 if options.quick else 1
    harness.publish("kcenter_gpu", measure(POINTS // share, LABELED // share, PICKS // share), options, ("torch",))
    return 0


def measure(count: int, labeled: int, size: int) -> dict[str, Any]:
    """Seconds, memory and correctness of one size."""
    rows = features(labeled + count)
    centers, points = rows[:labeled], rows[labeled:]
    farthest_first(points[:5000], centers[:10], 100)
    held = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    took: list[float] = []
    for _ in range(TURNS):
        torch.cuda.synchronize()
        began = time.perf_counter()
        picks = farthest_first(points, centers, size)
        took.append(round(time.perf_counter() - began, 2))
        print(f"{took[-1]} s", file=sys.stderr, flush=True)
    return {
        "seconds": statistics.median(took),
        "same_first_picks": picks[:CHECKED].tolist() == plain(points, centers, CHECKED),
        "targets": TARGETS,
        "extra_mb": round((torch.cuda.max_memory_allocated() - held) / 2**20),
        "n": TURNS,
        "spread": {"seconds": [min(took), max(took)]},
        "points": count,
        "labeled": labeled,
        "picks": size,
        "width": WIDTH,
        "clusters": CLUSTERS,
        "dtype": "float16",
    }


def features(count: int) -> torch.Tensor:
    """float16 (count, WIDTH) on the GPU."""
    generator = torch.Generator("cuda").manual_seed(0)
    centres = torch.randn(CLUSTERS, WIDTH, device="cuda", generator=generator)
    rows = torch.empty(count, WIDTH, dtype=torch.float16, device="cuda")
    for part in rows.split(SLICE):
        of = torch.randint(CLUSTERS, (len(part),), device="cuda", generator=generator)
        part.copy_(centres[of] + torch.randn(len(part), WIDTH, device="cuda", generator=generator))
    return rows


def plain(points: torch.Tensor, centers: torch.Tensor, size: int) -> list[int]:
    """The textbook in float64: distances from the labelled points by one matrix product, then one pick at a time."""
    least = [
        torch.stack([torch.cdist(part.double(), some.double()).amin(dim=1) for some in centers.split(4096)]).amin(dim=0)
        for part in points.split(SLICE)
    ]
    nearest = torch.cat(least).square_()
    picks: list[int] = []
    for _ in range(size):
        best = int(nearest.argmax())
        picks.append(best)
        to_best = torch.cat([squared_distances(part, points[best : best + 1]) for part in points.split(SLICE)])
        torch.minimum(nearest, to_best, out=nearest)
    return picks


if __name__ == "__main__":
    sys.exit(main())
