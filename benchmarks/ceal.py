"""What the benchmarks of CEAL's protocol share: arms are run, billed, measured, told and drawn. Not a script.

Arms differ in which items INFER scores. Every arm and seed is a workspace of its own below one folder, advanced by the
stages themselves (no Prefect, DVC, MLflow) in a process of one thread; what was cut short goes on when the same command
is given again. Seeds are paired: in each seed all arms of one start share the initial pool, the first model and the
first full pass, which is computed once and billed to each arm; arms of another start ("lean") share nothing with them,
and make their own round 000. Figures come from cost.json.

Recall is measured twice: by replaying all samplers on the full arm's recorded values, and in some arms on their own
way, by full passes that are made for measuring only and are on no bill.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

# Before torch is loaded. Two processes of one thread each use two cores better than one process of two threads.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import harness
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks import cache as caches
from tasks import files, loop, stages
from tasks.compare.interval import half_width
from tasks.config import Config, load
from tasks.datasets import tables
from tasks.datasets.run import run as build_pool
from tasks.datasets.store import load_items, load_task
from tasks.history import history
from tasks.infer.narrowing import known, narrow
from tasks.infer.scoring import score_items
from tasks.models import device as devices
from tasks.models import stored
from tasks.rounds import Workspace, begin, load_config
from tasks.seeds import seed_sequence

STAGES = ("select", "train", "infer")
#: The exit status of a command that was out of time: the same one goes on.
STOPPED = 3

#: What the names of some figures do not say.
NOTES = {
    "within_full_ci": "whether the headline arm's mean final accuracy is not below the lower end of the 95 % interval "
    "of the full arm's mean, which takes no account of the seeds' being paired; the paired comparison is "
    "accuracy_difference, the mean over seeds of the headline arm's final accuracy minus the full arm's, with the "
    "half-width of its 95 % interval and accuracy_difference_low, its lower end",
    "recall_replayed": "on the way of the full arm, whose purchases leave the pool each round; temperature, explore "
    "and stale_bonus of our sampler were chosen by this recall on another seed of MNIST",
    "train_spread": "per seed the least and the most seconds that TRAIN took in any arm: nearly the same work in all, "
    "so smaller differences between arms are noise",
}

FULL, RANDOM = ("infer.scope=[full]",), ("select.strategy=random",)
#: How most arms start.
START = "1 %"


def ours(size: int) -> tuple[str, ...]:
    """The settings of the configuration file with another number of candidates."""
    return (f"infer.candidates.size={size}",)


def published(size: int) -> tuple[str, ...]:
    """softmax(v^1.2) over the whole pool, as in the code published with CEAL, but with values under the right ids."""
    block = ("scale=raw", "temperature=1.0", "power=1.2", "explore=0.0", "stale_bonus=0.0")
    return (f"infer.candidates.size={size}", *(f"infer.candidates.{item}" for item in block))


@dataclass(frozen=True)
class Arm:
    """One way to decide what INFER scores."""

    name: str
    settings: tuple[str, ...]
    seeds: int = 3
    #: Arms that share a key share round 000.
    start: str = START
    #: Whether it is there to see if another function or initial pool changes the picture.
    check: bool = False


@dataclass(frozen=True)
class Protocol:
    """What is compared, on which data, and how it is told."""

    #: Of the benchmark and its result.
    name: str
    conf: Path
    #: Overrides of the configuration file in all arms.
    settings: tuple[str, ...]
    #: One is called "full"; the first whose name begins with "ours" makes the headline.
    arms: tuple[Arm, ...]
    #: Candidates at which "ours N" and "published N" are compared by their recall.
    candidates: int
    targets: Mapping[str, float]
    #: What the result says of the settings.
    about: Mapping[str, Any]
    title: str
    #: Of the test error, in percent.
    ticks: tuple[float, ...]
    #: Which seconds of the bill count: on a GPU those of its host's processor say little.
    clock: Literal["cpu_s", "wall_s"] = "cpu_s"
    #: Ends the names of the workspaces.
    suffix: str = ""

    @property
    def pair(self) -> tuple[str, str]:
        """The arms whose recall is compared."""
        return f"ours {self.candidates}", f"published {self.candidates}"

    @property
    def unit(self) -> str:
        """The seconds that count, in words."""
        return "CPU-seconds" if self.clock == "cpu_s" else "seconds"

    def arm(self, name: str) -> Arm:
        """The arm of this name."""
        return next(arm for arm in self.arms if arm.name == name)


@dataclass(frozen=True)
class Run:
    """A protocol at work in a folder."""

    protocol: Protocol
    work: Path
    #: The script, with the options that describe the same protocol; what else a process is to do is appended.
    command: tuple[str, ...]
    jobs: int
    #: When nothing new is begun any more, in seconds since 1970.
    until: float

    def place(self, arm: Arm, seed: int) -> Workspace:
        """The workspace of an arm and a seed."""
        slug = "".join(letter if letter.isalnum() else "-" for letter in arm.name)
        return Workspace((self.work / f"{slug}-{seed}{self.protocol.suffix}").resolve())

    def configuration(self, arm: Arm, seed: int) -> Config:
        """The configuration of an arm and a seed."""
        return load(self.protocol.conf, (*self.protocol.settings, f"seed={seed}", *arm.settings))

    def check_time(self) -> None:
        """Raise OutOfTime if nothing new may be begun."""
        if time.time() >= self.until:
            raise OutOfTime

    def start(self, *part: str) -> None:
        """Do a part in a process of its own."""
        self.check_time()
        command = [sys.executable, *self.command, f"--work={self.work}", f"--until={self.until}", *part]
        try:
            subprocess.run(command, check=True)
        except subprocess.CalledProcessError as error:
            if error.returncode == STOPPED:
                raise OutOfTime from None
            raise


class OutOfTime(Exception):  # noqa: N818 - no error: the same command goes on
    """The minutes that were given are over."""


@dataclass
class Bill:
    """What one arm and seed came to, round by round; sums run from round 000."""

    labels: list[int] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    items_scored: list[int] = field(default_factory=list)
    #: Seconds of all rounds together, by stage.
    seconds: dict[str, float] = field(default_factory=dict)
    #: Of SELECT, TRAIN and INFER together, up to each round's training.
    seconds_so_far: list[float] = field(default_factory=list)
    #: Of each round's INFER alone.
    infer_s: list[float] = field(default_factory=list)


#: Of each arm, by name, one a seed.
Bills = Mapping[str, Sequence[Bill]]


def parser(description: str | None, quick: str) -> harness.Parser:
    """The options that the benchmarks share; those without help are for the processes that they start."""
    made = harness.parser(description, quick=quick)
    made.add_argument("--work", type=Path, help="where the workspaces are kept, to go on later")
    made.add_argument("--jobs", type=int, default=2, help="processes at a time (default: %(default)s)")
    made.add_argument(
        "--minutes",
        type=float,
        help="with --work: begin nothing new after so many, and exit with 3 (default: %(default)s)",
    )
    made.add_argument("--so-far", action="store_true", help="with --work: run nothing, tell of the loops that are done")
    made.add_argument("--no-recall", action="store_true", help="no full passes for measuring only")
    made.add_argument("--one", nargs=2, metavar=("ARM", "SEED"), help=argparse.SUPPRESS)
    made.add_argument("--start-only", action="store_true", help=argparse.SUPPRESS)
    made.add_argument("--measure", metavar="ARM", help=argparse.SUPPRESS)
    made.add_argument("--until", type=float, help=argparse.SUPPRESS)
    return made


def main(
    protocol: Protocol,
    options: argparse.Namespace,
    command: Sequence[str],
    more: Callable[[Bills], dict[str, Any]] = lambda bills: {},
) -> None:
    """Run what is missing, then tell; or do the part that one process was started for.

    Args:
        protocol: what to run.
        options: of ``parser``.
        command: the script and the options of its own that describe ``protocol``.
        more: what the result says besides, from the bills.
    """
    with contextlib.ExitStack() as stack:
        work = options.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        run = Run(protocol, work, tuple(command), options.jobs, deadline(options))
        try:
            if options.one:
                advance(run, protocol.arm(options.one[0]), int(options.one[1]), options.start_only)
            elif options.measure:
                measure(run, protocol.arm(options.measure))
            else:
                everything(run, options, more)
        except OutOfTime:
            if options.until is None:
                print(f"{options.minutes:g} minutes are over: the same command goes on", file=sys.stderr)
            sys.exit(STOPPED)


def deadline(options: argparse.Namespace) -> float:
    """When nothing new is begun any more; never where there is no folder to go on in."""
    if options.until is not None:
        return float(options.until)
    return time.time() + 60 * options.minutes if options.minutes and options.work else math.inf


def everything(run: Run, options: argparse.Namespace, more: Callable[[Bills], dict[str, Any]]) -> None:
    """Run what is missing, unless what is there is to do, then print, draw and publish."""
    protocol = run.protocol
    if not options.so_far:
        run_all(run)
    finished = {
        arm: [seed for seed in range(arm.seeds) if not loop_left(run.place(arm, seed))] for arm in protocol.arms
    }
    bills = {arm.name: [bill(run, arm, seed) for seed in seeds] for arm, seeds in finished.items() if seeds}
    tables = {name: summary(of_seeds, protocol.clock) for name, of_seeds in bills.items()}
    recalls = replayed(run)
    on_their_way = {} if options.no_recall else measured(run)
    tell(protocol, tables, recalls, on_their_way)
    if options.out:
        draw(protocol, tables, options.out / f"{protocol.name}{'-quick' if options.quick else ''}.png")
    found = figures(protocol, tables, recalls, on_their_way) | more(bills)
    harness.publish(protocol.name, found, options, ("torch", "numpy"))


def run_all(run: Run) -> None:
    """Bring every workspace to its end: first the shared rounds 000, then the arms seed by seed, checks last.

    Raises:
        OutOfTime: something is left to do.
    """
    chosen = run.protocol.arms
    seeds = range(max(arm.seeds for arm in chosen))
    leaders = list({arm.start: arm for arm in reversed(chosen)}.values())
    starts = [(arm, seed, True) for seed in seeds for arm in leaders if seed < arm.seeds]
    rest = [(arm, seed, False) for seed in seeds for arm in chosen if seed < arm.seeds]
    for wave in (starts, sorted(rest, key=lambda job: job[0].check)):
        todo = [
            ("--one", arm.name, str(seed), *(["--start-only"] * start_only))
            for arm, seed, start_only in wave
            if loop_left(run.place(arm, seed))
        ]
        with ThreadPoolExecutor(run.jobs) as pool:
            list(pool.map(lambda part: run.start(*part), todo))


def loop_left(workspace: Workspace) -> bool:
    """Whether a workspace has something left to do."""
    return not workspace.loop_file.exists() or loop.next_step(workspace) is not None


def advance(run: Run, arm: Arm, seed: int, start_only: bool) -> None:
    """Do all that is left of one arm and seed, or of its round 000."""
    # Imported when first used, they would be on the bill of a process that finds its pool built, and of no other.
    import pandas  # noqa: F401
    import torch._dynamo  # noqa: F401

    workspace, config = run.place(arm, seed), run.configuration(arm, seed)
    begin(workspace, config)
    if not (workspace.pool / "pool.json").exists():
        build_pool(workspace, config)
    share_start(run, arm, seed, workspace)
    while (step := loop.next_step(workspace)) is not None:
        if start_only and step.round:
            return
        run.check_time()
        loop.run(workspace, step)
    print(f"{arm.name}, seed {seed}: accuracy {history(workspace)[-1].accuracy:.4f}", file=sys.stderr, flush=True)


def share_start(run: Run, arm: Arm, seed: int, workspace: Workspace) -> None:
    """Take round 000 over from the arm that computed it, with its bill, unless this is that arm.

    A random arm leaves INFER and its bill behind: it scores nothing.
    """
    leader = next(one for one in run.protocol.arms if one.start == arm.start)
    source, target = run.place(leader, seed).round_dir(0), workspace.round_dir(0)
    if leader == arm or (target / "cost.json").exists():
        return
    # The bill comes last: a folder without one is what a copy that was cut short left.
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("cost.json"))
    book = files.read_json(source / "cost.json")
    taken = tuple(stage for stage in stages.ROUND_STAGES if stage.name in book["stages"])
    if load_config(workspace).select.strategy == "random":
        plan = files.read_json(target / "plan.json")
        plan["infer_scope"] = {"value": "none", "reason": "select.strategy = random needs no scores"}
        files.write_json(target / "plan.json", plan)
        (target / "scores.parquet").unlink()
        taken = tuple(stage for stage in taken if stage is not stages.INFER)
    # Equal in all that a stage reads, if not in the settings of later rounds.
    entries = {
        stage.name: book["stages"][stage.name] | {"inputs": stages.input_digests(workspace, stage, 0)}
        for stage in taken
    }
    files.write_json(target / "cost.json", book | {"stages": entries})


def bill(run: Run, arm: Arm, seed: int) -> Bill:
    """Read a finished workspace."""
    workspace, clock = run.place(arm, seed), run.protocol.clock
    found, total = Bill(seconds=dict.fromkeys(STAGES, 0.0)), 0.0
    for outcome in history(workspace):
        book = files.read_json(workspace.round_dir(outcome.round) / "cost.json")["stages"]
        seconds = {stage: used(book[stage], clock) if stage in book else 0.0 for stage in STAGES}
        for stage in STAGES:
            found.seconds[stage] += seconds[stage]
        found.seconds_so_far.append(total + seconds["select"] + seconds["train"])
        found.infer_s.append(seconds["infer"])
        total += sum(seconds.values())
        found.labels.append(outcome.labels)
        found.accuracy.append(outcome.accuracy)
        found.items_scored.append(outcome.items_scored)
    return found


def used(entry: Mapping[str, Any], clock: str) -> float:
    """Seconds of one stage of one round, those of discarded runs among them."""
    return float(sum(run[clock] for run in [entry["used"], *entry.get("discarded", [])]))


def summary(bills: Sequence[Bill], clock: str) -> dict[str, Any]:
    """Means over the seeds, with the half-widths of the 95 % intervals of the accuracies."""
    rounds = [
        {
            "labels": bills[0].labels[number],
            "accuracy": mean([one.accuracy[number] for one in bills]),
            "ci95": interval([one.accuracy[number] for one in bills]),
            "values": [one.accuracy[number] for one in bills],
            clock: round(mean([one.seconds_so_far[number] for one in bills]), 1),
        }
        for number in range(len(bills[0].labels))
    ]
    totals = [sum(one.seconds.values()) for one in bills]
    return {
        "seeds": len(bills),
        "rounds": rounds,
        "items_scored": bills[0].items_scored[-1],
        clock: {stage: round(mean([one.seconds[stage] for one in bills]), 1) for stage in STAGES},
        f"train_{clock}_values": [round(one.seconds["train"], 1) for one in bills],
        f"total_{clock}": round(mean(totals), 1),
        f"total_{clock}_values": [round(total, 1) for total in totals],
    }


def mean(values: Sequence[float]) -> float:
    """The mean, to six places."""
    return round(statistics.mean(values), 6)


def interval(values: Sequence[float]) -> float | None:
    """``half_width``, to six places."""
    half = half_width(values)
    return None if half is None else round(half, 6)


def samplers(protocol: Protocol) -> list[Arm]:
    """The arms that draw candidates, without the checks."""
    return [arm for arm in protocol.arms if not arm.check and any("candidates.size" in item for item in arm.settings)]


def replayed(run: Run) -> dict[str, dict[str, Any]]:
    """The share of each round's true top that each sampler would have found on the full arm's recorded values.

    Round by round on the way of the full arm: a sampler draws from what it would have cached by then, beginning with
    its own first pass, and learns the true values of its candidates alone. So all samplers see the same models, pools
    and values. It is no loop of the sampler's own: each round the full arm's purchases leave the pool, whatever the
    sampler found; and temperature, explore and stale_bonus of our sampler were chosen by this recall, on another seed
    of MNIST.
    """
    full = run.protocol.arm("full")
    found = {}
    for arm in samplers(run.protocol):
        first = full if arm.start == full.start else arm
        per_seed = [
            statistics.mean(replay(run.place(full, seed), run.place(first, seed), run.configuration(arm, seed)))
            for seed in range(full.seeds)
        ]
        found[arm.name] = {"recall": mean(per_seed), "ci95": interval(per_seed), "values": per_seed}
    return found


def replay(workspace: Workspace, first: Workspace, config: Config) -> list[float]:
    """Recall per round of one sampler on one recorded loop, after the first pass of another with the same pool."""
    query = config.loop.query_size
    scope = [{"name": "candidates", **config.infer.candidates.model_dump(mode="json")}]
    path, task = first.round_dir(0) / "scores.parquet", load_task(workspace)
    cached = caches.read(path, config.infer.acquisition, pool=None, task=task)
    found = []
    for number in range(1, config.loop.rounds - 1):
        truth = files.read_table(workspace.round_dir(number) / "scores.parquet")
        ids = truth["id"].combine_chunks()
        pool = known(ids, cached, number)
        drawn, _, _ = narrow(pool, scope, seed_sequence(config.seed, number, "infer"))
        scores = truth["score"].to_numpy()
        found.append(recall(scores, drawn, query))
        value, when = pool.score.copy(), pool.scored_round.copy()
        value[drawn], when[drawn] = scores[drawn], number
        columns = {"id": ids, "score": value, "scored_round": when, "times_scored": pool.times_scored}
        columns_of = tables.scores(task)
        nothing = {name: pa.nulls(len(ids), columns_of.field(name).type) for name in ("cluster", "distance", "scope")}
        cached = pa.table(columns | nothing)
    return found


def recall(scores: Any, drawn: Any, query: int) -> float:
    """The share of the ``query`` highest scores that are among the positions ``drawn``; of equal ones any will do."""
    border = np.partition(scores, -query)[-query]
    free = query - (scores > border).sum()
    return float(((scores[drawn] > border).sum() + min((scores[drawn] == border).sum(), free)) / query)


def measured(run: Run) -> dict[str, float]:
    """Recall of one arm of each sampler on its own way, seed 0, against full passes that are on no bill.

    Raises:
        OutOfTime: a pass is left to make.
    """
    drawing = samplers(run.protocol)
    # Where no two of one size are compared, as with --quick, all are.
    chosen = [arm for arm in drawing if arm.name in run.protocol.pair] or drawing
    left = [arm for arm in chosen if len(recorded(run, arm)) < run.configuration(arm, 0).loop.rounds - 2]
    with ThreadPoolExecutor(run.jobs) as pool:
        list(pool.map(lambda arm: run.start("--measure", arm.name), left))
    return {arm.name: mean(list(recorded(run, arm).values())) for arm in chosen}


def recall_file(run: Run, arm: Arm) -> Path:
    """Where the recall of an arm is kept."""
    return run.place(arm, 0).root / "recall.json"


def recorded(run: Run, arm: Arm) -> dict[str, float]:
    """The recall of an arm by round, as far as it is measured."""
    path = recall_file(run, arm)
    found: dict[str, float] = files.read_json(path) if path.exists() else {}
    return found


def measure(run: Run, arm: Arm) -> None:
    """Full passes of one arm's models, round by round; what is there already is not made again."""
    workspace, found = run.place(arm, 0), recorded(run, arm)
    config, pool = load_config(workspace), load_items(workspace, "pool")
    for number in range(1, config.loop.rounds - 1):
        if str(number) in found:
            continue
        run.check_time()
        folder = workspace.round_dir(number)
        ids = pc.take(unlabeled := files.read_table(folder / "unlabeled.parquet")["id"], pc.sort_indices(unlabeled))
        models, view, _ = stored.read(folder, devices.resolve(config.device))
        infer = config.infer
        # Other masks than the arm's own.
        with devices.reproducible(view.device, number):
            scored = score_items(
                models, view, pool.array, pool.rows(ids), infer.acquisition, infer.batch_size, infer.passes
            )
        cache = files.read_table(folder / "scores.parquet", ["id", "scored_round"])
        drawn = cache.filter(pc.equal(cache["scored_round"], number))["id"]
        positions = pc.index_in(drawn, value_set=ids).to_numpy()
        found[str(number)] = recall(scored.score, positions, config.loop.query_size)
        files.write_json(recall_file(run, arm), found)


