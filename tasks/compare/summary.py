"""The arms side by side: means over seeds, and differences between loops of the same seed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean

from tasks.compare.interval import half_width
from tasks.compare.points import Point

_DIGITS = 6


@dataclass(frozen=True)
class Row:
    """One arm at one round: means over seeds, and half-widths of 95 % intervals (null for one seed).

    What is called accuracy is the headline metric of the task type (tasks/task_type/headline.py).
    """

    arm: str
    round: int
    #: Seeds.
    n: int
    labels: float
    accuracy: float
    accuracy_ci95: float | None
    #: To the first arm with the same seed at the same round and number of labels, or at the ends of both loops; null
    #: for the first arm itself.
    difference: float | None
    difference_ci95: float | None
    #: Seeds behind the difference: those that both arms have at this round; null where there is no difference.
    pairs: int | None
    items_scored: float
    device_seconds: float
    cpu_seconds: float
    money: float
    money_compute: float

    def metrics(self) -> dict[str, float]:
        """What is known of the row's numbers by name, with the ends of the accuracy's interval."""
        ends = {"accuracy_low": -1.0, "accuracy_high": 1.0}
        half = self.accuracy_ci95
        interval = {} if half is None else {name: self.accuracy + sign * half for name, sign in ends.items()}
        named = {
            name: value for name, value in asdict(self).items() if name not in ("arm", "round") and value is not None
        }
        return named | interval | {"device_hours": self.device_seconds / 3600}


def per_round(points: Sequence[Point]) -> list[Row]:
    """A row for each arm and round, in the order of the points; a loop that ended before a round is not in it."""
    arms = _arms(points)
    rounds = {arm: sorted({point.round for point in points if point.arm == arm}) for arm in arms}
    at = {number: [point for point in points if point.round == number] for number in set().union(*rounds.values())}
    return [_row(arm, arms[0], _comparable(arm, at[number])) for arm in arms for number in rounds[arm]]


def finals(points: Sequence[Point]) -> list[Row]:
    """A row for each arm at the end of its loops, whichever round that was; `round` is the highest."""
    ends = {(point.arm, point.seed): point for point in sorted(points, key=lambda point: point.round)}
    arms = _arms(points)
    return [_row(arm, arms[0], list(ends.values())) for arm in arms]


def _comparable(arm: str, points: Sequence[Point]) -> list[Point]:
    """The arm's points, and those of other arms that have as many labels with the same seed."""
    mine = {point.seed: point.labels for point in points if point.arm == arm}
    return [point for point in points if point.arm == arm or mine.get(point.seed) == point.labels]


def _arms(points: Sequence[Point]) -> list[str]:
    return list(dict.fromkeys(point.arm for point in points))


def _row(arm: str, first: str, points: Sequence[Point]) -> Row:
    """One arm among points that belong together, at most one for each arm and seed."""
    mine = [point for point in points if point.arm == arm]
    reference = {point.seed: point.accuracy for point in points if point.arm == first != arm}
    gaps = [point.accuracy - reference[point.seed] for point in mine if point.seed in reference]
    accuracies = [point.accuracy for point in mine]
    return Row(
        arm=arm,
        round=max(point.round for point in mine),
        n=len(mine),
        labels=_mean([point.labels for point in mine]),
        accuracy=_mean(accuracies),
        accuracy_ci95=_rounded(half_width(accuracies)),
        difference=_mean(gaps) if gaps else None,
        difference_ci95=_rounded(half_width(gaps)) if gaps else None,
        pairs=len(gaps) or None,
        items_scored=_mean([point.items_scored for point in mine]),
        device_seconds=_mean([point.device_seconds for point in mine]),
        cpu_seconds=_mean([point.cpu_seconds for point in mine]),
        money=_mean([point.money for point in mine]),
        money_compute=_mean([point.money_compute for point in mine]),
    )


def _mean(values: Sequence[float]) -> float:
    return round(fmean(values), _DIGITS)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)
