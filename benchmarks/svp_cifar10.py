"""Selection via proxy on CIFAR-10: how much sooner does a small network select for a large one, and at what price?

    python benchmarks/svp_cifar10.py --work DIR [--protocol cpu|paper] [--device cpu|cuda] [--minutes N] [--so-far]
        [--quick] [--out benchmarks/results]

Arms differ in who selects, by least confidence, what the target is trained on: the target itself, proxies, or chance.
Every model begins anew in each round, and the target is trained on the selection of each budget. The pool is scored
without augmentation, and the test set chooses nothing. Seeds are paired: in each seed all arms have the same initial
labels, and targets on equally many labels the same first weights; a proxy shares its weights with nobody.

`selection` is what the source's table 1 counts: seconds of training the selecting model, scoring and ranking, of all
rounds up to a budget, without the target's training on the outcome; `end_to_end` counts that as well. Seconds are
CPU-seconds of one thread, or wall seconds of a GPU.

How well a proxy agrees with the target is told on the items that are unlabelled at the time, by models that were
trained on the same labels. The ceiling beside it is what two targets agree that differ in their seed alone.

cpu: pool of 3,000 of the 50,000, preact_resnet56 as the target, budgets of 20, 30 and 40 % beside 10 % at random. The
source's row "ResNet56" has that network as a proxy; it speaks of another question. paper: preact_resnet164 and the
source's budgets, 10 to 50 % of the whole pool beside 2 % at random, with 15 epochs where the source has 181; for a GPU.

Source: C. Coleman et al., Selection via Proxy, ICLR 2020, arXiv 1906.11829, section 4 and table 1.

Needs FRUGAL_DATA (or a network). Prints a table, and one JSON object as its last line.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import harness

# First of all: it sets the number of threads.
import loops
import numpy as np
import numpy.typing as npt
import torch
from ceal_cifar10 import provide
from pairs import difference, spread, summary, told_difference, told_mean, told_spread

from tasks import files
from tasks.config import load
from tasks.config_train import AugmentConfig, TrainConfig
from tasks.datasets.store import PoolInfo, load_info, load_items
from tasks.infer.scoring import score_items
from tasks.models import building
from tasks.models import device as devices
from tasks.models.forward import predict
from tasks.models.view import View
from tasks.rounds import Workspace
from tasks.seeds import seed_sequence, torch_seed
from tasks.select import top_k, uniform
from tasks.select.choice import Candidates
from tasks.task_type.class_scores import accuracy
from tasks.train.examples import Examples
from tasks.train.fit import fit

Rows = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]
#: Of one step: what it took, what it led to and what was selected.
Step = dict[str, Any]

TARGET, RANDOM = "target", "random"
#: Which of the models on one set of labels: each has its own seed.
FIRST, SECOND, PROXY = 0, 1, 2
#: Of the source's table 1, by the share of the pool in percent: CIFAR-10, least confidence, a proxy for ResNet-164.
PUBLISHED = {
    "preact_resnet20": {10: 3.8, 20: 5.8, 30: 6.7, 40: 7.0, 50: 7.2},
    "preact_resnet56": {10: 2.6, 20: 2.9, 30: 3.0, 40: 3.1, 50: 3.1},
}


@dataclass(frozen=True)
class Arm:
    """Who selects."""

    name: str
    #: In what the selecting model differs from the target; None: nobody selects, items are drawn at random.
    selector: Mapping[str, Any] | None
    #: Whether the target is trained at each budget; else at the largest alone.
    every: bool = True


@dataclass(frozen=True)
class Protocol:
    """One question."""

    name: str
    device: str
    #: Items of the pool; None: all.
    pool: int | None
    initial: int
    budgets: tuple[int, ...]
    train: TrainConfig
    arms: tuple[Arm, ...]
    seeds: int
    #: How many test items are looked at, evenly spread over all.
    held_out: int
    #: Labels at which a second target tells the ceiling, on the first proxy's selection.
    ceiling: int

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of labels, round by round."""
        return (self.initial, *self.budgets)

    @property
    def proxies(self) -> tuple[Arm, ...]:
        """The arms in which a proxy selects."""
        return tuple(arm for arm in self.arms if arm.selector)

    def selecting(self, arm: Arm) -> TrainConfig:
        """How the model learns that selects in an arm."""
        return self.train.model_copy(update=dict(arm.selector or {}))


