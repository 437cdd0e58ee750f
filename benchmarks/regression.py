"""Labels that are numbers: does choosing them pay? The value of houses, by a small network, through the product's loop.

    python benchmarks/regression.py --work DIR [--seeds N] [--quick] [--jobs 1] [--minutes N] [--so-far]
        [--out benchmarks/results]

California housing: 200 labels at random, then 200 a round up to 2,000; conf/housing.yaml with 60 epochs at twice the
learning rate, every model from scratch. In each seed all arms have the same initial labels, and but for the ensembles
the same first model. How loops are run, paired and billed is told in loops.py; all stages count.

    random             no item is scored; goes on to 4,000 labels, to tell what the others save
    dropout            the items of which 20 passes with dropout disagree most
    power of dropout   drawn by weights that are these disagreements (the strategy `power`)
    k-centers          the items that lie farthest from all labelled ones in the features of the model
    ensemble           the items of which five networks disagree most, which also predict together
    random, ensemble   the same five networks on random labels: what is left of `ensemble` if nobody selects

The fifth way to select was chosen before any loop ran: 200 items that a model finds equally strange are often alike,
and `power` changes that one thing of `dropout`. `total_std`, the other candidate, also buys noise, which no label takes
away. Epochs and learning rate were chosen on labels of the pool.

Errors are of the held-out set, which chooses nothing, in dollars. `compute` is what the loop used until a model was
there: device-seconds of the ledger, CPU-seconds, records times epochs and forward passes. `labels_at_random` is how
many random labels lead to the same RMSE, and `random_at_equal_seconds` the RMSE of random labels after the same
device-seconds, both by straight lines between the rounds of the random arm's mean; None beyond its end.

Needs FRUGAL_DATA (or a network). Prints a table, draws it if --out is given, and prints one JSON object as its last
line.
"""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import harness

# First of all: it sets the number of threads.
import loops
import numpy as np
from loops import Arm, Bench
from pairs import difference

from tasks.compare.interval import half_width
from tasks.cost import ledger
from tasks.history import Outcome, history
from tasks.rounds import Workspace

RANDOM, RANDOM_ENSEMBLE, ENSEMBLE = "random", "random, ensemble", "ensemble"
COMMON = ("device=cpu", "label.seconds=0.0", "train.epochs=60", "train.lr=4e-3")
QUICK = ("dataset.limit=1000", "loop.initial=40", "loop.query_size=20", "train.epochs=3", "infer.passes=3")
#: Rounds of all arms, and of the random one.
ROUNDS, QUICK_ROUNDS = (10, 20), (3, 5)
ONE_PASS = ("infer.passes=1", "infer.acquisition=total_std")
#: What makes each arm; the random ones are what the others are set against.
ARMS: Mapping[str, tuple[str, ...]] = {
    RANDOM: ("select.strategy=random", *ONE_PASS),
    "dropout": (),
    "power of dropout": ("select.strategy=power",),
    "k-centers": ("select.strategy=k_centers", *ONE_PASS),
    ENSEMBLE: ("train.members=5", "infer.passes=1"),
    RANDOM_ENSEMBLE: ("train.members=5", "select.strategy=random", *ONE_PASS),
}
COLORS = {name: f"C{number}" for number, name in enumerate(ARMS)}
METRICS = ("rmse", "r2", "mae", "nll")
COMPUTE = ("device_s", "cpu_s", "record_epochs", "forward_passes")


def main() -> None:
    """Run what is missing, then tell."""
    options = arguments()
    made = loops.bench(options, __file__, arms(options))
    made = replace(made, command=(*made.command, f"--seeds={options.seeds}"))
    if not loops.work(made, options):
        return
    found = {arm.name: runs for arm in made.arms if (runs := finished(made, arm))}
    table = {name: row(name, found) for name in found}
    print_table(table)
    if options.out:
        draw(found, options.out / f"regression{'-quick' if options.quick else ''}.png")
    figures = {"arms": table, "settings": list(COMMON), "selects": {name: list(ARMS[name]) for name in table}}
    harness.publish("regression", figures, options, ("torch", "numpy"))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = loops.parser(__doc__, quick="1,000 items, 3 rounds, 3 epochs, one seed")
    parser.add_argument("--seeds", type=int, help="of each arm (default: 5)")
    parser.set_defaults(jobs=1)
    options = parser.parse_args()
    options.seeds = options.seeds or (1 if options.quick else 5)
    return options


def arms(options: argparse.Namespace) -> tuple[Arm, ...]:
    """The ways to select."""
    rounds, longest = QUICK_ROUNDS if options.quick else ROUNDS
    less = QUICK if options.quick else ()
    return tuple(
        Arm(
            name,
            "housing.yaml",
            (*COMMON, *less, f"loop.rounds={longest if name == RANDOM else rounds}", *own),
            options.seeds,
        )
        for name, own in ARMS.items()
    )


# Figures


