"""Predicted losses and entropy gradients as acquisition functions, beside those that they were compared with.

    python benchmarks/lplgrad.py --work DIR [--protocol cpu|paper] [--dataset mnist|cifar10] [--methods NAME …]
        [--seeds N [--first N]] [--quick] [--jobs 1] [--minutes N] [--so-far] [--out benchmarks/results]

The six methods of table III of the source, each a loop in which nothing else differs; the joint loss is part of the
two methods that go by it (learning_loss, lplgrad) and so of their training. In each round a random subset of the
unlabelled items is considered, as in the source; another one in each round, the same kind of draw for all methods.
Every model begins anew; the source's published code goes on from the last one's weights. How loops are run, paired and
billed is told in loops.py; in each seed all methods have the same initial labels, and those without the joint loss the
same first model.

cpu: MNIST with the CEAL net, 200 labels and six times 200 more of subsets of 5,000, five seeds; and CIFAR-10 with
preact_resnet8, 1,000 labels and four times 1,000 more of subsets of 2,500, six epochs, three seeds. Seconds are
CPU-seconds of one thread; those of TRAIN hold the look at the 10,000 test items after each training.

paper: CIFAR-10 with ResNet-18 and the source's schedule of 200 epochs, 1,000 labels and eight times 1,000 more of
subsets of 25,000; wall seconds, for a GPU, in bf16. A loop takes minutes: name methods and seeds, and give --minutes;
the same command goes on.

`claims` says of each comparison of the source whether the mean of the accuracies after the first round bears it out:
`holds` or `fails` where the 95 % interval of the seeds' differences is above or below 0, else `undecided`.

Source: S. Gul, M. Elmahallawy, S. Madria and A. Tripathy, LPLgrad, arXiv 2411.15217, tables III and IV.

Needs FRUGAL_DATA (or a network). Prints a table for each data set, and one JSON object as its last line.
"""

import argparse
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import harness

# First of all: it sets the number of threads.
import loops
from ceal_cifar10 import provide
from loops import Arm, Bench
from pairs import difference, summary, told_difference, told_mean

from tasks.cost import ledger
from tasks.history import Outcome, history
from tasks.rounds import Workspace

ENTROPY, RANDOM = "entropy", "random"
JOINT = "train.loss_prediction={}"
#: What makes each method: the rest of the configuration is the same.
METHODS = {
    RANDOM: ("select.strategy=random", "infer.acquisition=entropy"),
    ENTROPY: ("infer.acquisition=entropy",),
    "learning_loss": ("infer.acquisition=learning_loss", JOINT),
    "entropy_gradnorm": ("infer.acquisition=entropy_gradnorm",),
    "lplgrad": ("infer.acquisition=lplgrad", JOINT),
    "k_centers": ("select.strategy=k_centers", "infer.acquisition=entropy"),
}
#: (the better one, the worse one) of the source.
CLAIMS = (
    ("lplgrad", "entropy_gradnorm"),
    ("entropy_gradnorm", ENTROPY),
    ("lplgrad", "learning_loss"),
    ("lplgrad", "k_centers"),
    ("lplgrad", RANDOM),
    ("learning_loss", RANDOM),
    (ENTROPY, RANDOM),
)
#: Table III, CIFAR-10: accuracy in percent by labels; and table IV: seconds of training and of querying, unit not told.
PUBLISHED = {
    "accuracy": {
        RANDOM: {3000: 71.7, 6000: 83.8, 9000: 86.2},
        ENTROPY: {3000: 65.2, 6000: 84.1, 9000: 88.9},
        "learning_loss": {3000: 71.3, 6000: 86.0, 9000: 89.7},
        "entropy_gradnorm": {3000: 68.0, 6000: 84.8, 9000: 89.0},
        "lplgrad": {3000: 72.4, 6000: 86.2, 9000: 90.1},
        "k_centers": {3000: 64.0, 6000: 81.7, 9000: 86.0},
    },
    "train_and_query": {
        ENTROPY: (61.9, 14.3),
        "learning_loss": (63.7, 15.7),
        "entropy_gradnorm": (63.1, 40),
        "lplgrad": (60.5, 14),
        "k_centers": (68.4, 2319),
    },
}


