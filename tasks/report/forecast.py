"""What was forecast for each round beside what it came to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tasks.config import Config
from tasks.cost import forecast as costs
from tasks.cost.forecast import Work
from tasks.cost.rates import Rates
from tasks.report.loop import Round
from tasks.report.words import amount, count, duration


@dataclass(frozen=True)
class Unit:
    """Something that is forecast, and how its numbers are written."""

    name: str
    write: Callable[[float | None], str]
    #: Whether it does not depend on the machine, so that a fixed plan forecasts it exactly.
    counted: bool


@dataclass(frozen=True)
class Pair:
    """A number and its forecast, either of which may be missing."""

    unit: Unit
    actual: float | None
    forecast: float | None


@dataclass(frozen=True)
class Compared:
    """A round's forecast and outcome; work that was discarded is not among its numbers."""

    round: int
    aborted: bool
    has_forecast: bool
    #: Whether all that the forecast counts was settled beforehand; else ``why`` says what was not.
    exact: bool
    why: tuple[str, ...]
    #: Whether INFER was left out, as no round goes on from this one; then it is not among the forecast either.
    unscored: bool
    #: Whether a target was trained that nobody foresaw, as nobody knew that the loop would end here; then it is not
    #: among the numbers.
    unforeseen: bool
    pairs: list[Pair]


UNITS = (
    Unit("labels", count, True),
    Unit("record-epochs", count, True),
    Unit("items scored", count, True),
    Unit("forward passes", count, True),
    Unit("device time", duration, False),
    Unit("money", amount, False),
)


def compare(rounds: list[Round], config: Config) -> list[Compared]:
    """Each finished round's numbers beside their forecasts, in order."""
    return [_compared(round_, config) for round_ in rounds if round_.outcome is not None]


def _compared(round_: Round, config: Config) -> Compared:
    forecast, decided = round_.forecast or {}, round_.decision or {}
    unscored = decided.get("action") in ("stop", "restart") and "infer" not in round_.stages
    if unscored and forecast:
        forecast = _unscored(forecast, config)
    if forecast.get("targets") and "target" not in round_.stages:
        forecast = _untargeted(forecast, config)
    unforeseen = "target" in round_.stages and bool(forecast) and not forecast.get("targets")
    left_out = ("target",) if unforeseen else ()
    stages = {name: entry for name, entry in round_.stages.items() if name not in left_out}
    actual, expected = _actual(stages), _expected(forecast)
    return Compared(
        round=round_.number,
        aborted=round_.aborted,
        has_forecast=round_.forecast is not None,
        exact=bool(forecast.get("exact")),
        why=tuple(forecast.get("why", ())),
        unscored=unscored,
        unforeseen=unforeseen,
        pairs=[Pair(unit, actual[unit.name], expected[unit.name]) for unit in UNITS],
    )


def _unscored(forecast: dict[str, Any], config: Config) -> dict[str, Any]:
    """A forecast without the INFER that nobody knew would not come; without a price where that cannot be told."""
    if not forecast.get("items_scored"):
        return forecast
    infer = Work(0, 0, 0, forecast["items_scored"], forecast["infer_passes"], exact=True, stages=1)
    return {**forecast, "items_scored": 0, "infer_passes": 0, "price": _price_without(infer, forecast, config)}


def _untargeted(forecast: dict[str, Any], config: Config) -> dict[str, Any]:
    """A forecast without the TARGET that an attempt which is given up does not get; its price as above."""
    names = ("targets", "target_record_epochs", "target_passes", "proxy_passes")
    target = Work(0, 0, 0, 0, 0, exact=True, stages=1, **{name: forecast[name] for name in names})
    return {**forecast, **dict.fromkeys(names, 0), "price": _price_without(target, forecast, config)}


def _price_without(work: Work, forecast: dict[str, Any], config: Config) -> dict[str, float] | None:
    price, rates = forecast.get("price"), forecast.get("rates")
    if not price or not rates:
        return None
    less = costs.price(work, config, Rates(**rates))
    return {name: price[name] - getattr(less, name) for name in ("device_hours", "money")}


def _actual(stages: dict[str, Any]) -> dict[str, float | None]:
    used = [entry["used"] for entry in stages.values()]
    return {
        "labels": sum(one["labels"] for one in used),
        "record-epochs": sum(one["record_epochs"] for one in used),
        "items scored": sum(one["items_scored"] for one in used),
        "forward passes": sum(one["forward_passes"] for one in used),
        "device time": sum(sum(one["device_s"].values()) for one in used),
        "money": sum(sum(one["money"].values()) for one in used),
    }


def _expected(forecast: dict[str, Any]) -> dict[str, float | None]:
    passes = [forecast.get(name) for name in ("train_passes", "infer_passes")]
    epochs = forecast.get("record_epochs")
    price = forecast.get("price") or {}
    hours = price.get("device_hours")
    return {
        "labels": forecast.get("labels"),
        "record-epochs": None if epochs is None else epochs + forecast.get("target_record_epochs", 0),
        "items scored": forecast.get("items_scored"),
        "forward passes": None
        if None in passes
        else sum(one for one in passes if one is not None) + forecast.get("target_passes", 0),
        "device time": None if hours is None else 3600 * hours,
        "money": price.get("money"),
    }