@dataclass(frozen=True)
class Run:
    """A finished loop; position i of all fields speaks of the same round."""

    seed: int
    labels: tuple[int, ...]
    #: On the held-out set, by name.
    metrics: Mapping[str, tuple[float, ...]]
    #: Used until the round's model was there, by name.
    compute: Mapping[str, tuple[float, ...]]


Runs = Mapping[str, Sequence[Run]]


def finished(made: Bench, arm: Arm) -> list[Run]:
    """The finished loops of an arm, in the order of the seeds."""
    places = {seed: made.place(arm, seed) for seed in arm.numbers}
    return [run_of(place, seed) for seed, place in places.items() if not loops.left(place)]


def run_of(workspace: Workspace, seed: int) -> Run:
    """Read a finished loop."""
    outcomes = history(workspace)
    values = [measures(outcome) for outcome in outcomes]
    used = compute([by_stage(workspace, outcome.round) for outcome in outcomes])
    return Run(
        seed,
        tuple(outcome.labels for outcome in outcomes),
        {name: tuple(value[name] for value in values) for name in METRICS},
        {name: tuple(value[name] for value in used) for name in COMPUTE},
    )


def measures(outcome: Outcome) -> dict[str, float]:
    """How good a round's model is; the headline metric of a regression is R²."""
    assert outcome.rmse is not None
    assert outcome.mae is not None
    return {"rmse": outcome.rmse, "r2": outcome.accuracy, "mae": outcome.mae, "nll": outcome.nll}


def by_stage(workspace: Workspace, round_: int) -> dict[str, dict[str, float]]:
    """What each stage of a round used, discarded runs among it."""
    stages = ledger.ledger(workspace.round_dir(round_))["stages"]
    return {name: total(list(ledger.all_used({name: entry}))) for name, entry in stages.items()}


