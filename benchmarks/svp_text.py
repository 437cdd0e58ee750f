"""Selection via proxy on texts: how much sooner does fastText select for a very deep network, and at what price?

    python benchmarks/svp_text.py --work DIR [--protocol cpu|paper] [--device cpu|cuda] [--seeds N] [--minutes N]
        [--so-far] [--quick] [--out benchmarks/results]

Arms differ in who selects what the target is trained on: the target itself, trained anew in each round; fastText, also
anew in each round, and the target once on the outcome; or chance. Rounds end at 2, 10, 20, 30, 40 and 50 % of the pool,
as in the source; the first is drawn at random, and the others take the items of least confidence, which with two
classes are those of the highest entropy. The test set chooses nothing. Seeds are paired: in each seed all arms have the
same initial labels, and targets on equally many labels the same first weights.

`selection` is what the source's table 1 counts: seconds of training the selecting model, scoring and ranking, of all
rounds, without the target's training on the outcome; `end_to_end` counts that as well. Both are told in CPU-seconds of
the process, of which `clock` is the one that the speed-ups are of, and in wall seconds; beside a GPU it is the other
way round, and fastText still computes on the CPU, as in the source. `encode_s` is what it takes once to make of the
pool's texts what each model reads, which is in neither.

`agreement` is between the target that selects for itself and a fastText on the same labels, on the items that are
unlabelled then; that fastText is on no bill.

cpu: 24,000 of SST-2's 67,349 phrases, VDCNN-9 on their first 128 characters, and four epochs where the source has 15,
so that there is time for more labels. Errors are of the 872 held-out sentences, and `phrases` of 3,000 phrases outside
of the pool, which come from sentences that the pool has parts of. paper: IMDB's 25,000 reviews, VDCNN-29 on 1,014
characters, the source's schedule, VDCNN-9 as a second proxy; for a GPU.

Source: C. Coleman et al., Selection via Proxy, ICLR 2020, arXiv 1906.11829, section 4 and table 1.

Needs FRUGAL_DATA (or a network). Prints a table, and one JSON object as its last line.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import harness

# First of all: it sets the number of threads.
import loops
import numpy as np
import pyarrow.compute as pc
import torch
from pairs import difference, spread, summary, told_difference, told_mean, told_spread
from svp_cifar10 import (
    FIRST,
    PROXY,
    RANDOM,
    TARGET,
    Arm,
    Protocol,
    Rows,
    Scores,
    Seed,
    Step,
    agreement,
    brief,
    labelled,
    means,
)
from svp_cifar10 import Bench as Steps

from tasks.config import load
from tasks.config_train import TrainConfig, VdcnnConfig
from tasks.datasets.store import load_info, load_items
from tasks.infer.scoring import score_items
from tasks.models import building, encoded
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

FASTTEXT, VDCNN9 = "fasttext", "vdcnn9"
GOALS = {"selection_speedup": 20, "error": "within one standard deviation of the target's own choice"}
#: Of the source's table 1: Amazon Review Polarity, least confidence, for VDCNN-29, by the share of the pool in percent.
PUBLISHED = {
    FASTTEXT: {10: 10.6, 20: 20.6, 30: 32.2, 40: 41.9, 50: 51.3},
    VDCNN9: {10: 1.9, 20: 1.8, 30: 1.8, 40: 1.8, 50: 1.8},
}
CLOCKS = ("cpu_s", "wall_s")
PARTS = ("train", "infer", "rank")
#: Phrases outside of the pool that targets are tried on.
OUTSIDE = 3000

#: Learning rates and epochs were chosen on validation items of the training sets.
OF_FASTTEXT = {
    "model": FASTTEXT,
    "epochs": 10,
    "batch_size": 32,
    "lr": 4.0,
    "momentum": 0.0,
    "weight_decay": 0.0,
    "schedule": "linear",
}
CPU = Protocol(
    name="svp_text",
    device="cpu",
    pool=24000,
    initial=480,
    budgets=(2400, 4800, 7200, 9600, 12000),
    train=TrainConfig(
        model=VDCNN9,
        vdcnn=VdcnnConfig(length=128),
        epochs=4,
        batch_size=64,
        optimizer="sgd",
        lr=0.02,
        momentum=0.9,
        weight_decay=1e-4,
        schedule="step",
        step_factor=0.5,
        step_at=(0.2, 0.4, 0.6, 0.8),
    ),
    arms=(Arm(TARGET, {}), Arm(FASTTEXT, OF_FASTTEXT), Arm(RANDOM, None)),
    seeds=3,
    held_out=872,
    ceiling=0,
)
PAPER = replace(
    CPU,
    name="svp_text-paper",
    device="cuda",
    pool=25000,
    initial=500,
    budgets=(2500, 5000, 7500, 10000, 12500),
    train=CPU.train.model_copy(
        update={
            "model": "vdcnn29",
            "vdcnn": VdcnnConfig(length=1014),
            "epochs": 15,
            "batch_size": 128,
            "lr": 0.01,
            "precision": "bf16",
        }
    ),
    arms=(
        Arm(TARGET, {}),
        Arm(FASTTEXT, {**OF_FASTTEXT, "lr": 16.0}),
        Arm(VDCNN9, {"model": VDCNN9}),
        Arm(RANDOM, None),
    ),
    held_out=25000,
)
DATASETS = {CPU.name: "sst2", PAPER.name: "imdb"}


def quick(protocol: Protocol) -> Protocol:
    """The same arms on a few short texts."""
    tiny = protocol.train.model_copy(update={"epochs": 1, "batch_size": 16, "vdcnn": VdcnnConfig(length=64)})
    budgets = tuple(16 * (index + 2) for index in range(len(protocol.budgets)))
    return replace(protocol, pool=240, initial=16, budgets=budgets, train=tiny, seeds=1, held_out=100)


def main() -> None:
    """Do what is missing, then tell."""
    options = arguments()
    protocol = chosen(options)
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
    clock = "cpu_s" if protocol.device == "cpu" else "wall_s"
    rows = told(protocol, found, clock)
    print_table(rows)
    figures = {
        "n": len(found),
        "goals": GOALS,
        "clock": clock,
        "arms": rows,
        "agreement": agreements(protocol, found),
        "encode_s": {name: encode_s(bench, settings) for name, settings in models(protocol).items()},
        "published": {"target": "vdcnn29, Amazon Review Polarity", "speedup_by_percent_of_the_pool": PUBLISHED},
        "protocol": declared(protocol),
    }
    harness.publish(protocol.name, figures, options, ("torch", "numpy"))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = harness.parser(__doc__, quick="240 texts of 64 characters, one epoch, one seed, on a CPU")
    parser.add_argument("--work", type=Path, required=True, help="where finished rounds are kept, to go on later")
    parser.add_argument("--protocol", choices=("cpu", "paper"), default="cpu", help="which question (default: cpu)")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="(default: cpu, and cuda for the paper's)")
    parser.add_argument("--seeds", type=int, help="of each arm (default: 3)")
    parser.add_argument("--minutes", type=float, help="begin no round after so many, and exit with 3")
    parser.add_argument("--so-far", action="store_true", help="run nothing, tell of the seeds that are done")
    return parser.parse_args()


def chosen(options: argparse.Namespace) -> Protocol:
    """What the command line asks for."""
    protocol = PAPER if options.protocol == "paper" else CPU
    if options.quick:
        protocol = replace(quick(protocol), device="cpu")
    return replace(protocol, device=options.device or protocol.device, seeds=options.seeds or protocol.seeds)


def models(protocol: Protocol) -> dict[str, TrainConfig]:
    """Every model that is trained, by its name; the target first."""
    every = [protocol.train, *(protocol.selecting(arm) for arm in protocol.proxies)]
    return {settings.model: settings for settings in every}


# Work


class Bench(Steps):
    """A protocol at work in a folder: one JSON and one NPZ file of a finished round."""

    @cached_property
    def data(self) -> "Data":
        """The data set."""
        place, protocol = self.pool(self.protocol.pool), self.protocol
        inputs, shapes = {}, {}
        for name, settings in models(protocol).items():
            pool, test = (encoded.load(place, split, settings) for split in ("pool", "test"))
            every = evenly(len(test.items.ids), protocol.held_out)
            inputs[name] = {"pool": pool.items.array, "test": test.items.array[every]}
            shapes[name] = pool.shape
        pool, test = labelled(place, "pool"), labelled(place, "test")
        labels = {"pool": pool.labels, "test": test.labels[evenly(len(test), protocol.held_out)]}
        assert pool.ids is not None
        outside = self.outside(pool.ids) if DATASETS[protocol.name] == "sst2" else None
        return Data(protocol, load_info(place).task.outputs, pool.ids, inputs, shapes, labels, outside)

    def pool(self, limit: int | None) -> Workspace:
        """The pool of the data set, so much of it."""
        settings = ["device=cpu", f"dataset.name={DATASETS[self.protocol.name]}"]
        settings.append(f"dataset.limit={'null' if limit is None else limit}")
        return loops.shared_pool(loops.Bench(self.work.parent, (), ()), load(loops.CONF / "imdb-svp.yaml", settings))

    def outside(self, ids: Any) -> Examples:
        """Items of the training set that are not in the pool, as the target takes them."""
        whole = labelled(self.pool(None), "pool")
        assert whole.ids is not None
        others = np.flatnonzero(~np.asarray(pc.is_in(whole.ids, value_set=ids)))
        rows = others[evenly(len(others), min(OUTSIDE, self.protocol.held_out * 4))]
        encoding = encoded.encoding_of(self.protocol.train)
        assert encoding is not None
        with tempfile.TemporaryDirectory() as folder:
            inputs = encoded.encode(whole.items[rows], encoding, Path(folder))
            return Examples(inputs[np.arange(len(rows))], whole.labels[rows])


def evenly(total: int, count: int) -> Rows:
    """Positions of so many of all items."""
    return np.linspace(0, total, min(total, count), endpoint=False).astype(np.int64)


def encode_s(bench: Bench, settings: TrainConfig) -> float:
    """CPU-seconds of making of the pool's texts what a model reads."""
    encoding = encoded.encoding_of(settings)
    assert encoding is not None
    texts = load_items(bench.pool(bench.protocol.pool), "pool").array
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        encoded.encode(texts, encoding, Path(folder))
        return round(time.process_time() - began, 4)


