"""Loops that benchmarks compare: each arm and seed a workspace of its own, advanced by the stages. Not a script.

No Prefect, DVC or MLflow: the stages themselves, in a process of one thread for each loop. Seeds are paired: arms of
one seed draw the same initial pool and the same first weights. What was cut short goes on when the same command is
given again. All sums come from cost.json; what the policies themselves took is measured beside it.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

# Before torch is loaded. Two processes of one thread each use two cores better than one process of two threads.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import harness

from tasks import files, loop
from tasks.config import Config, load
from tasks.cost import ledger
from tasks.datasets.run import run as build_pool
from tasks.datasets.scratch import scratch
from tasks.history import Outcome, history
from tasks.rounds import Workspace, begin, rounds

CONF = Path(__file__).parent.parent / "conf"
#: The exit status of a command that was out of time: the same one goes on.
STOPPED = 3
STAGES = ("select", "label", "train", "infer")


@dataclass(frozen=True)
class Arm:
    """One configuration of a loop."""

    name: str
    conf: str
    settings: tuple[str, ...] = ()
    seeds: int = 5
    #: The seed of the first loop; the others follow.
    first: int = 0

    @property
    def numbers(self) -> range:
        """The seeds."""
        return range(self.first, self.first + self.seeds)

    def configuration(self, seed: int) -> Config:
        """The arm's configuration with one seed."""
        return load(CONF / self.conf, (*self.settings, f"seed={seed}"))


@dataclass(frozen=True)
class Bench:
    """Arms at work in a folder."""

    work: Path
    arms: tuple[Arm, ...]
    #: The script, with the options that describe the same arms; what else a process is to do is appended.
    command: tuple[str, ...]
    jobs: int = 2
    #: When nothing new is begun any more, in seconds since 1970.
    until: float = math.inf

    def arm(self, name: str) -> Arm:
        """The arm of this name."""
        return next(arm for arm in self.arms if arm.name == name)

    def place(self, arm: Arm, seed: int) -> Workspace:
        """The workspace of an arm and a seed."""
        return Workspace((self.work / f"{slug(arm.name)}-{seed}").resolve())

    def finished(self, arm: Arm) -> list[Spent]:
        """What the finished loops of an arm came to, by seed."""
        return [spent(self.place(arm, seed), seed) for seed in arm.numbers if not left(self.place(arm, seed))]

    def check_time(self) -> None:
        """Raise OutOfTime if nothing new may be begun."""
        if time.time() >= self.until:
            raise OutOfTime


class OutOfTime(Exception):  # noqa: N818 - no error: the same command goes on
    """The minutes that were given are over."""


@dataclass(frozen=True)
class Spent:
    """A finished loop: its outcomes, and CPU-seconds by what they went into."""

    seed: int
    history: Sequence[Outcome]
    #: Of each round, by stage.
    rounds: Sequence[Mapping[str, float]]
    #: Of all plans and decisions together, which are on no bill.
    policies: float

    @property
    def stages(self) -> dict[str, float]:
        """Of the whole loop, by stage."""
        return {stage: sum(used.get(stage, 0.0) for used in self.rounds) for stage in STAGES}

    @property
    def cpu_s(self) -> float:
        """Of all stages of the whole loop, those of discarded runs and aborted rounds among them."""
        return math.fsum(self.stages.values())

    @property
    def cpu_s_by_round(self) -> list[float]:
        """The same up to each round's training."""
        before, found = 0.0, []
        for used in self.rounds:
            found.append(before + sum(seconds for stage, seconds in used.items() if stage != "infer"))
            before += sum(used.values())
        return found


def slug(name: str) -> str:
    """A name as a folder may be called."""
    return "".join(letter if letter.isalnum() else "-" for letter in name)


def parser(description: str | None, quick: str) -> harness.Parser:
    """The options that these benchmarks share; those without help are for the processes that they start."""
    made = harness.parser(description, quick=quick)
    made.add_argument("--work", type=Path, required=True, help="where the workspaces are kept, to go on later")
    made.add_argument("--jobs", type=int, default=2, help="processes at a time (default: %(default)s)")
    made.add_argument("--minutes", type=float, help="begin nothing new after so many, and exit with 3")
    made.add_argument("--so-far", action="store_true", help="run nothing, tell of the loops that are done")
    made.add_argument("--one", nargs=2, metavar=("ARM", "SEED"), help=argparse.SUPPRESS)
    made.add_argument("--until", type=float, help=argparse.SUPPRESS)
    return made


def bench(options: argparse.Namespace, script: str, arms: tuple[Arm, ...]) -> Bench:
    """What the command line asks for."""
    until = options.until
    if until is None:
        until = time.time() + 60 * options.minutes if options.minutes else math.inf
    command = (script, f"--work={options.work}", f"--until={until}", *(["--quick"] * options.quick))
    return Bench(options.work, arms, command, options.jobs, until)