@dataclass(frozen=True)
class Question:
    """A data set, and how much of it."""

    dataset: str
    conf: str
    settings: tuple[str, ...]
    seeds: int


COMMON = ("label.seconds=0.0", "infer.passes=1", "infer.first_passes=null", "infer.scope=[subset]")
SGD = (
    "train.optimizer=sgd",
    "train.weight_decay=5e-4",
    "train.augment={flip: true, crop: 4, brightness: 0.0, contrast: 0.0}",
)
MNIST = Question(
    dataset="mnist",
    conf="mnist.yaml",
    settings=("device=cpu", "loop.initial=200", "loop.query_size=200", "loop.rounds=7", "infer.subset.size=5000"),
    seeds=5,
)
CIFAR10 = Question(
    dataset="cifar10",
    conf="cifar10-frugal.yaml",
    settings=(
        "device=cpu",
        "loop.initial=1000",
        "loop.query_size=1000",
        "loop.rounds=5",
        "infer.subset.size=2500",
        "train.model=preact_resnet8",
        "train.epochs=6",
        "train.batch_size=32",
        "train.lr=0.05",
        *SGD,
    ),
    seeds=3,
)
PAPER = Question(
    dataset="cifar10",
    conf="cifar10-frugal.yaml",
    settings=(
        "device=cuda",
        "loop.initial=1000",
        "loop.query_size=1000",
        "loop.rounds=9",
        "infer.subset.size=25000",
        "train.model=resnet18",
        "train.epochs=200",
        "train.batch_size=128",
        "train.lr=0.1",
        "train.schedule=step",
        "train.step_at=[0.8]",
        *SGD,
    ),
    seeds=5,
)
QUICK = ("dataset.limit=600", "loop.initial=40", "loop.query_size=20", "loop.rounds=2", "infer.subset.size=100")


def main() -> None:
    """Run what is missing, then tell."""
    options = arguments()
    asked = questions(options)
    arms = tuple(arm for question in asked for arm in arms_of(question, options))
    made = loops.bench(options, __file__, arms)
    made = replace(made, command=(*made.command, *repeated(options)))
    if not options.so_far:
        open_pools(made)
    if not loops.work(made, options):
        return
    clock = "wall_s" if options.protocol == "paper" and not options.quick else "cpu_s"
    told = {question.dataset: tell(made, question, options, clock) for question in asked}
    for dataset, figures in told.items():
        print_table(dataset, figures["methods"])
        for claim, found in figures["claims"].items():
            print(f"{dataset}: {claim}: {found['verdict']}")
    name = "lplgrad" if options.protocol == "cpu" else "lplgrad-paper"
    harness.publish(name, {**told, "clock": clock, "published": PUBLISHED}, options, ("torch", "numpy"))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = loops.parser(__doc__, quick="600 items, 2 rounds, one epoch, one seed")
    parser.add_argument("--protocol", choices=("cpu", "paper"), default="cpu", help="which question (default: cpu)")
    parser.add_argument("--dataset", choices=("mnist", "cifar10"), help="one of the two (default: both)")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), help="(default: all)")
    parser.add_argument("--seeds", type=int, help="of each method (default: 5, and 3 of CIFAR-10 on a CPU)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default: %(default)s)")
    parser.set_defaults(jobs=1)
    return parser.parse_args()


def open_pools(made: Bench) -> None:
    """Build the pools; CIFAR-10's comes last, for which FRUGAL_DATA may have to point elsewhere from then on."""
    for dataset in ("mnist", "cifar10"):
        arms = [arm for arm in made.arms if arm.name.startswith(f"{dataset} ")]
        if arms and dataset == "cifar10":
            made.work.mkdir(parents=True, exist_ok=True)
            provide(made.work)
        if arms:
            loops.shared_pool(made, arms[0].configuration(arms[0].first))


