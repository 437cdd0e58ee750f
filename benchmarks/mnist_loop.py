"""The MNIST loop of conf/mnist.yaml against its random arm, with paired seeds.

    python benchmarks/mnist_loop.py [--quick] [--seeds 3] [--work DIR] [--out benchmarks/results]

Each arm and seed is one `frugal run` in a workspace of its own below --work; a run that was cut short goes on when the
same command is given again. Needs FRUGAL_DATA (or a network, for torchvision to download MNIST). Prints a table, draws
the learning curves if --out is given, and prints one JSON object as its last line.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import harness

ARMS = {"entropy": "select.strategy=top_k", "random": "select.strategy=random"}
QUICK = ["dataset.limit=2000", "loop.rounds=3", "loop.initial=100", "loop.query_size=100", "train.epochs=3"]
STAGES = ("select", "label", "train", "infer")
#: Two-sided 95 % points of Student's t by degrees of freedom.
STUDENT = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78}


def main() -> None:
    """Run what is missing, then tell."""
    options = arguments()
    with tempfile.TemporaryDirectory() as scratch:
        work = options.work or Path(scratch)
        seeds = range(1 if options.quick else options.seeds)
        runs = {arm: [run(work, arm, seed, options.quick) for seed in seeds] for arm in ARMS}
    arms = {arm: summary(of_seeds) for arm, of_seeds in runs.items()}
    for arm, rows in arms.items():
        print(f"\n{arm}\nlabels  accuracy        " + "  ".join(f"{stage:>7}" for stage in STAGES) + "   seconds")
        for row in rows:
            seconds = "  ".join(f"{row['seconds'].get(stage, 0):7.2f}" for stage in STAGES)
            print(f"{row['labels']:6d}  {row['accuracy']:.4f} ±{row['ci95']:.4f}  {seconds}")
    if options.out:
        draw(arms, options.out / f"mnist_loop{'-quick' if options.quick else ''}.png")
    figures = {
        "final_accuracy": {arm: rows[-1]["accuracy"] for arm, rows in arms.items()},
        "labels": arms["entropy"][-1]["labels"],
        "labels_to_match_random": matched(arms),
        "frugal_run_s": {arm: [one["wall_s"] for one in of_seeds] for arm, of_seeds in runs.items()},
        "stage_s": {arm: [one["stage_s"] for one in of_seeds] for arm, of_seeds in runs.items()},
        "peak_memory_mb": max(one["peak_memory_mb"] for of_seeds in runs.values() for one in of_seeds),
        "targets": {"accuracy": 0.992, "frugal_run_s": 600, "peak_memory_mb": 3000},
        "n": len(seeds),
        "arms": arms,
    }
    harness.publish("mnist_loop", figures, options, ("torch", "numpy"))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = harness.parser(__doc__, quick="2,000 items, 3 rounds, one seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--work", type=Path, help="where the workspaces are kept, to go on later")
    return parser.parse_args()


def run(work: Path, arm: str, seed: int, quick: bool) -> dict[str, Any]:
    """One loop to its end, and what its files say of it."""
    place = work / f"{arm}-{seed}{'-quick' if quick else ''}"
    frugal = str(Path(sys.executable).parent / "frugal")
    subprocess.run([frugal, "init", str(place)], check=True, stdout=subprocess.DEVNULL)
    settings = [ARMS[arm], f"seed={seed}", *(QUICK if quick else [])]
    began = time.perf_counter()
    subprocess.run([frugal, "run", "-w", str(place), "conf/mnist.yaml", *settings], check=True, stdout=sys.stderr)
    wall = time.perf_counter() - began
    timing = place / "data" / "raw" / "wall_s.json"
    if not timing.exists():
        timing.write_text(json.dumps(wall))
    told = subprocess.run([frugal, "status", "--json", "-w", str(place)], check=True, capture_output=True, text=True)
    rounds = json.loads(told.stdout)["rounds"]
    books = [json.loads(path.read_text())["stages"] for path in sorted(place.glob("data/rounds/*/cost.json"))]
    used = [entry["used"] for book in books for entry in book.values()]
    return {
        "rounds": rounds,
        "wall_s": round(json.loads(timing.read_text()), 1),
        "stage_s": round(sum(entry["wall_s"] for entry in used), 1),
        "peak_memory_mb": max(entry["peak_memory_mb"] for entry in used),
    }


def summary(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and 95 % confidence interval of the accuracy per round, and mean seconds per stage."""
    rows = []
    for same_round in zip(*(one["rounds"] for one in runs), strict=True):
        values = [outcome["accuracy"] for outcome in same_round]
        interval = 0.0
        if len(values) > 1:
            interval = STUDENT.get(len(values) - 1, 1.96) * statistics.stdev(values) / math.sqrt(len(values))
        seconds = {
            stage: round(statistics.mean(outcome["stage_seconds"].get(stage, 0.0) for outcome in same_round), 2)
            for stage in STAGES
        }
        rows.append(
            {
                "labels": same_round[0]["labels"],
                "accuracy": round(statistics.mean(values), 4),
                "ci95": round(interval, 4),
                "values": values,
                "seconds": seconds,
                "items_scored": same_round[0]["items_scored"],
            }
        )
    return rows


def matched(arms: dict[str, list[dict[str, Any]]]) -> int | None:
    """The fewest labels at which the entropy arm's mean reaches the random arm's last."""
    goal = arms["random"][-1]["accuracy"]
    return next((row["labels"] for row in arms["entropy"] if row["accuracy"] >= goal), None)


def draw(arms: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Error in percent over labels, with confidence bands."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for arm, rows in arms.items():
        labels = [row["labels"] for row in rows]
        error = [100 * (1 - row["accuracy"]) for row in rows]
        band = [100 * row["ci95"] for row in rows]
        (line,) = axes.plot(labels, error, marker="o", label=arm)
        low, high = ([value + sign * half for value, half in zip(error, band, strict=True)] for sign in (-1, 1))
        axes.fill_between(labels, [max(value, 0.05) for value in low], high, alpha=0.2, color=line.get_color())
    axes.set(xlabel="labels bought", ylabel="test error, %", yscale="log")
    axes.set_title("MNIST, pool of 60,000: mean and 95 % interval over seeds")
    ticks = [0.3, 0.5, 0.7, 1, 2, 3, 5]
    axes.set_yticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.grid(True, alpha=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
