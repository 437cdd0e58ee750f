"""How far annotators agree with each other, and how often they err on items whose label is known."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from tasks import files
from tasks.datasets.store import load_task
from tasks.rounds import Workspace
from tasks.task_type import TaskType
from tasks.task_type.regression import Regression


@dataclass(frozen=True)
class Checked:
    """What the answers to known items say of one annotator, or of all."""

    items: int
    #: Share of wrong classes, or the root of the mean squared error of numbers.
    error: float


@dataclass(frozen=True)
class Quality:
    """Of the answers of one round, or of several."""

    #: Krippendorff's alpha: 1 where all agree, 0 where they do as by chance; None: no item has two answers, or all
    #: answers are one class.
    alpha: float | None
    #: Of all pairs of answers to one item the share that is the same; None for numbers, or without pairs.
    agreement: float | None
    #: By annotator, those who answered a known item; all together under no name.
    checked: dict[str, Checked]
    #: How many answers each annotator gave, checks and skipped items among them.
    answers: dict[str, int]

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def of_rounds(workspace: Workspace, rounds: Iterable[int]) -> Quality:
    """Of rounds whose labels were bought; those of an earlier release have nothing to say."""
    task = load_task(workspace)
    given: dict[tuple[int, str], list[float]] = defaultdict(list)
    checks: list[tuple[str, float, float]] = []
    answers: Counter[str] = Counter()
    for number in rounds:
        path = workspace.round_dir(number) / "answers.parquet"
        rows = files.read_table(path).to_pylist() if path.exists() else []
        answers.update(row["annotator"] for row in rows)
        rows = [row for row in rows if row["label"] is not None]
        for row in rows:
            given[number, row["id"]].append(row["label"])
        checks += _against_known(workspace, number, [row for row in rows if row["purpose"] == "check"])
    pairs = None if isinstance(task, Regression) else pairwise_agreement(given.values())
    return Quality(alpha(given.values(), task), pairs, _checked(checks, task), dict(sorted(answers.items())))


def _against_known(
    workspace: Workspace, round_: int, checks: Sequence[dict[str, Any]]
) -> Iterator[tuple[str, float, float]]:
    """Annotator, answer and earlier label of each answer to a known item."""
    if not checks:
        return
    labeled = files.read_table(workspace.previous_dir(round_) / "labeled.parquet", ["id", "label"])
    known = dict(zip(labeled["id"].to_pylist(), labeled["label"].to_pylist(), strict=True))
    for row in checks:
        yield row["annotator"], row["label"], known[row["id"]]


def pairwise_agreement(units: Iterable[Sequence[float]]) -> float | None:
    """Of all pairs of answers to the same item, the share that is equal."""
    same = pairs = 0
    for unit in units:
        pairs += math.comb(len(unit), 2)
        same += sum(math.comb(count, 2) for count in Counter(unit).values())
    return same / pairs if pairs else None


def alpha(units: Iterable[Sequence[float]], task: TaskType) -> float | None:
    """Krippendorff's alpha of several answers to each item: of classes nominal, of numbers by squared differences.

    1 - observed / expected disagreement, over items with two answers or more.

    Source: K. Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), sections B and D.
    """
    kept = [unit for unit in units if len(unit) > 1]
    pooled = [value for unit in kept for value in unit]
    if not pooled:
        return None
    spread = _squares if isinstance(task, Regression) else _differences
    observed = math.fsum(spread(unit) / (len(unit) - 1) for unit in kept) / len(pooled)
    expected = spread(pooled) / (len(pooled) * (len(pooled) - 1))
    return 1.0 - observed / expected if expected else None


def _differences(values: Sequence[float]) -> float:
    """Over all ordered pairs, how many differ."""
    return float(len(values) ** 2 - sum(count**2 for count in Counter(values).values()))


def _squares(values: Sequence[float]) -> float:
    """Over all ordered pairs, the sum of squared differences."""
    mean = fmean(values)
    return 2.0 * len(values) * math.fsum((value - mean) ** 2 for value in values)


def _checked(checks: Sequence[tuple[str, float, float]], task: TaskType) -> dict[str, Checked]:
    errors: dict[str, list[float]] = defaultdict(list)
    for annotator, answered, known in checks:
        off = (answered - known) ** 2 if isinstance(task, Regression) else float(answered != known)
        errors[annotator].append(off)
        errors[""].append(off)
    root = math.sqrt if isinstance(task, Regression) else float
    return {name: Checked(len(each), root(fmean(each))) for name, each in sorted(errors.items())}