def repeated(options: argparse.Namespace) -> list[str]:
    """The options that describe the arms, for the processes that run them."""
    seeds = [] if options.seeds is None else [f"--seeds={options.seeds}"]
    return [f"--protocol={options.protocol}", f"--first={options.first}", *seeds]


def questions(options: argparse.Namespace) -> tuple[Question, ...]:
    """What the command line asks for."""
    every = (PAPER,) if options.protocol == "paper" else (MNIST, CIFAR10)
    return tuple(question for question in every if options.dataset in (None, question.dataset))


def arms_of(question: Question, options: argparse.Namespace) -> tuple[Arm, ...]:
    """The methods, in the source's order."""
    less = (*QUICK, "device=cpu", "train.epochs=1", "train.batch_size=16") if options.quick else ()
    seeds = options.seeds or (1 if options.quick else question.seeds)
    shared = (*COMMON, *question.settings, *less)
    return tuple(
        Arm(arm_name(question, method), question.conf, (*shared, *METHODS[method]), seeds, options.first)
        for method in METHODS
        if method in options.methods
    )


def arm_name(question: Question, method: str) -> str:
    """How the workspaces of a method are called."""
    return f"{question.dataset} {method}"


# Figures


@dataclass(frozen=True)
class Run:
    """A finished loop."""

    seed: int
    labels: tuple[int, ...]
    #: In percent, of the held-out set.
    accuracy: tuple[float, ...]
    #: Of the whole loop, in seconds of the clock.
    train_s: float
    #: INFER and SELECT.
    query_s: float
    items_scored: int

    @property
    def later(self) -> float:
        """The mean accuracy after the first round, whose labels nobody has selected."""
        return statistics.mean(self.accuracy[1:])


def run_of(workspace: Workspace, seed: int, clock: str) -> Run:
    """Read a finished loop."""
    outcomes: Sequence[Outcome] = history(workspace)
    used = [seconds(workspace, outcome.round, clock) for outcome in outcomes]
    return Run(
        seed,
        tuple(outcome.labels for outcome in outcomes),
        tuple(100 * outcome.accuracy for outcome in outcomes),
        math.fsum(of_round.get("train", 0.0) for of_round in used),
        math.fsum(of_round.get("infer", 0.0) + of_round.get("select", 0.0) for of_round in used),
        outcomes[-1].items_scored,
    )


def seconds(workspace: Workspace, round_: int, clock: str) -> dict[str, float]:
    """Of one round by stage, those of discarded runs among them."""
    stages = ledger.ledger(workspace.round_dir(round_))["stages"]
    return {name: sum(run[clock] for run in ledger.all_used({name: made})) for name, made in stages.items()}


Runs = Mapping[str, Sequence[Run]]


def finished(made: Bench, question: Question, options: argparse.Namespace, clock: str) -> dict[str, list[Run]]:
    """The finished loops of each method that has any, in the order of the seeds."""
    found = {}
    for method in options.methods:
        arm = made.arm(arm_name(question, method))
        runs = [run_of(place, seed, clock) for seed in arm.numbers if not loops.left(place := made.place(arm, seed))]
        if runs:
            found[method] = runs
    return found


def tell(made: Bench, question: Question, options: argparse.Namespace, clock: str) -> dict[str, Any]:
    """Everything about one data set."""
    found = finished(made, question, options, clock)
    return {
        "methods": {method: row(method, found) for method in found},
        "claims": claims(found),
        "joint_loss_train_s": joint_loss(found),
        "settings": [*COMMON, *question.settings],
    }


