"""What each lever saves on MNIST, alone and together: accuracy, labels, compute and money against a vanilla loop.

    python benchmarks/levers.py --work DIR [--quick] [--jobs 2] [--minutes N] [--so-far] [--out benchmarks/results]

Pool of 60,000; 200 random labels, then up to ten rounds of 200 by entropy; the CEAL net. The vanilla loop trains every
model from scratch, scores the whole pool after each, and goes on to the end. Every other arm changes one thing, but for
`random`, which scores nothing, and `preset`, conf/frugal.yaml, in which the levers work together. The preset's numbers
were chosen on training images alone (docs/methods.md). How loops are run, paired and billed is told in loops.py.

The forecast of every loop whose policies are fixed is set against its ledger: units, which have to be equal, and
seconds by rates measured in the same process just before the loop.

Needs FRUGAL_DATA (or a network). Prints a table, draws it if --out is given, and prints one JSON object as its last
line.
"""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import harness

# First of all: it sets the number of threads.
import loops
from levers_figure import draw
from loops import Arm, Bench, Spent

from tasks import files
from tasks.compare.interval import half_width
from tasks.cost.rates import Rates
from tasks.datasets.store import load_info
from tasks.forecast.calibrate import measure
from tasks.forecast.loop import notes
from tasks.forecast.plan import plan
from tasks.forecast.sizes import Sizes
from tasks.rounds import Workspace, load_config

TARGETS = {"accuracy_points_below_vanilla": 0.3, "more_labels": 0, "share_of_vanilla_compute": 0.2}
VANILLA = "vanilla"
COMMON = ("device=cpu", "label.seconds=0.0")
LOOP = ("loop.initial=200", "loop.query_size=200", "loop.rounds=11", "loop.max_labels=2200")
QUICK = ("dataset.limit=1000", "loop.initial=20", "loop.query_size=20", "loop.rounds=4", "loop.max_labels=80")
#: Device-seconds of a unit on the machine of the published table; fixed, so that its decisions can be made again.
RATES = "rates={record_epoch: 1.7e-4, forward_pass: 4.8e-5, stage: 0.05}"


#: The others have three; without a false start the watch changes nothing, byte by byte.
SEEDS = {VANILLA: 5, "preset": 5, "random": 5, "false-start watch": 1}


def main() -> None:
    """Run what is missing, then tell."""
    options = arguments()
    made = loops.bench(options, __file__, arms(options.quick))
    if not loops.work(made, options, before=calibrate):
        return
    found = {arm.name: spent for arm in made.arms if (spent := made.finished(arm))}
    table = {name: summary(spent, found[VANILLA]) for name, spent in found.items()}
    tell(table)
    forecasts = {arm.name: told for arm in made.arms if (told := forecast(made, arm))}
    for name, told in forecasts.items():
        print(f"forecast of {name}: units {'equal' if told['units_equal'] else 'DIFFER'}, {told['seconds_off']}")
    if options.out:
        draw(table, options.out / f"levers{'-quick' if options.quick else ''}.png")
    figures = {**headline(table), "targets": TARGETS, "forecast": forecasts, "arms": table}
    harness.publish("levers", figures, options, ("torch", "numpy"))


def arguments() -> argparse.Namespace:
    """The command line."""
    return loops.parser(__doc__, quick="1,000 items, 4 rounds of 20, one seed").parse_args()