def total(runs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The sums of a stage's runs."""
    return {name: sum(sum(run[name].values()) if name == "device_s" else run[name] for run in runs) for name in COMPUTE}


def compute(rounds: Sequence[Mapping[str, Mapping[str, float]]]) -> list[dict[str, float]]:
    """What was used up to each round's training; the scoring that follows it is for the next round."""
    before, found = dict.fromkeys(COMPUTE, 0.0), []
    for stages in rounds:
        here = {name: sum(used[name] for stage, used in stages.items() if stage != "infer") for name in COMPUTE}
        found.append({name: round(before[name] + here[name], 4) for name in COMPUTE})
        before = {name: before[name] + sum(used[name] for used in stages.values()) for name in COMPUTE}
    return found


def mean(runs: Sequence[Run], values: str, name: str) -> list[float]:
    """Of each round, over the seeds; ``values`` is metrics or compute."""
    return [statistics.mean(of_round) for of_round in zip(*(getattr(run, values)[name] for run in runs), strict=True)]


def told(values: Sequence[float], digits: int) -> dict[str, Any]:
    """The mean, half the width of its 95 % interval (None of a single value), and the values."""
    half = half_width(values)
    rounded = [round(value, digits) for value in values]
    return {
        "mean": round(statistics.mean(values), digits),
        "ci95": None if half is None else round(half, digits),
        "values": rounded,
    }


def digits_of(name: str) -> int:
    """How many digits are told after the point: errors are in dollars."""
    return 1 if name in ("rmse", "mae") else 4


def row(name: str, found: Runs) -> dict[str, Any]:
    """One arm, budget by budget."""
    runs = found[name]
    return {
        "seeds": [run.seed for run in runs],
        "budgets": {str(labels): at(place, name, found) for place, labels in enumerate(runs[0].labels)},
        "later_rmse": {f"to_{other}": later(runs, found[other]) for other in rivals(name) if other in found},
    }


def rivals(name: str) -> tuple[str, ...]:
    """What an arm is set against: chance, and of the ensemble chance with an ensemble."""
    others = {RANDOM: (), ENSEMBLE: (RANDOM, RANDOM_ENSEMBLE)}
    return others.get(name, (RANDOM,))


def at(place: int, name: str, found: Runs) -> dict[str, Any]:
    """One arm at one budget: its figures, alone and paired with chance, and what chance would have needed."""
    runs = found[name]
    cell: dict[str, Any] = {
        metric: told([run.metrics[metric][place] for run in runs], digits_of(metric)) for metric in METRICS
    }
    cell["compute"] = {used: round(statistics.mean(run.compute[used][place] for run in runs), 2) for used in COMPUTE}
    for other in rivals(name):
        if other in found:
            cell[f"rmse_to_{other}"] = paired(runs, found[other], lambda run: run.metrics["rmse"][place])
            cell[f"nll_to_{other}"] = paired(runs, found[other], lambda run: run.metrics["nll"][place], 4)
    if name != RANDOM and RANDOM in found:
        goal, seconds = cell["rmse"]["mean"], cell["compute"]["device_s"]
        chance = found[RANDOM]
        error = mean(chance, "metrics", "rmse")
        cell["labels_at_random"] = reached(chance[0].labels, error, goal)
        cell["random_at_equal_seconds"] = between(mean(chance, "compute", "device_s"), error, seconds)
    return cell


def paired(mine: Sequence[Run], theirs: Sequence[Run], figure: Any, digits: int = 1) -> dict[str, Any] | None:
    """The difference of a figure over the seeds that both have; None where there is none."""
    others = {run.seed: run for run in theirs}
    pairs = [(figure(run), figure(others[run.seed])) for run in mine if run.seed in others]
    if not pairs:
        return None
    return difference(*zip(*pairs, strict=True), digits) | {"n": len(pairs)}


def later(mine: Sequence[Run], theirs: Sequence[Run]) -> dict[str, Any] | None:
    """The difference of the mean RMSE of all rounds whose labels were selected, of which both have the same number."""
    last = min(len(runs[0].labels) for runs in (mine, theirs))
    return paired(mine, theirs, lambda run: statistics.mean(run.metrics["rmse"][1:last]))


def reached(labels: Sequence[int], error: Sequence[float], goal: float) -> int | None:
    """The fewest labels at which a curve, straight between its points, is down at ``goal``; None if it never is."""
    if error[0] <= goal:
        return labels[0]
    for place in range(1, len(error)):
        if error[place] <= goal:
            share = (error[place - 1] - goal) / (error[place - 1] - error[place])
            return round(labels[place - 1] + share * (labels[place] - labels[place - 1]))
    return None


def between(seconds: Sequence[float], error: Sequence[float], at: float) -> float | None:
    """A curve's value, straight between its points; None outside of them."""
    if not seconds[0] <= at <= seconds[-1]:
        return None
    return round(float(np.interp(at, seconds, error)), 1)


# Telling


def print_table(table: Mapping[str, Any]) -> None:
    """The table, as the documentation has it: each arm at the last budget that all of them have."""
    if not table:
        return
    last = list(min((told["budgets"] for told in table.values()), key=len))[-1]
    print(f"| {last} labels | seeds | RMSE, $ | to random | all rounds, to random | R² | MAE, $ | NLL |", end="")
    print(" random labels for this RMSE | device-seconds | RMSE of random after these |")
    print("|---" * 11 + "|")
    for name, told in table.items():
        print(f"| {name} | {len(told['seeds'])} | {' | '.join(line(told, last))} |")
    own = table.get(ENSEMBLE, {}).get("later_rmse", {}).get(f"to_{RANDOM_ENSEMBLE}")
    if own:
        print(f"ensemble to random, ensemble, all rounds: {gap(own)}; at {last}: ", end="")
        print(gap(table[ENSEMBLE]["budgets"][last][f"rmse_to_{RANDOM_ENSEMBLE}"]))


def line(told: Mapping[str, Any], last: str) -> list[str]:
    """One arm's line."""
    cell = told["budgets"][last]
    return [
        plus_minus(cell["rmse"], 0),
        gap(cell.get(f"rmse_to_{RANDOM}")),
        gap(told["later_rmse"].get(f"to_{RANDOM}")),
        plus_minus(cell["r2"], 3),
        plus_minus(cell["mae"], 0),
        plus_minus(cell["nll"], 3),
        f"{cell.get('labels_at_random') or ''}",
        f"{cell['compute']['device_s']:.1f}",
        f"{cell.get('random_at_equal_seconds') or ''}",
    ]


def plus_minus(cell: Mapping[str, Any], digits: int) -> str:
    """A mean with its interval."""
    half = "" if cell["ci95"] is None else f" ±{cell['ci95']:.{digits}f}"
    return f"{cell['mean']:.{digits}f}{half}"


def gap(cell: Mapping[str, Any] | None) -> str:
    """A difference with its interval, in dollars."""
    if cell is None:
        return ""
    return f"{cell['mean']:+.0f}" + ("" if cell["ci95"] is None else f" ±{cell['ci95']:.0f}")


def draw(found: Runs, path: Path) -> None:
    """RMSE over labels, and over device-seconds: means over the seeds, with 95 % intervals over labels."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.8), sharey=True, layout="constrained")
    for name, runs in found.items():
        error, color = mean(runs, "metrics", "rmse"), COLORS[name]
        half = [half_width(values) or 0.0 for values in zip(*(run.metrics["rmse"] for run in runs), strict=True)]
        left.plot(runs[0].labels, error, marker="o", markersize=3, color=color, label=name)
        low, high = ([one + sign * wide for one, wide in zip(error, half, strict=True)] for sign in (-1, 1))
        left.fill_between(runs[0].labels, low, high, alpha=0.15, color=color, linewidth=0)
        right.plot(mean(runs, "compute", "device_s"), error, marker="o", markersize=3, color=color)
    left.set(xlabel="labels bought", ylabel="RMSE on the held-out set, $")
    right.set(xlabel="device-seconds of all stages", xscale="log")
    for axis in (left, right):
        axis.grid(True, alpha=0.3)
    left.legend(fontsize=8)
    figure.suptitle("California housing: mean and 95 % interval over seeds")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