@dataclass(frozen=True)
class Data:
    """The texts as each model takes them, and what is done with them."""

    protocol: Protocol
    outputs: int
    #: Of the pool, ascending.
    ids: Any
    #: By model and split, and of one item by model.
    inputs: Mapping[str, Mapping[str, Any]]
    shapes: Mapping[str, tuple[int, ...]]
    #: By split.
    labels: Mapping[str, Rows]
    #: As the target takes them.
    outside: Examples | None = None

    def view(self, settings: TrainConfig) -> View:
        """Where and how a model computes."""
        on = "cpu" if settings.model == FASTTEXT else self.protocol.device
        precision = "fp32" if on == "cpu" else settings.precision
        return View(devices.resolve(on), (), (), precision, settings.channels_last)

    def train(self, settings: TrainConfig, rows: Rows, seed: int) -> torch.nn.Module:
        """A model of its own on the labels of ``rows``."""
        ordered, name = np.sort(rows), settings.model
        own = building.settings_of(settings)
        build = partial(building.build, name, self.shapes[name], self.outputs, settings=own)
        examples = Examples(self.inputs[name]["pool"][ordered], self.labels["pool"][ordered])
        return fit(build, examples, None, settings, self.view(settings), seed)[0]

    def score(self, model: torch.nn.Module, settings: TrainConfig, rows: Rows) -> Scores:
        """Least confidence of the unlabelled items, NaN of the labelled ones at ``rows``."""
        left = self.unlabelled(rows)
        items = self.inputs[settings.model]["pool"]
        scores = np.full(len(self.ids), np.nan)
        scores[left] = score_items([model], self.view(settings), items, left, "least_confidence", 512).score
        return scores

    def select(self, scores: Scores | None, rows: Rows, seed: Any, size: int) -> Rows:
        """``rows`` with so many more: the highest scores, or drawn at random."""
        left = self.unlabelled(rows)
        strategy, values = (
            (uniform.select, np.full(len(left), np.nan)) if scores is None else (top_k.select, scores[left])
        )
        positions = strategy(Candidates(self.ids.take(left), values, seed), size).positions
        return np.concatenate([rows, left[positions]])

    def unlabelled(self, rows: Rows) -> Rows:
        """The other items of the pool."""
        return np.setdiff1d(np.arange(len(self.ids)), rows)

    def error(self, model: torch.nn.Module, settings: TrainConfig) -> float:
        """On the test items, in percent."""
        return self._error(model, settings, Examples(self.inputs[settings.model]["test"], self.labels["test"]))

    def errors(self, model: torch.nn.Module) -> dict[str, float]:
        """Of a target: on the test items, and on those outside of the pool if there are any."""
        found = {"error": self.error(model, self.protocol.train)}
        if self.outside is not None:
            found["phrases"] = self._error(model, self.protocol.train, self.outside)
        return found

    def _error(self, model: torch.nn.Module, settings: TrainConfig, examples: Examples) -> float:
        scores = predict(model, examples.items, self.view(settings))
        return round(100 * (1 - accuracy(scores, examples.labels)), 4)

    @contextmanager
    def timed(self, spent: dict[str, dict[str, float]], part: str) -> Iterator[None]:
        """Add what the block takes to ``spent``, by both clocks."""
        began = self._clocks()
        yield
        passed = {name: after - began[name] for name, after in self._clocks().items()}
        before = spent.get(part, dict.fromkeys(CLOCKS, 0.0))
        spent[part] = {name: round(before[name] + passed[name], 4) for name in CLOCKS}

    def _clocks(self) -> dict[str, float]:
        if self.protocol.device == "cuda":
            torch.cuda.synchronize()
        return {"cpu_s": time.process_time(), "wall_s": time.perf_counter()}


