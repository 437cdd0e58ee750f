"""A loop's bill before it is paid: each round, and all together, in units, hours and money."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from operator import add
from typing import Any

from tasks.config import Config
from tasks.cost import forecast
from tasks.cost.bill import Bill
from tasks.cost.forecast import Work
from tasks.cost.rates import Rates
from tasks.forecast import loop
from tasks.forecast.sizes import Sizes

_DIGITS = 6


@dataclass(frozen=True)
class Row:
    """A round, or all of them."""

    #: Labelled items at its end.
    labels: int
    work: Work
    bill: Bill
    device_hours: float
    #: Of the stages, one after the other; nobody's waiting for labels is among them.
    wall_hours: float

    @property
    def money(self) -> float:
        """All lines of the bill."""
        return self.bill.total

    @property
    def passes(self) -> int:
        """Forward passes of TRAIN, TARGET and INFER."""
        return self.work.train_passes + self.work.target_passes + self.work.infer_passes

    @property
    def record_epochs(self) -> int:
        """Of TRAIN and TARGET."""
        return self.work.record_epochs + self.work.target_record_epochs

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        used = {name: value for name, value in asdict(self.work).items() if name not in ("labels", "why")}
        return {
            "labels": self.labels,
            "bought": self.work.labels,
            **used,
            "device_hours": round(self.device_hours, 8),
            "wall_hours": round(self.wall_hours, 8),
            "money": {**asdict(self.bill), "total": self.money},
        }


@dataclass(frozen=True)
class Plan:
    """What a loop will use and cost."""

    name: str
    currency: str
    sizes: Sizes
    rates: Rates
    rounds: Sequence[Row]
    total: Row
    #: Why which numbers are not exact; where there is nothing, all units are.
    notes: Sequence[str]

    @property
    def exact(self) -> bool:
        """Whether the ledger of the finished loop will hold just these units."""
        return not self.notes

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "name": self.name,
            "currency": self.currency,
            "pool": self.sizes.pool,
            "held_out": self.sizes.held_out,
            "rates": {name: _rounded(value) for name, value in asdict(self.rates).items()},
            "exact": self.exact,
            "notes": list(self.notes),
            "rounds": [{"round": number, **row.plain()} for number, row in enumerate(self.rounds)],
            "total": self.total.plain(),
        }


def plan(config: Config, sizes: Sizes, rates: Rates) -> Plan:
    """Forecast every round of a loop."""
    rounds = [_row(config, rates, planned) for planned in loop.rounds(config, sizes.pool, sizes.held_out)]
    total = _total(rounds)
    notes = [*loop.notes(config), *total.work.why]
    return Plan(config.name, config.prices.currency, sizes, rates, rounds, total, notes)


def _row(config: Config, rates: Rates, planned: loop.Planned) -> Row:
    price, bill = forecast.price(planned.work, config, rates), forecast.bill(planned.work, config, rates)
    return Row(planned.labels, planned.work, bill, price.device_hours, price.wall_hours)


def _total(rows: Sequence[Row]) -> Row:
    return Row(
        labels=rows[-1].labels,
        work=reduce(add, (row.work for row in rows)),
        bill=sum((row.bill for row in rows), Bill()),
        device_hours=sum(row.device_hours for row in rows),
        wall_hours=sum(row.wall_hours for row in rows),
    )


def _rounded(value: Any) -> Any:
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
