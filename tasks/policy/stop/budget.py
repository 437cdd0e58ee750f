"""A budget of labels, money, device-hours or wall-hours, out of which the next round has to be paid too."""

from dataclasses import dataclass

from tasks.config_policy import BudgetRule
from tasks.policy import next_round
from tasks.policy.decision import Verdict
from tasks.policy.query_size import choice as query_size
from tasks.policy.situation import Situation

#: Sums of prices are not exact; a round that costs just what is left still fits.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class _Amount:
    unit: str
    spent: float
    #: What the next round will take, as far as that is known.
    next: float
    budget: float

    @property
    def exceeded(self) -> bool:
        return self.spent >= self.budget or self.spent + self.next > self.budget * (1 + _ROUNDING)

    def __str__(self) -> str:
        return f"{self.spent:g} {self.unit} spent and {self.next:g} for the next round, of {self.budget:g}"


def verdict(situation: Situation, settings: BudgetRule) -> Verdict:
    """Holds once the next round would exceed one of the amounts, or one is used up; all attempts count.

    Labels are compared as the query size says, though the drawer of an aborted attempt may hold some of them for
    nothing. Where nobody knows how long compute takes, the next round is taken to cost its labels alone.
    """
    amounts = _amounts(situation, settings)
    exceeded = [amount for amount in amounts.values() if amount.exceeded]
    reason = "; ".join(str(amount) for amount in exceeded or amounts.values())
    if situation.rates is None and amounts.keys() != {"labels"}:
        reason += " (the next round's compute is not counted: how long it takes is not known; set rates)"
    numbers = {
        name: {"spent": round(amount.spent, 6), "next": round(amount.next, 6), "budget": amount.budget}
        for name, amount in amounts.items()
    }
    return Verdict(bool(exceeded), reason, numbers)


def _amounts(situation: Situation, settings: BudgetRule) -> dict[str, _Amount]:
    """The amounts that are bounded, by the name of their bound."""
    config, last = situation.config, situation.history[-1]
    size = query_size.choose(situation).value
    price = next_round.reserved(situation, size)
    money = next_round.labels_price(situation, size) if price is None else price.money
    device, wall = (0.0, 0.0) if price is None else (price.device_hours, price.wall_hours)
    spent = {
        "labels": ("labels", last.bought, size),
        "money": (config.prices.currency, last.money, money),
        "device_hours": ("device-hours", last.device_hours, device),
        "wall_hours": ("wall-hours", last.wall_hours, wall),
    }
    return {name: _Amount(*spent[name], budget) for name, budget in settings.model_dump().items() if budget is not None}