def row(method: str, found: Runs) -> dict[str, Any]:
    """One method: accuracy at each budget, alone and paired with those that it has to beat, and what it took."""
    runs = found[method]
    budgets: dict[str, Any] = {}
    for place, labels in enumerate(runs[0].labels):
        budgets[str(labels)] = {"accuracy": summary([run.accuracy[place] for run in runs], 3)} | {
            f"to_{other}": paired(runs, found[other], lambda run, place=place: run.accuracy[place])
            for other in (RANDOM, ENTROPY)
            if other != method and other in found
        }
    query = [run.query_s for run in runs]
    return {
        "seeds": [run.seed for run in runs],
        "budgets": budgets,
        "later_accuracy": summary([run.later for run in runs], 3),
        "train_s": summary([run.train_s for run in runs], 2),
        "query_s": summary(query, 2),
        "items_scored": runs[0].items_scored,
        "query_ms_per_item": summary([1000 * run.query_s / run.items_scored for run in runs], 4)
        if all(run.items_scored for run in runs)
        else None,
    }


def paired(mine: Sequence[Run], theirs: Sequence[Run], figure: Any) -> dict[str, Any] | None:
    """The difference of a figure over the seeds that both have; None where there is none."""
    others = {run.seed: run for run in theirs}
    pairs = [(run, others[run.seed]) for run in mine if run.seed in others]
    if not pairs:
        return None
    return difference([figure(one) for one, _ in pairs], [figure(other) for _, other in pairs], 3) | {"n": len(pairs)}


def claims(found: Runs) -> dict[str, Any]:
    """Whether the source's order of the methods is found."""
    told = {}
    for better, worse in CLAIMS:
        gap = paired(found[better], found[worse], lambda run: run.later) if {better, worse} <= set(found) else None
        if gap is not None:
            told[f"{better} > {worse}"] = gap | {"verdict": verdict(gap["mean"], gap["ci95"])}
    if {"k_centers", ENTROPY} <= set(found):
        mine, theirs = (statistics.mean(run.query_s for run in found[method]) for method in ("k_centers", ENTROPY))
        ratio = round(mine / theirs, 2)
        told["k_centers queries many times as long as entropy"] = {"ratio": ratio, "verdict": f"{ratio:g} times"}
    return told


def verdict(mean: float, half: float | None) -> str:
    """What a difference and its interval say of a claim that it is above 0."""
    if half is None or abs(mean) <= half:
        return "undecided"
    return "holds" if mean > 0 else "fails"


def joint_loss(found: Runs) -> dict[str, Any] | None:
    """Seconds of training with the joint loss over those without, seed by seed, on equally many labels."""
    without = {run.seed: run.train_s for run in found.get(ENTROPY, [])}
    ratios = [run.train_s / without[run.seed] for run in found.get("learning_loss", []) if run.seed in without]
    return summary(ratios, 3) if ratios else None


def print_table(dataset: str, methods: Mapping[str, Any]) -> None:
    """The table of a data set, as the documentation has it; the last budget's differences."""
    if not methods:
        return
    budgets = list(next(iter(methods.values()))["budgets"])
    print(f"\n| {dataset} | seeds |", *(f"{labels} |" for labels in budgets), end="")
    print(" mean after the first | to random | to entropy | TRAIN, s | INFER + SELECT, s |")
    print("|---" * (len(budgets) + 7) + "|")
    for method, told in methods.items():
        print(f"| {method} | {len(told['seeds'])} | {' | '.join(line(told, budgets))} |")


def line(told: Mapping[str, Any], budgets: Sequence[str]) -> list[str]:
    """One method's line."""
    last = told["budgets"][budgets[-1]]
    return [
        *(told_mean(told["budgets"][labels]["accuracy"]) for labels in budgets),
        told_mean(told["later_accuracy"]),
        *(told_difference(last.get(f"to_{other}")) for other in (RANDOM, ENTROPY)),
        told_mean(told["train_s"]),
        told_mean(told["query_s"]),
    ]


if __name__ == "__main__":
    main()
