"""Outcomes from rows of numbers that somebody else wrote down: checked, and nothing made up."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median_low

from tasks.config import Config, LoopConfig
from tasks.errors import DataError
from tasks.history import Measured, Outcome
from tasks.replay.recording import MEASURED, SUMS, Recording, check_judged, measured
from tasks.task_type import headline
from tasks.task_type.headline import ACCURACY, Headline

#: Fields that every row holds; what a curve calls them depends on its metric, which is called accuracy here.
REQUIRED = ("labels", "accuracy")
#: What all rows hold, or none.
_WHOLE = ("round", "attempt", "nll", "ece", "rmse", "mae", *SUMS)
_FIELDS = (*REQUIRED, *_WHOLE, *MEASURED)
_INTEGERS = {
    *("labels", "round", "attempt", "record_epochs", "items_scored", "forward_passes", "bought"),
    *("compared", "gained", "lost"),
}
#: No sum or price is larger; and no count of labels or rounds, as in a configuration.
_LARGEST, _MOST = 1e15, 1e9
_SHARES = dict.fromkeys(("accuracy", "validation_accuracy", "uncertainty", "ece"), (0.0, 1.0)) | {"kappa": (-1.0, 1.0)}
_RANGES = (
    dict.fromkeys(("round", "attempt", "bought", "compared", "gained", "lost"), (0.0, _MOST))
    | {"labels": (1.0, _MOST)}
    | _SHARES
)
#: An R² has no least value, nor has the likelihood of a number.
_OF_NUMBERS = dict.fromkeys(("accuracy", "validation_accuracy"), (-_LARGEST, 1.0)) | {"nll": (-_LARGEST, _LARGEST)}
_PAIRED = ("compared", "gained", "lost")
#: Query sizes that can be asked again without the size of the pool, or prices of rounds.
_POOL_FREE = ("fixed", "geometric")


@dataclass(frozen=True)
class Row:
    """One trained round as it was written down."""

    #: Such as `row 3`, for messages.
    where: str
    #: By the fields of ``columns``; what is not known is left out.
    values: Mapping[str, float]
    #: What its source calls accuracy.
    of: Headline = ACCURACY

    def has(self, name: str) -> bool:
        """Whether the row holds a value of that name."""
        return name in self.values


def columns(of: Headline) -> dict[str, str]:
    """The columns of a curve, and the fields of rows that they are."""
    return {of.named(name): name for name in _FIELDS if name not in of.absent}


def of_metrics(values: Mapping[str, float]) -> Row:
    """A row out of the metrics of a round by their names in MLflow, where `labels` are those paid for so far."""
    of = headline.among(values)
    fields = columns(of)
    named = {fields[name]: value for name, value in values.items() if name in fields}
    if "labels" in values:
        named |= {"bought": values["labels"], "labels": values.get("attempt_labels", values["labels"])}
    return Row(f"round {values.get('round', math.nan):g}", named, of)


def recording(name: str, source: str, rows: Sequence[Row], config: Config, fit: bool = True) -> Recording:
    """The loop that ``rows`` tell of, in their order.

    Args:
        config: has the prices and policies.
        fit: whether ``config`` is another loop's, so that sizes and metric are taken from the curve, and the loop ends
            with the record.

    Raises:
        ConfigError: ``config`` is the loop's own, and a proxy selects.
        DataError: a row lacks a value or holds an impossible one; ``source``, row and column are named.
    """
    check_judged(source, proxied=not fit and config.proxy is not None)
    if not rows:
        raise DataError(f"{source}: no rows; a curve has one for each trained round")
    rows = [replace(row, of=rows[0].of) for row in rows]
    for row in rows:
        _check_values(source, row)
    for column in _WHOLE:
        _check_whole(source, rows, column)
    outcomes = [_outcome(number, row) for number, row in enumerate(rows)]
    if outcomes[-1].attempt > outcomes[0].attempt and not rows[0].has("bought"):
        raise DataError(
            f"{source}, column bought: missing; the loop began anew, and the labels of an attempt do not tell how many "
            "were paid for"
        )
    for row, before, after in zip(rows[1:], outcomes, outcomes[1:], strict=False):
        _check_order(source, row, before, after)
    outcomes = [
        replace(one, restarted=other.attempt > one.attempt)
        for one, other in zip(outcomes, [*outcomes[1:], outcomes[-1]], strict=True)
    ]
    known = frozenset(column for column in SUMS if rows[0].has(column)) | {"bought"} | measured(outcomes)
    if fit or config.policy.query_size not in _POOL_FREE:
        config = _fitted(config, outcomes, known, rows[0].of)
    return Recording(name, tuple(outcomes), known, config, pool=None, held_out=0)


def _check_values(source: str, row: Row) -> None:
    for name in REQUIRED:
        if not row.has(name):
            raise DataError(f"{source}, {row.where}, column {row.of.named(name)}: no value")
    ranges = _RANGES if row.of.share else _RANGES | _OF_NUMBERS
    for name, value in row.values.items():
        where = f"{source}, {row.where}, column {row.of.named(name)}"
        if not math.isfinite(value):
            raise DataError(f"{where}: {value:g} is no finite number")
        low, high = ranges.get(name, (0.0, _LARGEST))
        if not low <= value <= high:
            limits = f"{low:g} or more" if value < low else f"{high:,.0f} or less"
            limits = f"between {low:g} and {high:g}" if _SHARES.get(name) == (low, high) else limits
            raise DataError(f"{where}: {value:g} is not {limits}")
        if name in _INTEGERS and not value.is_integer():
            raise DataError(f"{where}: {value:g} is no whole number")
    held = [name for name in _PAIRED if row.has(name)]
    if held and len(held) < len(_PAIRED):
        missing = next(name for name in _PAIRED if name not in held)
        raise DataError(f"{source}, {row.where}, column {missing}: no value, and {held[0]} has one")
    if held and row.values["gained"] + row.values["lost"] > row.values["compared"]:
        raise DataError(f"{source}, {row.where}, column compared: less than gained and lost together")
    if row.has("bought") and row.values["bought"] < row.values["labels"]:
        raise DataError(f"{source}, {row.where}, column bought: less than the labels of the round")


def _check_whole(source: str, rows: Sequence[Row], column: str) -> None:
    if any(row.has(column) for row in rows):
        for row in rows:
            if not row.has(column):
                raise DataError(f"{source}, {row.where}, column {column}: no value; give every row one, or none")


def _outcome(number: int, row: Row) -> Outcome:
    """What is not known becomes NaN or 0, and is not among what is known of the recording."""
    values = row.values

    def whole(name: str, otherwise: float = 0) -> int:
        return int(values.get(name, otherwise))

    def maybe(name: str) -> int | None:
        return whole(name) if row.has(name) else None

    return Outcome(
        round=whole("round", number),
        labels=whole("labels"),
        accuracy=values["accuracy"],
        nll=values.get("nll", math.nan),
        ece=values.get("ece", math.nan) if row.of.share else None,
        rmse=values.get("rmse"),
        mae=values.get("mae"),
        money=values.get("money", math.nan),
        money_labels=values.get("money_labels", math.nan),
        money_compute=values.get("money_compute", math.nan),
        device_hours=values.get("device_hours", math.nan),
        wall_hours=values.get("wall_hours", math.nan),
        record_epochs=whole("record_epochs"),
        items_scored=whole("items_scored"),
        forward_passes=whole("forward_passes"),
        bought=whole("bought", values["labels"]),
        attempt=whole("attempt"),
        validation_accuracy=values.get("validation_accuracy"),
        measured=Measured(
            **{name: maybe(name) for name in _PAIRED},
            kappa=values.get("kappa"),
            uncertainty=values.get("uncertainty"),
        ),
    )


def _check_order(source: str, row: Row, before: Outcome, after: Outcome) -> None:
    """``row`` is that of ``after``, the round that follows ``before``."""
    grown = ["round"] + (["labels"] if after.attempt == before.attempt else [])
    for name in ("attempt", *grown, *SUMS):
        old, new = getattr(before, name), getattr(after, name)
        if new < old or (name in grown and new == old):
            wanted = f"must be above {old:g}" if name in grown else f"must not be below {old:g}"
            raise DataError(f"{source}, {row.where}, column {name}: {new:g} {wanted}, that of the round before")


def _fitted(base: Config, outcomes: Sequence[Outcome], known: frozenset[str], of: Headline) -> Config:
    """``base`` with the sizes and the metric that the curve has; the loop ends with the record."""
    labels = [outcome.labels for outcome in outcomes]
    steps = [after - before for before, after in pairwise(labels) if after > before]
    attempts = [outcome.attempt for outcome in outcomes]
    loop = LoopConfig(
        rounds=max(attempts.count(attempt) for attempt in attempts),
        initial=labels[0],
        query_size=median_low(steps) if steps else base.loop.query_size,
    )
    metric = of.named("validation_accuracy" if "validation_accuracy" in known else "accuracy")
    policy = base.policy.model_copy(update={"query_size": "fixed", "metric": metric})
    return base.model_copy(update={"task": of.task, "loop": loop, "policy": policy})


def with_prices(recording: Recording, has_prices: bool) -> Recording:
    """The recording with the price of its labels as its money, if it has none of its own and prices are known."""
    recording = replace(recording, has_prices=has_prices)
    if "money" in recording.known or not has_prices:
        return recording
    price = recording.config.prices.label
    outcomes = tuple(replace(outcome, money=round(price * outcome.bought, 6)) for outcome in recording.history)
    made = replace(recording, history=outcomes, known=recording.known | {"money"})
    return made.noted(f"no money in the curve: the labels alone are counted, at prices.label = {price:g} each")