def run_all(bench: Bench, until: float) -> None:
    """Do every round that is missing, seeds outermost, so that whenever it ends all arms have the same seeds.

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
                        warm_up(bench.data)
                        warm = True
                    rows = initial(bench.data, seed) if rows is None else rows
                    step = advance(bench.data, arm, seed, number, rows)
                    bench.write(arm, seed, number, step)
                    print(f"seed {seed}, {arm.name}, {labels}: {brief(step)}", file=sys.stderr, flush=True)
                rows = step["rows"]


def warm_up(data: Data) -> None:
    """What the first training of a process takes longer is not to be on the bill of whichever comes first."""
    items = len(data.ids)
    for settings in models(data.protocol).values():
        once = settings.model_copy(update={"epochs": 1})
        model = data.train(once, np.arange(min(2 * settings.batch_size, items)), seed=0)
        data.score(model, settings, np.arange(max(items - 64, 0)))


def initial(data: Data, seed: int) -> Rows:
    """The first labels of a seed, in all its arms."""
    return data.select(None, np.empty(0, np.int64), seed_sequence(seed, 0, "select"), data.protocol.initial)


def advance(data: Data, arm: Arm, seed: int, number: int, rows: Rows) -> Step:
    """One round of an arm: the next selection, or at the end the target on what was selected.

    Returns:
        select: seconds by part and clock; rows: what is labelled afterwards; where a target was trained, target: its
        errors and what its training took; where a proxy was, proxy_error. Of the arm in which the target selects also
        its scores, and those of the first proxy on the same labels.
    """
    protocol = data.protocol
    last, itself = number == len(protocol.sizes) - 1, arm.selector == {}
    step: Step = {"labels": len(rows), "rows": rows}
    spent: dict[str, dict[str, float]] = {}
    scores = None
    if last or itself:
        with data.timed(spent, "train"):
            model = data.train(protocol.train, rows, torch_seed(seed, number, "train", FIRST))
        step["target"] = {"train": spent["train"], **data.errors(model)}
    if last:
        return step
    settings = protocol.selecting(arm)
    if arm.selector:
        with data.timed(spent, "train"):
            model = data.train(settings, rows, torch_seed(seed, number, "train", PROXY))
        step["proxy_error"] = data.error(model, settings)
    if arm.selector is not None:
        with data.timed(spent, "infer"):
            scores = data.score(model, settings, rows)
    with data.timed(spent, "rank"):
        drawn = seed_sequence(seed, number + 1, "select")
        step["rows"] = data.select(scores, rows, drawn, protocol.sizes[number + 1] - len(rows))
    if itself:
        first = protocol.selecting(protocol.proxies[0])
        beside = data.train(first, rows, torch_seed(seed, number, "train", PROXY))
        step |= {"of_target": scores, "of_proxy": data.score(beside, first, rows)}
    return step | {"select": spent}


# Figures


def selection_s(steps: Sequence[Step], clock: str, labels: float = float("inf")) -> float:
    """Seconds of training, scoring and ranking until so many labels are selected."""
    spent = [step["select"] for step in steps if "select" in step and step["labels"] < labels]
    return float(sum(part[clock] for of_round in spent for part in of_round.values()))


def end_to_end_s(steps: Sequence[Step], clock: str) -> float:
    """Seconds until the target is trained on all that was selected."""
    return selection_s(steps, clock) + float(steps[-1]["target"]["train"][clock])


def told(protocol: Protocol, found: Sequence[Seed], clock: str) -> dict[str, Any]:
    """Every arm, over all seeds, and paired with the target that selects for itself and with chance."""
    return {arm.name: row(protocol, arm, found, clock) for arm in protocol.arms}


def row(protocol: Protocol, arm: Arm, found: Sequence[Seed], clock: str) -> dict[str, Any]:
    """One arm."""
    mine = [seed[arm.name] for seed in found]
    told: dict[str, Any] = {"errors": errors(arm.name, found)}
    for of in CLOCKS:
        told[of] = {
            "selection": summary([selection_s(steps, of) for steps in mine], 3),
            "end_to_end": summary([end_to_end_s(steps, of) for steps in mine], 2),
        }
        if arm.name not in (TARGET, RANDOM):
            told[of] |= speedups(protocol, arm.name, found, of)
    if arm.selector is not None:
        told["parts"] = {part: summary([part_s(steps, part, clock) for steps in mine], 3) for part in PARTS}
    if arm.selector:
        told["proxy_error"] = {
            str(labels): summary([steps[at]["proxy_error"] for steps in mine], 2)
            for at, labels in enumerate(protocol.sizes[:-1])
        }
    if arm.name == TARGET:
        told["error_by_labels"] = {
            str(labels): summary([steps[at]["target"]["error"] for steps in mine], 2)
            for at, labels in enumerate(protocol.sizes)
        }
    return told


def part_s(steps: Sequence[Step], part: str, clock: str) -> float:
    """Seconds of one part of the selection, in all rounds."""
    return float(sum(step["select"][part][clock] for step in steps if "select" in step and part in step["select"]))


def speedups(protocol: Protocol, name: str, found: Sequence[Seed], clock: str) -> dict[str, Any]:
    """How many times as long the target takes that selects for itself, seed by seed; of the selection by budget."""

    def ratios(labels: int) -> dict[str, float]:
        pairs = [[selection_s(seed[who], clock, labels) for who in (TARGET, name)] for seed in found]
        return spread([own / mine for own, mine in pairs], 2)

    whole = [[end_to_end_s(seed[who], clock) for who in (TARGET, name)] for seed in found]
    return {
        "selection_speedup": {str(labels): ratios(labels) for labels in protocol.budgets},
        "end_to_end_speedup": spread([own / mine for own, mine in whole], 2),
    }


def errors(name: str, found: Sequence[Seed]) -> dict[str, Any]:
    """Of the target on all that an arm has selected, on each set of held-out items."""
    sets = [key for key in found[0][name][-1]["target"] if key != "train"]
    return {key: errors_on(key, name, found) for key in sets}


def errors_on(key: str, name: str, found: Sequence[Seed]) -> dict[str, Any]:
    """The same on one set, beside the target's own choice and chance."""
    by_arm = {who: [float(seed[who][-1]["target"][key]) for seed in found] for who in (name, TARGET, RANDOM)}
    told: dict[str, Any] = {"percent": summary(by_arm[name], 2)}
    for who in (TARGET, RANDOM):
        if who != name:
            told[f"to_{who}"] = difference(by_arm[name], by_arm[who], 2)
    if name not in (TARGET, RANDOM):
        told["loss"] = loss(by_arm[name], by_arm[TARGET])
    return told


