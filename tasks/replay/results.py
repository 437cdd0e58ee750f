"""What every policy came to on every recorded curve, and on all of them together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from tasks import progress
from tasks.compare.interval import half_width
from tasks.config_policy import StopConfig
from tasks.history import Outcome
from tasks.replay import panel, regret
from tasks.replay.recording import Recording

BEST = "best in hindsight"
_DIGITS = 6


@dataclass(frozen=True)
class Row:
    """One policy on one curve; null where it cannot be replayed, or where the curve does not tell."""

    run: str
    rule: str
    round: int | None = None
    #: Paid for, in all attempts.
    labels: int | None = None
    accuracy: float | None = None
    money: float | None = None
    device_hours: float | None = None
    #: Against running to the end.
    saved_labels: int | None = None
    saved_device_hours: float | None = None
    saved_money: float | None = None
    #: Against the best stopping point in hindsight: percentage points, and money.
    points_lost: float | None = None
    regret: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Mean:
    """One policy over the curves on which it can be replayed; half-widths of 95 % intervals, null for one curve."""

    rule: str
    #: Curves, and how many of them it ended before their end.
    n: int
    stopped: int
    saved_labels: float | None
    saved_device_hours: float | None
    saved_money: float | None
    points_lost: float | None
    points_lost_ci95: float | None
    regret: float | None
    regret_ci95: float | None


def rows(recording: Recording, stops: Mapping[str, StopConfig], value_per_point: float | None) -> list[Row]:
    """A row for each policy, then the record's end, then the best stopping point where that is known.

    Args:
        stops: policies by their names.
        value_per_point: of a percentage point of accuracy, or a hundredth of R², in the currency of the prices; None
            leaves regret out.
    """
    value = value_per_point if "money" in recording.known else None
    points = len(regret.stopping_points(recording.history))
    with progress.task(f"replaying {recording.name}", points * len(stops)) as shown:
        found = [_replayed(recording, rule, stop, value, shown) for rule, stop in stops.items()]
    end = regret.stopping_points(recording.history)[-1]
    found.append(_row(recording, regret.TO_THE_END, end, value, "the record ends here"))
    if value is not None:
        metric = recording.headline
        why = f"highest {metric.title} x value - money, at {value:.6g} a {metric.point}"
        found.append(_row(recording, BEST, regret.best(recording.history, value), value, why))
    return found


def _replayed(recording: Recording, rule: str, stop: StopConfig, value: float | None, shown: progress.Progress) -> Row:
    if why := panel.missing(stop, recording):
        return Row(run=recording.name, rule=rule, reason=why)
    end = regret.replay(
        recording.history,
        recording.config,
        stop,
        pool=recording.items,
        held_out=recording.held_out,
        rates=recording.rates,
        shown=shown,
    )
    return _row(recording, rule, end.outcome, value, end.reason)


def _row(recording: Recording, rule: str, outcome: Outcome, value: float | None, reason: str) -> Row:
    """What stopping there comes to, against the end of the record and the best stopping point.

    A rule that knows the record's end from its value is not ranked: it has no regret.
    """
    history = recording.history
    end = regret.stopping_points(history)[-1]
    best = None if value is None else regret.best(history, value)
    ranked = value if not rule.endswith(panel.HINDSIGHT) else None
    return Row(
        run=recording.name,
        rule=rule,
        round=outcome.round,
        labels=outcome.bought,
        accuracy=outcome.accuracy,
        money=_known(recording, "money", outcome.money),
        device_hours=_known(recording, "device_hours", outcome.device_hours),
        saved_labels=end.bought - outcome.bought,
        saved_device_hours=_known(recording, "device_hours", end.device_hours - outcome.device_hours),
        saved_money=_known(recording, "money", end.money - outcome.money),
        points_lost=None if best is None else _rounded(100 * (best.accuracy - outcome.accuracy)),
        regret=None if ranked is None else _rounded(regret.regret(history, outcome, ranked)),
        reason=reason,
    )


def means(found: Sequence[Row]) -> list[Mean]:
    """One for each policy, in the order of the rows; policies that no curve could be replayed with have n = 0."""
    return [
        _mean(rule, [row for row in found if row.rule == rule]) for rule in dict.fromkeys(row.rule for row in found)
    ]


def _mean(rule: str, mine: Sequence[Row]) -> Mean:
    there = [row for row in mine if row.round is not None]

    def mean(of: Callable[[Sequence[float]], float | None], name: str) -> float | None:
        # One curve that does not tell leaves the mean over all of them unknown.
        values = [getattr(row, name) for row in there]
        value = None if not values or None in values else of(values)
        return None if value is None else _rounded(value)

    return Mean(
        rule=rule,
        n=len(there),
        stopped=sum(bool(row.saved_labels) for row in there),
        saved_labels=mean(fmean, "saved_labels"),
        saved_device_hours=mean(fmean, "saved_device_hours"),
        saved_money=mean(fmean, "saved_money"),
        points_lost=mean(fmean, "points_lost"),
        points_lost_ci95=mean(half_width, "points_lost"),
        regret=mean(fmean, "regret"),
        regret_ci95=mean(half_width, "regret"),
    )


def _known(recording: Recording, name: str, value: float) -> float | None:
    return _rounded(value) if name in recording.known else None


def _rounded(value: float) -> float:
    return round(value, _DIGITS) + 0.0