def arms(quick: bool = False) -> tuple[Arm, ...]:
    """Vanilla and the preset first, so that they are there whenever the time is over."""
    size = QUICK if quick else LOOP
    candidates = f"infer.candidates={{size: {100 if quick else 2500}, explore: 0.05, stale_bonus: -0.02}}"

    def alone(name: str, *settings: str) -> Arm:
        return Arm(name, "mnist.yaml", (*COMMON, *size, *settings))

    every = (
        alone(VANILLA),
        Arm("preset", "frugal.yaml", (*COMMON, *(QUICK if quick else ()))),
        alone("random", "select.strategy=random"),
        alone("resume", "policy.retrain=resume", "policy.resume={replay: 0.25, epochs: 20}"),
        alone("warm", "policy.retrain=warm", "policy.warm.epochs=6"),
        alone("candidates", "infer.scope=[candidates]", candidates),
        alone("geometric", "policy.query_size=geometric", "policy.geometric={factor: 2.5, largest: 450}"),
        alone("stop in time", "policy.stop_set=1000", "policy.stop.stable_predictions={kappa: 0.97, patience: 3}"),
        alone("every 2nd", "infer.scope=[every]", "infer.every.rounds=2"),
        alone("shrink-perturb", "policy.retrain=shrink_perturb", "policy.shrink_perturb.epochs=6"),
        alone("auto", "policy.retrain=auto", "policy.stop_set=1000", "policy.resume={replay: 0.25, epochs: 20}"),
        alone("cost-optimal", "policy.query_size=cost_optimal", "train.validation=0.1", RATES),
        alone("false-start watch", "policy.false_start={}"),
    )
    return tuple(replace(arm, seeds=1 if quick else SEEDS.get(arm.name, 3)) for arm in every)


def calibrate(workspace: Workspace) -> None:
    """Time this machine just before the first loop of an arm whose policies are fixed, and keep the rates with it."""
    config, info = load_config(workspace), load_info(workspace)
    if config.seed or notes(config):
        return
    sizes = Sizes(info.shape, info.task.outputs, info.items, info.held_out)
    kept = {"rates": asdict(measure(config, sizes)), "sizes": asdict(sizes)}
    files.write_json(workspace.root / "rates.json", kept)


def summary(spent: Sequence[Spent], vanilla: Sequence[Spent]) -> dict[str, Any]:
    """One arm: means over its seeds, and what it used as a share of what vanilla did with the same seed."""
    of_vanilla = {one.seed: one for one in vanilla}
    pairs = [(one, of_vanilla[one.seed]) for one in spent if one.seed in of_vanilla]
    last = [one.history[-1] for one in spent]
    gaps = [100 * (mine.history[-1].accuracy - theirs.history[-1].accuracy) for mine, theirs in pairs]
    return {
        "seeds": [one.seed for one in spent],
        "accuracy": mean([outcome.accuracy for outcome in last]),
        "ci95": interval([outcome.accuracy for outcome in last]),
        "accuracy_values": [outcome.accuracy for outcome in last],
        "points_to_vanilla": mean(gaps),
        "points_to_vanilla_ci95": interval(gaps),
        "labels": mean([outcome.bought for outcome in last]),
        "rounds": mean([len(one.history) for one in spent]),
        "record_epochs": mean([outcome.record_epochs for outcome in last]),
        "items_scored": mean([outcome.items_scored for outcome in last]),
        "forward_passes": mean([outcome.forward_passes for outcome in last]),
        "cpu_s": mean([one.cpu_s for one in spent], 2),
        "cpu_s_values": [round(one.cpu_s, 2) for one in spent],
        "cpu_s_stages": {stage: mean([one.stages[stage] for one in spent], 2) for stage in loops.STAGES},
        "cpu_s_policies": mean([one.policies for one in spent], 2),
        "money": mean([outcome.money for outcome in last], 4),
        "money_compute": mean([outcome.money_compute for outcome in last], 6),
        "share_of_vanilla": {
            "cpu_s": spread([mine.cpu_s / theirs.cpu_s for mine, theirs in pairs]),
            **{name: spread([share(name, *pair) for pair in pairs]) for name in ("record_epochs", "items_scored")},
        },
        "curves": [curve(one) for one in spent],
    }


def share(name: str, mine: Spent, theirs: Spent) -> float:
    """What a loop used of something, over what another did."""
    return float(getattr(mine.history[-1], name) / getattr(theirs.history[-1], name))


def spread(ratios: Sequence[float]) -> dict[str, float] | None:
    """Median, least and most."""
    if not ratios:
        return None
    ends = {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}
    return {name: round(value, 4) for name, value in ends.items()}


def curve(spent: Spent) -> dict[str, list[float]]:
    """Of one loop, round by round."""
    return {
        "labels": [outcome.labels for outcome in spent.history],
        "accuracy": [outcome.accuracy for outcome in spent.history],
        "cpu_s": [round(seconds, 2) for seconds in spent.cpu_s_by_round],
    }