def loss(proxy: Sequence[float], target: Sequence[float]) -> dict[str, bool | None]:
    """Whether a proxy's choice costs the target something.

    Returns:
        within_one_std: whether the mean error is above that of the target's own choice by no more than the standard
        deviation of the latter over seeds, as in the source; significant: whether the paired 95 % interval lies above
        0. Both None of a single seed.
    """
    std, gap = summary(target)["std"], difference(proxy, target)
    if std is None or gap["ci95"] is None:
        return {"within_one_std": None, "significant": None}
    return {"within_one_std": gap["mean"] <= std, "significant": gap["mean"] > gap["ci95"]}


def agreements(protocol: Protocol, found: Sequence[Seed]) -> dict[str, Any]:
    """How well the first proxy agrees with the target on the same labels, round by round."""
    told = {}
    for at, (here, there) in enumerate(zip(protocol.sizes, protocol.budgets, strict=False)):
        steps = [seed[TARGET][at] for seed in found]
        told[str(here)] = means([agreement(step["of_proxy"], step["of_target"], there - here) for step in steps])
    return told


def declared(protocol: Protocol) -> dict[str, Any]:
    """The protocol, in the result."""
    return {
        "device": protocol.device,
        "dataset": DATASETS[protocol.name],
        "pool": protocol.pool,
        "sizes": list(protocol.sizes),
        "test_items": protocol.held_out,
        "target": protocol.train.model_dump(mode="json", exclude_defaults=True),
        "selectors": {arm.name: None if arm.selector is None else dict(arm.selector) for arm in protocol.arms},
    }