CPU = Protocol(
    name="svp_cifar10",
    device="cpu",
    pool=3000,
    initial=300,
    budgets=(600, 900, 1200),
    train=TrainConfig(
        model="preact_resnet56",
        epochs=12,
        batch_size=32,
        optimizer="sgd",
        #: Of 0.05 and 0.1 the better one for the target, on training images outside of the pool.
        lr=0.05,
        weight_decay=5e-4,
        schedule="one_cycle",
        augment=AugmentConfig(flip=True, crop=4),
        precision="bf16",
    ),
    arms=(
        Arm(TARGET, {}),
        Arm("preact_resnet20", {"model": "preact_resnet20"}),
        Arm(RANDOM, None),
        Arm("half the epochs", {"epochs": 6}, every=False),
        Arm("preact_resnet8", {"model": "preact_resnet8"}, every=False),
    ),
    seeds=3,
    held_out=5000,
    ceiling=600,
)
PAPER = Protocol(
    name="svp_cifar10-paper",
    device="cuda",
    pool=None,
    initial=1000,
    budgets=(5000, 10000, 15000, 20000, 25000),
    train=CPU.train.model_copy(update={"model": "preact_resnet164", "epochs": 15, "batch_size": 128, "lr": 0.1}),
    arms=CPU.arms[:3],
    seeds=1,
    held_out=10000,
    ceiling=10000,
)


def quick(protocol: Protocol) -> Protocol:
    """The same arms on a few items."""
    tiny = protocol.train.model_copy(update={"epochs": 2, "batch_size": 16})
    arms = tuple(
        replace(arm, selector={**arm.selector, "epochs": 1}) if arm.selector and "epochs" in arm.selector else arm
        for arm in protocol.arms
    )
    budgets = tuple(24 * (index + 2) for index in range(len(protocol.budgets)))
    return replace(
        protocol, pool=200, initial=24, budgets=budgets, train=tiny, arms=arms, seeds=1, held_out=100, ceiling=48
    )


def main() -> None:
    """Do what is missing, then tell."""
    options = arguments()
    protocol = chosen(options)
    provide(options.work)
    bench = Bench(options.work / (protocol.name + "-quick" * options.quick), protocol)
    if not options.so_far:
        try:
            run_all(bench, time.time() + 60 * options.minutes if options.minutes else float("inf"))
        except loops.OutOfTime:
            print(f"{options.minutes:g} minutes are over: the same command goes on", file=sys.stderr)
            sys.exit(loops.STOPPED)
    found = bench.finished()
    if not found:
        sys.exit(f"{bench.work}: no seed is done in all its arms")
    figures = {**headline(protocol, found), "arms": told(protocol, found), "protocol": declared(protocol)}
    print_table(figures["arms"])
    harness.publish(protocol.name, figures, options, ("torch", "numpy"))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = harness.parser(__doc__, quick="200 items, two epochs, one seed")
    parser.add_argument("--work", type=Path, required=True, help="where finished steps are kept, to go on later")
    parser.add_argument("--protocol", choices=("cpu", "paper"), default="cpu", help="which question (default: cpu)")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="(default: cpu, and cuda for the paper's)")
    parser.add_argument("--seeds", type=int, help="of each arm (default: 3, and 1 for the paper's)")
    parser.add_argument("--minutes", type=float, help="begin no step after so many, and exit with 3")
    parser.add_argument("--so-far", action="store_true", help="run nothing, tell of the seeds that are done")
    return parser.parse_args()


def chosen(options: argparse.Namespace) -> Protocol:
    """What the command line asks for."""
    protocol = PAPER if options.protocol == "paper" else CPU
    if options.quick:
        protocol = replace(quick(protocol), device="cpu")
    return replace(protocol, device=options.device or protocol.device, seeds=options.seeds or protocol.seeds)


# Work


