"""What stopping too early or too late costs: the regret of each stopping rule over recorded curves.

    python benchmarks/stopping.py --work DIR [--quick] [--jobs 2] [--minutes N] [--so-far] [--out benchmarks/results]

Loops on digits and on a part of MNIST are run to their end, with all that any rule goes by measured on the way; then
each rule is asked, round by round, where it would have stopped. Its regret is the money that the best stopping point in
hindsight is worth more: held-out accuracy by the value of a percentage point, less the bill so far. A fifth of the
labels is held back for the rules that go by an accuracy, and paid for like the others. Seeds differ from those on
which the preset's rule was chosen (docs/methods.md).

Needs FRUGAL_DATA (or a network) for MNIST. Prints a table for each value of a point, draws one if --out is given, and
prints one JSON object as its last line.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import harness

# Before anything that loads torch: it sets the number of threads.
import loops
from loops import Arm, Bench

from tasks.config_policy import StopConfig
from tasks.replay import panel, recording, regret, results
from tasks.replay.recording import Recording
from tasks.replay.results import BEST, Mean, Row

#: Of a percentage point, in the currency of conf/prices.yaml, where a label costs 0.05; the second is the headline.
VALUES = (0.5, 1.0, 2.0)
HEADLINE = 1.0
DEFAULT = "default (conf/frugal.yaml)"
TARGETS = {"default_share_of_run_to_the_end": 0.5}
#: Measures what the rules without labels go by, and never holds.
RECORDED = "policy.stop.all={rounds: {at_least: 1000000}, stable_predictions: {}, overall_uncertainty: {}}"
RATES = "rates={record_epoch: 1.7e-4, forward_pass: 4.8e-5, stage: 0.05}"
COMMON = (RECORDED, RATES, "device=cpu", "label.seconds=0.0", "train.validation=0.2")
LINEAR = ("train.model=linear", "train.lr=0.02")
#: Trainings short enough for a hundred rounds a minute.
SHORT = ("train.epochs=20", "train.batch_size=32")
DIGITS = ("loop.initial=50", "loop.query_size=50", "loop.rounds=20", "policy.stop_set=500", *SHORT)
MNIST = ("dataset.limit=3000", "loop.initial=200", "loop.query_size=200", "loop.rounds=10")
#: Loops of earlier seeds served to choose the default rule.
FIRST = 10
QUICK = ("dataset.limit=150", "loop.initial=10", "loop.query_size=10", "loop.rounds=4", "train.epochs=2")


def main() -> None:
    """Record what is missing, then replay and tell."""
    options = arguments()
    made = loops.bench(options, __file__, arms(options.quick))
    if not loops.work(made, options):
        return
    curves = recordings(made)
    tables = {value: regrets(curves, value) for value in VALUES}
    for value, table in tables.items():
        tell(table, value)
    if options.out:
        draw(tables[HEADLINE][1], options.out / f"stopping{'-quick' if options.quick else ''}.png")
    harness.publish("stopping", figures(curves, tables), options, ("torch", "numpy"))


def arguments() -> argparse.Namespace:
    """The command line."""
    return loops.parser(__doc__, quick="150 digits, 4 rounds of 10, one curve of each kind").parse_args()


def arms(quick: bool = False) -> tuple[Arm, ...]:
    """The kinds of curves."""

    def digits(name: str, *settings: str) -> Arm:
        return Arm(f"digits, {name}", "digits.yaml", (*COMMON, *DIGITS, *settings), 4)

    kinds = (
        digits("linear", *LINEAR),
        digits("linear, random", *LINEAR, "select.strategy=random"),
        digits("linear, 10 % wrong labels", *LINEAR, "label.noise=0.1"),
        digits("network", "train.model=ceal_cnn"),
        Arm("mnist, network", "mnist.yaml", (*COMMON, *MNIST), 2),
        Arm("mnist, network, random", "mnist.yaml", (*COMMON, *MNIST, "select.strategy=random"), 2),
    )
    if quick:
        return tuple(replace(kind, settings=(*kind.settings, *QUICK), seeds=1) for kind in kinds[:4])
    return tuple(replace(kind, first=FIRST) for kind in kinds)


def recordings(made: Bench) -> list[Recording]:
    """The finished loops."""
    return [
        recording.of_workspace(made.place(arm, one.seed), f"{arm.name}, seed {one.seed}")
        for arm in made.arms
        for one in made.finished(arm)
    ]


def regrets(curves: Sequence[Recording], value: float) -> tuple[list[Row], list[Mean]]:
    """Every rule on every curve, and over all of them, at one value of a percentage point."""
    stops = rules(value)
    rows = [row for curve in curves for row in results.rows(panel.prepared(curve, curve.config), stops, value)]
    return rows, results.means(rows)


def rules(value: float) -> dict[str, StopConfig]:
    """The default rule, and each rule with its own defaults."""
    preset = Arm("preset", "frugal.yaml").configuration(0).policy.stop
    return {DEFAULT: preset} | panel.panel(StopConfig(), None, value)


def figures(curves: Sequence[Recording], tables: Mapping[float, tuple[list[Row], list[Mean]]]) -> dict[str, Any]:
    """The headline and everything behind it."""
    return {
        "n": len(curves),
        "value_per_point": HEADLINE,
        "currency": curves[0].config.prices.currency,
        "default_share_of_run_to_the_end": {f"{value:g}": share(table[1]) for value, table in tables.items()},
        "targets": TARGETS,
        "means": {f"{value:g}": [asdict(mean) for mean in table[1]] for value, table in tables.items()},
        "rows": [plain(row) for row in tables[HEADLINE][0]],
        "curves": {curve.name: [(one.labels, one.accuracy) for one in curve.history] for curve in curves},
    }


def plain(row: Row) -> dict[str, Any]:
    """Where a rule stopped on a curve, and what that cost."""
    return {name: getattr(row, name) for name in ("run", "rule", "round", "labels", "accuracy", "money", "regret")}


def share(means: Sequence[Mean]) -> float | None:
    """The default rule's regret over that of running to the end."""
    found = {mean.rule: mean.regret for mean in means}
    mine, end = found[DEFAULT], found[regret.TO_THE_END]
    return round(mine / end, 4) if mine is not None and end else None