def print_table(rows: Mapping[str, Any]) -> None:
    """The table, as the documentation has it."""
    print("| selects | selection, CPU s | speed-up | wall s | speed-up | end to end, CPU s | speed-up |", end="")
    print(" error on | % | to target | to random | within one std |")
    print("|---" * 12 + "|")
    for name, told in rows.items():
        for key, cells in told["errors"].items():
            print(f"| {name} | {' | '.join((*seconds(told), *line(key, cells)))} |")


def seconds(told: Mapping[str, Any]) -> list[str]:
    """What an arm took."""
    cells = []
    for clock in CLOCKS:
        by_budget = told[clock].get("selection_speedup")
        cells += [told_mean(told[clock]["selection"], 1), told_spread(by_budget and list(by_budget.values())[-1], 1)]
    whole = told["cpu_s"]
    return [*cells, told_mean(whole["end_to_end"], 1), told_spread(whole.get("end_to_end_speedup"))]


def line(key: str, cells: Mapping[str, Any]) -> list[str]:
    """What it led to."""
    within = cells.get("loss", {}).get("within_one_std")
    return [
        "held-out" if key == "error" else key,
        told_mean(cells["percent"]),
        *(told_difference(cells.get(f"to_{who}")) for who in (TARGET, RANDOM)),
        {True: "yes", False: "no"}.get(within, ""),
    ]


if __name__ == "__main__":
    main()