def work(made: Bench, options: argparse.Namespace, before: Callable[[Workspace], None] = lambda _: None) -> bool:
    """Run what is left, or the one loop that this process was started for; whether there is something to tell.

    Exits with 3 where the time is over before everything is done.

    Args:
        before: called when a loop has its pool and no round yet; what it uses is on no bill.
    """
    try:
        if options.one:
            advance(made, made.arm(options.one[0]), int(options.one[1]), before)
        elif not options.so_far:
            run_all(made)
    except OutOfTime:
        if options.until is None:
            print(f"{options.minutes:g} minutes are over: the same command goes on", file=sys.stderr)
        sys.exit(STOPPED)
    return not options.one


def run_all(made: Bench) -> None:
    """Bring every loop to its end, seed by seed, in the order of the arms.

    Raises:
        OutOfTime: something is left to do.
    """
    seeds = sorted({seed for arm in made.arms for seed in arm.numbers})
    jobs = [(arm, seed) for seed in seeds for arm in made.arms if seed in arm.numbers and left(made.place(arm, seed))]
    for arm, seed in jobs:
        shared_pool(made, arm.configuration(seed))
    with ThreadPoolExecutor(made.jobs) as pool:
        list(pool.map(lambda job: start(made, *job), jobs))


def start(made: Bench, arm: Arm, seed: int) -> None:
    """Advance one loop in a process of its own."""
    made.check_time()
    try:
        subprocess.run([sys.executable, *made.command, "--one", arm.name, str(seed)], check=True)
    except subprocess.CalledProcessError as error:
        if error.returncode == STOPPED:
            raise OutOfTime from None
        raise


def left(workspace: Workspace) -> bool:
    """Whether a loop has something left to do."""
    return not workspace.loop_file.exists() or loop.next_step(workspace) is not None


def advance(made: Bench, arm: Arm, seed: int, before: Callable[[Workspace], None] = lambda _: None) -> None:
    """Do all that is left of one loop; ``before`` as in ``work``."""
    # Imported when first used, they would be on the bill of whatever step comes first.
    import pandas  # noqa: F401
    import torch._dynamo  # noqa: F401

    workspace, config = made.place(arm, seed), arm.configuration(seed)
    begin(workspace, config)
    take_pool(shared_pool(made, config), workspace)
    if not rounds(workspace):
        before(workspace)
    while (step := loop.next_step(workspace)) is not None:
        made.check_time()
        began = time.process_time()
        loop.run(workspace, step)
        if step.name in ("plan", "decide"):
            note(workspace, f"{step.name} {step.round}", time.process_time() - began)
    last = history(workspace)[-1]
    print(f"{arm.name}, seed {seed}: {last.labels} labels, {last.accuracy:.4f}", file=sys.stderr, flush=True)


def shared_pool(made: Bench, config: Config) -> Workspace:
    """The pool of a data set, built once for all loops on it."""
    limit = "all" if config.dataset.limit is None else config.dataset.limit
    workspace = Workspace((made.work / f"pool-{config.dataset.name}-{limit}").resolve())
    if not (workspace.pool / "pool.json").exists():
        build_pool(workspace, config)
    return workspace


def take_pool(source: Workspace, target: Workspace) -> None:
    """Copy a pool, and link its arrays, which nothing writes to."""
    if (target.pool / "pool.json").exists():
        return
    (target.raw / "arrays").mkdir(parents=True, exist_ok=True)
    for path in (source.raw / "arrays").glob("*.npy"):
        (target.raw / "arrays" / path.name).unlink(missing_ok=True)
        os.link(path, target.raw / "arrays" / path.name)
    with scratch(target.pool.parent, ".pool-") as folder:
        shutil.copytree(source.pool, folder, dirs_exist_ok=True)
        folder.rename(target.pool)


def note(workspace: Workspace, step: str, seconds: float) -> None:
    """Keep what a policy's step took; a step that is done again is counted once."""
    path = workspace.root / "policies.json"
    known = files.read_json(path) if path.exists() else {}
    files.write_json(path, known | {step: round(seconds, 4)})


def spent(workspace: Workspace, seed: int) -> Spent:
    """Read a finished loop."""
    outcomes = history(workspace)
    path = workspace.root / "policies.json"
    policies = files.read_json(path) if path.exists() else {}
    by_round = [used(workspace.round_dir(outcome.round)) for outcome in outcomes]
    return Spent(seed, outcomes, by_round, math.fsum(policies.values()))


def used(folder: Path) -> dict[str, float]:
    """CPU-seconds of one round by stage, those of discarded runs among them."""
    stages = ledger.ledger(folder)["stages"]
    return {name: sum(run["cpu_s"] for run in ledger.all_used({name: made})) for name, made in stages.items()}