@dataclass(frozen=True)
class Bench:
    """A protocol at work in a folder: one JSON and one NPZ file of a finished step."""

    work: Path
    protocol: Protocol

    def path(self, arm: Arm, seed: int, number: int) -> Path:
        """Where a step is kept."""
        return self.work / f"{loops.slug(arm.name)}-{seed}" / f"{number}.json"

    def read(self, arm: Arm, seed: int, number: int) -> Step | None:
        """A finished step, with its arrays, or None."""
        path = self.path(arm, seed, number)
        if not path.exists():
            return None
        with np.load(path.with_suffix(".npz")) as arrays:
            return {**files.read_json(path), **arrays}

    def write(self, arm: Arm, seed: int, number: int, step: Step) -> None:
        """Keep a step."""
        path = self.path(arm, seed, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {name: value for name, value in step.items() if isinstance(value, np.ndarray)}
        np.savez(path.with_suffix(".npz"), allow_pickle=False, **arrays)
        files.write_json(path, {name: value for name, value in step.items() if name not in arrays})

    def finished(self) -> list[dict[str, list[Step]]]:
        """Of every seed all of whose arms are done: the steps of each."""
        found = []
        for seed in range(self.protocol.seeds):
            steps = {arm.name: [self.read(arm, seed, at) for at in self._numbers] for arm in self.protocol.arms}
            whole = {name: [step for step in made if step is not None] for name, made in steps.items()}
            if all(len(made) == len(self._numbers) for made in whole.values()):
                found.append(whole)
        return found

    @property
    def _numbers(self) -> range:
        return range(len(self.protocol.sizes))

    @cached_property
    def data(self) -> "Data":
        """The data set."""
        settings = ["device=cpu"] + [f"dataset.limit={self.protocol.pool}"] * (self.protocol.pool is not None)
        config = load(loops.CONF / "cifar10-frugal.yaml", tuple(settings))
        place = loops.shared_pool(loops.Bench(self.work.parent, (), ()), config)
        return Data(self.protocol, load_info(place), labelled(place, "pool"), labelled(place, "test"))


def labelled(place: Workspace, split: Any) -> Examples:
    """A split with the labels of all its items."""
    items = load_items(place, split)
    table = files.read_table(place.pool / ("oracle.parquet" if split == "pool" else "test.parquet"), ["id", "label"])
    labels = dict(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True))
    return Examples(items.array, np.array([labels[id_] for id_ in items.ids.to_pylist()]), items.ids)


class Data:
    """CIFAR-10, and what is done with it; everything is timed as the protocol's device wants it."""

    def __init__(self, protocol: Protocol, info: PoolInfo, pool: Examples, test: Examples) -> None:
        self.protocol, self.info, self.pool = protocol, info, pool
        self.device = devices.resolve("cuda" if protocol.device == "cuda" else "cpu")
        every = np.linspace(0, len(test), protocol.held_out, endpoint=False).astype(np.int64)
        self.test = Examples(np.array(test.items[every]), test.labels[every])

    def seconds(self) -> float:
        """A clock: of this process's work on a CPU, of the wall beside a GPU."""
        if self.device.type == "cpu":
            return time.process_time()
        torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def view(self, settings: TrainConfig) -> View:
        """How a model sees the items."""
        return View(self.device, self.info.mean, self.info.std, settings.precision, settings.channels_last)

    def train(self, settings: TrainConfig, rows: Rows, seed: int) -> tuple[torch.nn.Module, float]:
        """A model of its own on the labels of ``rows``, and the seconds that it took."""
        began = self.seconds()
        ordered = np.sort(rows)
        build = partial(building.build, settings.model, self.info.shape, self.info.task.outputs)
        examples = Examples(self.pool.items[ordered], self.pool.labels[ordered])
        model, _ = fit(build, examples, None, settings, self.view(settings), seed)
        return model, self.seconds() - began

    def score(self, model: torch.nn.Module, settings: TrainConfig, labelled: Rows) -> tuple[Scores, float]:
        """Least confidence of the unlabelled items, NaN elsewhere, and the seconds that it took."""
        began = self.seconds()
        rows = np.setdiff1d(np.arange(len(self.pool)), labelled)
        scored = score_items([model], self.view(settings), self.pool.items, rows, "least_confidence", 512)
        scores = np.full(len(self.pool), np.nan)
        scores[rows] = scored.score
        return scores, self.seconds() - began

    def select(
        self, strategy: Callable[[Candidates, int], Any], scores: Scores, labelled: Rows, seed: Any, size: int
    ) -> tuple[Rows, float]:
        """The labelled items with ``size`` more, and the seconds that it took to choose them."""
        began = self.seconds()
        rows = np.setdiff1d(np.arange(len(self.pool)), labelled)
        assert self.pool.ids is not None
        candidates = Candidates(self.pool.ids.take(rows), scores[rows], seed)
        positions = strategy(candidates, size).positions
        return np.concatenate([labelled, rows[positions]]), self.seconds() - began

    def error(self, model: torch.nn.Module, settings: TrainConfig) -> float:
        """On the test items, in percent."""
        scores = predict(model, self.test.items, self.view(settings))
        return round(100 * (1 - accuracy(scores, self.test.labels)), 4)


