"""The MNIST loop of conf/mnist.yaml against its random arm, with paired seeds.

    python benchmarks/mnist_loop.py [--quick] [--seeds 3] [--work DIR] [--out benchmarks/results]

Each arm and seed is one `frugal run` in a workspace of its own below --work; a run that was cut short goes on when the
same command is given again. Needs FRUGAL_DATA (or a network, for torchvision to download MNIST). Prints a table, draws
the learning curves if --out is given, and prints one JSON object as its last line.

In it `frugal_run_s` is the wall time of each run, the pieces of one that was cut short together; null if a piece was
killed together with this script, which then could not count it. `frugal_peak_memory_mb` is that of the `frugal` process
alone, without the Prefect server that it starts.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import harness

from tasks import files
from tasks.compare.interval import half_width

ARMS = {"entropy": "select.strategy=top_k", "random": "select.strategy=random"}
QUICK = ["dataset.limit=2000", "loop.rounds=3", "loop.initial=100", "loop.query_size=100", "train.epochs=3"]
FRUGAL = str(Path(sys.executable).parent / "frugal")
STAGES = ("select", "label", "train", "infer")


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
            interval = "" if row["ci95"] is None else f"±{row['ci95']:.4f}"
            print(f"{row['labels']:6d}  {row['accuracy']:.4f} {interval:7}  {seconds}")
    if options.out:
        draw(arms, options.out / f"mnist_loop{'-quick' if options.quick else ''}.png")
    figures = {
        "final_accuracy": {arm: rows[-1]["accuracy"] for arm, rows in arms.items()},
        "labels": arms["entropy"][-1]["labels"],
        "labels_to_match_random": matched(arms),
        "frugal_run_s": {arm: [one["wall_s"] for one in of_seeds] for arm, of_seeds in runs.items()},
        "stage_s": {arm: [one["stage_s"] for one in of_seeds] for arm, of_seeds in runs.items()},
        "frugal_peak_memory_mb": max(one["peak_memory_mb"] for of_seeds in runs.values() for one in of_seeds),
        "targets": {"accuracy": 0.992, "frugal_run_s": 600, "frugal_peak_memory_mb": 3000},
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
    subprocess.run([FRUGAL, "init", str(place)], check=True, stdout=subprocess.DEVNULL)
    settings = [ARMS[arm], f"seed={seed}", *(QUICK if quick else [])]
    wall = wall_s(place, [FRUGAL, "run", "-w", str(place), "conf/mnist.yaml", *settings])
    books = [json.loads(path.read_text())["stages"] for path in sorted(place.glob("data/rounds/*/cost.json"))]
    used = [entry["used"] for book in books for entry in book.values()]
    return {
        "rounds": status(place)["rounds"],
        "wall_s": wall,
        "stage_s": round(sum(entry["wall_s"] for entry in used), 1),
        "peak_memory_mb": max(entry["peak_memory_mb"] for entry in used),
    }


def wall_s(place: Path, command: list[str]) -> float | None:
    """Run what is left of a loop; the seconds of all its pieces, or None if one of them is not known."""
    kept = place / "data" / "raw" / "pieces_s.json"
    state = status(place)["state"]
    pieces: list[float | None] = []
    if state != "empty":
        pieces = files.read_json(kept) if kept.exists() else [None]
    if state != "finished" or pieces[-1] is None:
        # A piece is null until its end, so one that is killed together with this script stays so.
        files.write_json(kept, [*pieces, None])
        began = time.perf_counter()
        try:
            subprocess.run(command, check=True, stdout=sys.stderr)
        finally:
            pieces = [*pieces, time.perf_counter() - began]
            files.write_json(kept, pieces)
    known = [piece for piece in pieces if piece is not None]
    return round(sum(known), 1) if len(known) == len(pieces) else None


def status(place: Path) -> dict[str, Any]:
    """What `frugal status --json` says."""
    told = subprocess.run([FRUGAL, "status", "--json", "-w", str(place)], check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(told.stdout)
    return found


def summary(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and 95 % confidence interval of the accuracy per round, and mean seconds per stage."""
    rows = []
    for same_round in zip(*(one["rounds"] for one in runs), strict=True):
        values = [outcome["accuracy"] for outcome in same_round]
        seconds = {
            stage: round(statistics.mean(outcome["stage_seconds"].get(stage, 0.0) for outcome in same_round), 2)
            for stage in STAGES
        }
        rows.append(
            {
                "labels": same_round[0]["labels"],
                "accuracy": round(statistics.mean(values), 4),
                "ci95": interval(values),
                "values": values,
                "seconds": seconds,
                "items_scored": same_round[0]["items_scored"],
            }
        )
    return rows


def interval(values: list[float]) -> float | None:
    """Half the width of the mean's 95 % interval, to four places; a single value has none."""
    half = half_width(values)
    return None if half is None else round(half, 4)


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
        band = [100 * (row["ci95"] or 0.0) for row in rows]
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