def mean(values: Sequence[float], digits: int = 6) -> float:
    """The mean, rounded."""
    return round(statistics.mean(values), digits)


def interval(values: Sequence[float]) -> float | None:
    """Half the width of the mean's 95 % interval, to six places; None for a single value."""
    half = half_width(values)
    return None if half is None else round(half, 6)


def forecast(made: Bench, arm: Arm) -> dict[str, Any] | None:
    """What was forecast of an arm's first loop, and what its ledger says; None where policies decide on the way."""
    workspace = made.place(arm, 0)
    path = workspace.root / "rates.json"
    if not path.exists() or loops.left(workspace):
        return None
    kept, last = files.read_json(path), made.finished(arm)[0].history[-1]
    sizes = Sizes(**{**kept["sizes"], "shape": tuple(kept["sizes"]["shape"])})
    planned = plan(load_config(workspace), sizes, Rates(**kept["rates"]))
    if not planned.exact:
        return None
    work = planned.total.work
    units = {
        "labels": (work.labels, last.bought),
        "record_epochs": (work.record_epochs, last.record_epochs),
        "items_scored": (work.items_scored, last.items_scored),
        "forward_passes": (planned.total.passes, last.forward_passes),
    }
    seconds, actual = 3600 * planned.total.device_hours, 3600 * last.device_hours
    return {
        "units": {name: {"forecast": expected, "ledger": there} for name, (expected, there) in units.items()},
        "units_equal": all(expected == there for expected, there in units.values()),
        "device_s": {"forecast": round(seconds, 2), "ledger": round(actual, 2)},
        "seconds_off": f"{100 * (seconds / actual - 1):+.1f} %",
        "rates": kept["rates"],
    }


def headline(table: Mapping[str, Any]) -> dict[str, Any]:
    """The preset against vanilla, and whether that is what was aimed at; of a table without it, nothing."""
    if "preset" not in table:
        return {}
    preset, vanilla = table["preset"], table[VANILLA]
    share = preset["share_of_vanilla"]["cpu_s"]
    reached = {
        "accuracy": preset["points_to_vanilla"] >= -TARGETS["accuracy_points_below_vanilla"],
        "labels": preset["labels"] <= vanilla["labels"],
        "compute": share["median"] <= TARGETS["share_of_vanilla_compute"],
    }
    names = ("points_to_vanilla", "points_to_vanilla_ci95", "labels")
    return {"preset": {name: preset[name] for name in names} | {"share_of_vanilla_compute": share, "reached": reached}}


def tell(table: Mapping[str, Any]) -> None:
    """Print the table, as the documentation has it."""
    print(
        "| arm | seeds | accuracy, % | to vanilla, points | labels | record-epochs | items scored | TRAIN | INFER |",
        end="",
    )
    print(" CPU-seconds | of vanilla's | money |")
    print("|---" * 12 + "|")
    for name, row in table.items():
        print(f"| {' | '.join(cells(name, row))} |")


def cells(name: str, row: Mapping[str, Any]) -> list[str]:
    """One arm's line of the table."""
    stages, share = row["cpu_s_stages"], row["share_of_vanilla"]["cpu_s"]
    return [
        name,
        str(len(row["seeds"])),
        f"{100 * row['accuracy']:.2f}{plus_minus(100, row['ci95'])}",
        f"{row['points_to_vanilla']:+.2f}{plus_minus(1, row['points_to_vanilla_ci95'])}",
        f"{row['labels']:,.0f}",
        f"{row['record_epochs']:,.0f}",
        f"{row['items_scored']:,.0f}",
        f"{stages['train']:.1f}",
        f"{stages['infer']:.1f}",
        f"{row['cpu_s']:.1f}",
        f"{share['median']:.2f} ({share['least']:.2f} to {share['most']:.2f})",
        f"{row['money']:.2f}",
    ]


def plus_minus(scale: float, half: float | None) -> str:
    """An interval, where there is one."""
    return "" if half is None else f" ±{scale * half:.2f}"


if __name__ == "__main__":
    main()