def tell(table: tuple[list[Row], list[Mean]], value: float) -> None:
    """Print the table, as the documentation has it."""
    print(f"\nvalue of a point: {value:g}\n")
    print("| rule | curves | stopped early | regret | points lost | labels saved |")
    print("|---" * 6 + "|")
    for mean in table[1]:
        if mean.rule == BEST or mean.regret is None:
            continue
        half = "" if mean.regret_ci95 is None else f" ±{mean.regret_ci95:.2f}"
        print(
            f"| {mean.rule} | {mean.n} | {mean.stopped} | {mean.regret:.2f}{half} | {mean.points_lost:+.2f} | "
            f"{mean.saved_labels:.0f} |"
        )


def draw(means: Sequence[Mean], path: Path) -> None:
    """Mean regret of each rule, with its 95 % interval over the curves."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    shown = [mean for mean in means if mean.rule != BEST and mean.regret is not None]
    shown.sort(key=lambda mean: mean.regret or 0.0, reverse=True)
    figure, axis = pyplot.subplots(figsize=(8, 0.5 * len(shown) + 1.2), layout="constrained")
    colors = ["C3" if mean.rule == DEFAULT else "0.6" for mean in shown]
    axis.barh(
        [mean.rule for mean in shown],
        [mean.regret or 0.0 for mean in shown],
        xerr=[mean.regret_ci95 or 0.0 for mean in shown],
        color=colors,
        capsize=3,
    )
    axis.set(xlabel=f"mean regret against the best stopping point in hindsight, USD; a point is worth {HEADLINE:g}")
    axis.set_title(f"{max(mean.n for mean in shown)} recorded curves")
    axis.grid(True, axis="x", alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
