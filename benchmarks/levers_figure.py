"""The picture of levers.py: accuracy over compute, and the learning curves. Not a script."""

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: Arms whose learning curves are drawn, with their colours on both sides; the others are grey.
DRAWN = {"vanilla": "C0", "preset": "C3", "random": "C7", "warm": "C2", "resume": "C4", "geometric": "C1"}
SECONDS = (1, 2, 5, 10, 20, 30, 50, 70, 100, 150, 200)
TICKS = (0.5, 1, 2, 3, 5, 10, 15)


def draw(table: Mapping[str, Any], path: Path) -> None:
    """Draw what ``levers.summary`` says of each arm; error bars are 95 % intervals over seeds."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.8), layout="constrained")
    end_points(left, table)
    curves(right, table)
    figure.suptitle("MNIST, pool of 60,000, up to 2,200 labels: each lever alone, and the preset")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def end_points(axis: Any, table: Mapping[str, Any]) -> None:
    """Final accuracy over CPU-seconds."""
    # Names of neighbours go above and below their points in turn.
    for number, (name, row) in enumerate(sorted(table.items(), key=lambda arm: arm[1]["cpu_s"])):
        color = DRAWN.get(name, "0.35")
        accuracy, band = 100 * row["accuracy"], 100 * (row["ci95"] or 0.0)
        axis.errorbar(row["cpu_s"], accuracy, yerr=band, fmt="o", color=color, capsize=2, markersize=5)
        axis.annotate(
            name,
            (row["cpu_s"], accuracy),
            (5, 5 - 15 * (number % 2)),
            textcoords="offset points",
            fontsize=8,
            color=color,
        )
    spent = [row["cpu_s"] for row in table.values()]
    if "vanilla" in table:
        fifth = table["vanilla"]["cpu_s"] / 5
        axis.axvline(fifth, color="0.7", linestyle=":", linewidth=1)
        axis.text(fifth, 0.02, " 1/5 of vanilla", transform=axis.get_xaxis_transform(), fontsize=8, color="0.5")
        spent.append(fifth)
    axis.set(xscale="log", xlabel="CPU-seconds of SELECT, LABEL, TRAIN and INFER", ylabel="final test accuracy, %")
    axis.set_xticks(SECONDS, [str(seconds) for seconds in SECONDS])
    # Setting ticks has widened the axis to the farthest of them.
    axis.set_xlim(min(spent) / 1.2, max(spent) * 1.4)
    axis.minorticks_off()
    axis.grid(True, alpha=0.3, which="both")


def curves(axis: Any, table: Mapping[str, Any]) -> None:
    """Test error over labels, means over the seeds, round by round."""
    for name, color in DRAWN.items():
        if name not in table:
            continue
        loops = table[name]["curves"]
        rounds = min(len(loop["labels"]) for loop in loops)
        mean = {key: [statistics.mean(loop[key][n] for loop in loops) for n in range(rounds)] for key in loops[0]}
        error = [100 * (1 - accuracy) for accuracy in mean["accuracy"]]
        axis.plot(mean["labels"], error, marker="o", markersize=3, color=color, label=name)
    axis.set(xlabel="labels bought", ylabel="test error, %", yscale="log")
    axis.set_yticks(TICKS, [f"{tick:g}" for tick in TICKS])
    axis.minorticks_off()
    axis.grid(True, alpha=0.3)
    axis.legend(fontsize=8)