def run_all(bench: Bench, until: float) -> None:
    """Do every step that is missing, seeds outermost, so that whenever it ends all arms have the same seeds.

    Raises:
        OutOfTime: something is left to do.
    """
    warm = False
    for seed in range(bench.protocol.seeds):
        for arm in bench.protocol.arms:
            rows = None
            for number, labels in enumerate(bench.protocol.sizes):
                step = bench.read(arm, seed, number)
                if step is None:
                    if time.time() >= until:
                        raise loops.OutOfTime
                    if not warm:
                        warm_up(bench)
                        warm = True
                    rows = initial(bench.data, seed) if rows is None else rows
                    step = advance(bench.data, arm, seed, number, rows)
                    bench.write(arm, seed, number, step)
                    print(f"seed {seed}, {arm.name}, {labels}: {brief(step)}", file=sys.stderr, flush=True)
                rows = step["rows"]


def brief(step: Step) -> str:
    """A line on what a step came to."""
    return ", ".join(f"{name} {value}" for name, value in step.items() if not isinstance(value, np.ndarray))


def warm_up(bench: Bench) -> None:
    """What the first training of a process takes longer is not to be on the bill of whichever comes first."""
    data = bench.data
    selecting = [bench.protocol.selecting(arm) for arm in bench.protocol.arms]
    for settings in {settings.model: settings for settings in selecting}.values():
        rows = np.arange(2 * settings.batch_size)
        model, _ = data.train(settings.model_copy(update={"epochs": 1}), rows, seed=0)
        data.score(model, settings, np.arange(min(len(data.pool) - 1, 512), len(data.pool)))


def initial(data: Data, seed: int) -> Rows:
    """The first labels of a seed, in all its arms."""
    nothing = np.full(len(data.pool), np.nan)
    first = seed_sequence(seed, 0, "select")
    return data.select(uniform.select, nothing, np.empty(0, np.int64), first, data.protocol.initial)[0]


def advance(data: Data, arm: Arm, seed: int, number: int, labelled: Rows) -> Step:
    """One round of an arm: the target on what is labelled, if it is wanted, and the next selection.

    Returns:
        target: seconds of its training and its error; proxy_error; select: seconds by what they went into; rows: what
        is labelled afterwards; and scores of the unlabelled items by who gave them.
    """
    protocol = data.protocol
    last, itself = number == len(protocol.sizes) - 1, arm.selector == {}
    step: Step = {"labels": len(labelled), "rows": labelled}

    def seeded(which: int) -> int:
        return torch_seed(seed, number, "train", which)

    def scored(settings: TrainConfig, which: int, name: str) -> tuple[torch.nn.Module, float, float]:
        model, train_s = data.train(settings, labelled, seeded(which))
        step[name], infer_s = data.score(model, settings, labelled)
        return model, train_s, infer_s

    if itself or last or (arm.every and number > 0):
        model, train_s, infer_s = scored(protocol.train, FIRST, "of_target")
        step["target"] = {"train_s": round(train_s, 4), "error": data.error(model, protocol.train)}
    if arm == protocol.proxies[0] and len(labelled) == protocol.ceiling:
        scored(protocol.train, SECOND, "of_second")
    if last:
        return step
    size, drawn = protocol.sizes[number + 1] - len(labelled), seed_sequence(seed, number + 1, "select")
    if arm.selector is None:
        nothing = np.full(len(data.pool), np.nan)
        step["rows"], rank_s = data.select(uniform.select, nothing, labelled, drawn, size)
        train_s = infer_s = 0.0
    else:
        if not itself:
            model, train_s, infer_s = scored(protocol.selecting(arm), PROXY, "of_selector")
            step["proxy_error"] = data.error(model, protocol.selecting(arm))
        scores = step["of_target" if itself else "of_selector"]
        step["rows"], rank_s = data.select(top_k.select, scores, labelled, drawn, size)
    step["select"] = {"train_s": round(train_s, 4), "infer_s": round(infer_s, 4), "rank_s": round(rank_s, 4)}
    return step