def tell(protocol: Protocol, tables: dict[str, Any], recalls: dict[str, Any], on_their_way: dict[str, float]) -> None:
    """Print the table."""
    unit = "CPU-s" if protocol.clock == "cpu_s" else "    s"
    print(f"{'arm':28} seeds  accuracy          items scored  {unit}  select  train  infer  recall")
    for name, table in tables.items():
        last = table["rounds"][-1]
        half = "" if last["ci95"] is None else f"±{last['ci95']:.4f}"
        seconds = "  ".join(f"{table[protocol.clock][stage]:6.1f}" for stage in STAGES)
        found = f"{recalls[name]['recall']:.3f}" if name in recalls else ""
        print(
            f"{name:28} {table['seeds']:5d}  {last['accuracy']:.4f} {half:8}  {table['items_scored']:12d}  "
            f"{table[f'total_{protocol.clock}']:5.0f}  {seconds}  {found}"
        )
    for name, value in on_their_way.items():
        print(f"recall on its own way, {name}: {value:.3f}")


def figures(
    protocol: Protocol, tables: dict[str, Any], recalls: dict[str, Any], on_their_way: dict[str, float]
) -> dict[str, Any]:
    """The headline, the targets, and everything behind them."""
    ours_name = next(name for name in tables if name.startswith("ours"))
    full, mine = tables["full"], tables[ours_name]
    gaps = [b - a for a, b in zip(full["rounds"][-1]["values"], mine["rounds"][-1]["values"], strict=True)]
    totals = f"total_{protocol.clock}_values"
    ratios = [a / b for a, b in zip(full[totals], mine[totals], strict=True)]
    half = interval(gaps)
    return {
        "headline_arm": ours_name,
        "fewer_items_scored": round(full["items_scored"] / mine["items_scored"], 2),
        "less_compute": round(statistics.mean(ratios), 2),
        "less_compute_values": [round(ratio, 2) for ratio in ratios],
        "accuracy_difference": mean(gaps),
        "accuracy_difference_ci95": half,
        "accuracy_difference_low": None if half is None else round(mean(gaps) - half, 6),
        "within_full_ci": within(full, mine),
        **recall_gain(protocol, recalls),
        f"train_{protocol.clock}_spread": train_spread(protocol, tables),
        "notes": NOTES,
        "targets": dict(protocol.targets),
        **protocol.about,
        "recall_replayed": recalls,
        "recall_on_their_way": on_their_way,
        "arms": tables,
    }


