"""How far annotators agree with each other, and how often they err on items whose label is known."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

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


def of_round(workspace: Workspace, round_: int) -> Quality:
    """Of a round whose labels were bought; one of an earlier release has no figures."""
    task, path = load_task(workspace), workspace.round_dir(round_) / "answers.parquet"
    if not path.exists():
        return Quality(None, None, {})
    rows = [row for row in files.read_table(path).to_pylist() if row["label"] is not None]
    labeled = files.read_table(workspace.previous_dir(round_) / "labeled.parquet", ["id", "label"])
    known = dict(zip(labeled["id"].to_pylist(), labeled["label"].to_pylist(), strict=True))
    given: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        given[row["id"]].append(row["label"])
    checks = [(row["annotator"], row["label"], known[row["id"]]) for row in rows if row["purpose"] == "check"]
    pairs = None if isinstance(task, Regression) else pairwise_agreement(given.values())
    return Quality(alpha(given.values(), task), pairs, _checked(checks, task))


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