# Figures

#: Of one seed: the steps of each arm.
Seed = Mapping[str, Sequence[Step]]


def selection_s(steps: Sequence[Step], labels: int) -> float:
    """Seconds of training, scoring and ranking until so many labels are selected."""
    return float(sum(sum(step["select"].values()) for step in steps if step["labels"] < labels))


def at(steps: Sequence[Step], labels: int) -> Step:
    """The step on so many labels."""
    return next(step for step in steps if step["labels"] == labels)


def end_to_end_s(steps: Sequence[Step], labels: int) -> float | None:
    """Seconds until the target is trained on what was selected; None where it was not."""
    target = at(steps, labels).get("target")
    return None if target is None else selection_s(steps, labels) + target["train_s"]


def told(protocol: Protocol, found: Sequence[Seed]) -> dict[str, Any]:
    """Every arm at every budget."""
    return {
        arm.name: {str(labels): at_budget(arm, labels, found) for labels in protocol.budgets}
        | ({"agreement": agreements(protocol, arm, found)} if arm.selector else {})
        for arm in protocol.arms
    }


def at_budget(arm: Arm, labels: int, found: Sequence[Seed]) -> dict[str, Any]:
    """One arm at one budget, over all seeds, and paired with the target that selects for itself and with chance."""
    selecting = [selection_s(seed[arm.name], labels) for seed in found]
    row: dict[str, Any] = {"selection_s": summary(selecting, 2)}
    if arm.selector:
        own = [selection_s(seed[TARGET], labels) for seed in found]
        row["selection_speedup"] = spread([theirs / mine for mine, theirs in zip(selecting, own, strict=True)])
    totals = [total for seed in found if (total := end_to_end_s(seed[arm.name], labels)) is not None]
    if not totals:
        return row
    row["end_to_end_s"] = summary(totals, 2)
    if arm.selector:
        whole = [end_to_end_s(seed[TARGET], labels) or 0.0 for seed in found]
        row["end_to_end_speedup"] = spread([theirs / mine for mine, theirs in zip(totals, whole, strict=True)])
    errors = {who: [at(seed[who], labels)["target"]["error"] for seed in found] for who in (arm.name, TARGET, RANDOM)}
    row["target_error"] = summary(errors[arm.name], 2)
    for who in (TARGET, RANDOM):
        if who != arm.name:
            row[f"error_to_{who}"] = difference(errors[arm.name], errors[who], 2)
    return row


def agreements(protocol: Protocol, arm: Arm, found: Sequence[Seed]) -> dict[str, Any]:
    """How well an arm's proxy agrees with the target on the same labels, wherever both were trained on them."""
    told: dict[str, Any] = {}
    for here, there in pairwise(protocol.sizes):
        pairs = [pair for seed in found if (pair := both(protocol, arm, seed, here)) is not None]
        if pairs:
            errors = summary([at(seed[arm.name], here)["proxy_error"] for seed in found], 2)
            told[str(here)] = {"proxy_error": errors} | means([agreement(*pair, there - here) for pair in pairs])
    return told


def both(protocol: Protocol, arm: Arm, seed: Seed, labels: int) -> tuple[Scores, Scores] | None:
    """Scores by the proxy and by the target; at the start, where all arms have the same labels, by that of its arm."""
    step = at(seed[arm.name], labels)
    target = at(seed[TARGET], labels) if labels == protocol.initial else step
    return (step["of_selector"], target["of_target"]) if "of_target" in target else None