def within(full: dict[str, Any], mine: dict[str, Any]) -> bool | None:
    """Whether our mean final accuracy is not below the full arm's 95 % interval; None with a single seed."""
    last = full["rounds"][-1]
    return None if last["ci95"] is None else mine["rounds"][-1]["accuracy"] >= last["accuracy"] - last["ci95"]


def recall_gain(protocol: Protocol, recalls: Mapping[str, Any]) -> dict[str, Any]:
    """By how much more our sampler finds than the published one with as many candidates: the mean ratio over seeds."""
    name = f"recall_gain_at_{protocol.candidates}"
    mine, theirs = (recalls.get(arm) for arm in protocol.pair)
    if mine is None or theirs is None:
        return {name: None}
    ratios = [a / b for a, b in zip(mine["values"], theirs["values"], strict=True)]
    half = interval(ratios)
    return {
        name: round(statistics.mean(ratios), 2),
        f"{name}_ci95": None if half is None else round(half, 2),
        f"{name}_values": [round(ratio, 2) for ratio in ratios],
    }


def train_spread(protocol: Protocol, tables: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Per seed the least and the most seconds of TRAIN in any arm, without the checks."""
    arms = [tables[arm.name][f"train_{protocol.clock}_values"] for arm in protocol.arms if not arm.check]
    of_seeds = [[values[seed] for values in arms if seed < len(values)] for seed in range(max(map(len, arms)))]
    return [(min(values), max(values)) for values in of_seeds]


def draw(protocol: Protocol, tables: dict[str, Any], path: Path) -> None:
    """Test error over labels and over seconds."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained", sharey=True)
    for name, table in tables.items():
        if protocol.arm(name).check:
            continue
        error = [100 * (1 - row["accuracy"]) for row in table["rounds"]]
        band = [100 * (row["ci95"] or 0.0) for row in table["rounds"]]
        for axis, key in zip(axes, ("labels", protocol.clock), strict=True):
            values = [row[key] for row in table["rounds"]]
            (line,) = axis.plot(values, error, marker="o", markersize=3, label=name)
            low, high = ([value + sign * half for value, half in zip(error, band, strict=True)] for sign in (-1, 1))
            axis.fill_between(values, [max(v, 0.05) for v in low], high, alpha=0.12, color=line.get_color())
    axes[0].set(xlabel="labels bought", ylabel="test error, %", yscale="log")
    axes[1].set(xlabel=f"{protocol.unit} of SELECT, TRAIN and INFER", xscale="log")
    # A band of two or three seeds may reach far below all means.
    lowest = min(100 * (1 - row["accuracy"]) for table in tables.values() for row in table["rounds"])
    axes[0].set_ylim(bottom=0.8 * lowest)
    axes[0].set_yticks(protocol.ticks, [f"{tick:g}" for tick in protocol.ticks])
    for axis in axes:
        axis.grid(True, alpha=0.3)
    axes[0].minorticks_off()
    axes[0].legend(fontsize=8)
    figure.suptitle(protocol.title)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