def agreement(one: Scores, other: Scores, size: int) -> dict[str, float]:
    """Of two models' scores of the same items, NaN where labelled.

    Returns:
        Rank correlation (ties share their mean rank), linear correlation, and which share of the ``size`` highest is
        the same; equal scores are taken in the order of the ids.
    """
    from scipy.stats import pearsonr, spearmanr

    there = ~np.isnan(one)
    one, other = one[there], other[there]
    highest = [set(np.argsort(-scores, kind="stable")[:size].tolist()) for scores in (one, other)]
    return {
        "spearman": float(spearmanr(one, other).statistic),
        "pearson": float(pearsonr(one, other).statistic),
        "overlap": len(highest[0] & highest[1]) / size,
        "overlap_by_chance": size / len(one),
    }


def means(found: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """The mean and the extremes of each figure over the seeds."""
    return {name: summary([one[name] for one in found], 4) for name in found[0]}


def ceiling(protocol: Protocol, found: Sequence[Seed]) -> dict[str, Any]:
    """What two targets agree that differ in their seed alone, on the first proxy's selection."""
    number = protocol.sizes.index(protocol.ceiling)
    size = protocol.sizes[number + 1] - protocol.ceiling
    steps = [at(seed[protocol.proxies[0].name], protocol.ceiling) for seed in found]
    return means([agreement(step["of_target"], step["of_second"], size) for step in steps])


def headline(protocol: Protocol, found: Sequence[Seed]) -> dict[str, Any]:
    """The first proxy beside the target, in short; agreement and ceiling at the labels of the ceiling."""
    proxy = protocol.proxies[0]
    rows = told(protocol, found)
    budgets = [str(labels) for labels in protocol.budgets]
    close = rows[proxy.name]["agreement"][str(protocol.ceiling)]
    highest = ceiling(protocol, found)
    names = ("spearman", "pearson", "overlap")
    return {
        "n": len(found),
        "proxy": proxy.name,
        "target": protocol.train.model,
        "selection_speedup": {at: rows[proxy.name][at]["selection_speedup"] for at in budgets},
        "end_to_end_speedup": {at: rows[proxy.name][at]["end_to_end_speedup"] for at in budgets},
        "target_error": {
            name: {at: row[at]["target_error"] for at in budgets if "target_error" in row[at]}
            for name, row in rows.items()
        },
        "agreement_at": protocol.ceiling,
        **{name: close[name] for name in names},
        "ceiling": {name: highest[name] for name in names},
        "published": {"target": "preact_resnet164", "speedup_by_percent_of_the_pool": PUBLISHED},
    }


def declared(protocol: Protocol) -> dict[str, Any]:
    """The protocol, in the result."""
    return {
        "device": protocol.device,
        "clock": "process CPU seconds, one thread" if protocol.device == "cpu" else "wall seconds",
        "pool": protocol.pool or 50000,
        "initial": protocol.initial,
        "budgets": list(protocol.budgets),
        "test_items": protocol.held_out,
        "target": protocol.train.model_dump(mode="json", exclude_defaults=True),
        "selectors": {arm.name: None if arm.selector is None else dict(arm.selector) for arm in protocol.arms},
    }


def print_table(arms: Mapping[str, Any]) -> None:
    """The table, as the documentation has it."""
    print("| selects | labels | selection, s | speed-up | end to end, s | speed-up |", end="")
    print(" target's error, % | to target | to random |")
    print("|---" * 9 + "|")
    for name, row in arms.items():
        for labels, cells in row.items():
            if labels != "agreement":
                print(f"| {name} | {labels} | {' | '.join(line(cells))} |")


def line(cells: Mapping[str, Any]) -> list[str]:
    """One arm at one budget."""
    return [
        told_mean(cells.get("selection_s"), 1),
        told_spread(cells.get("selection_speedup")),
        told_mean(cells.get("end_to_end_s"), 1),
        told_spread(cells.get("end_to_end_speedup")),
        told_mean(cells.get("target_error"), 1),
        *(told_difference(cells.get(f"error_to_{who}"), 1) for who in (TARGET, RANDOM)),
    ]


if __name__ == "__main__":
    main()
