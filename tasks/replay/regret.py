"""Where a stopping policy would have ended a recorded loop, and what that would have lost against hindsight."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tasks.config import Config
from tasks.config_policy import StopConfig
from tasks.cost.rates import Rates
from tasks.history import Outcome
from tasks.policy.situation import Situation
from tasks.policy.stop import bounds, rules

#: The policy that every other one is set against: the whole record.
TO_THE_END = "run to the end"


@dataclass(frozen=True)
class Replayed:
    """A recorded loop, ended where a policy would have ended it."""

    round: int
    outcome: Outcome
    #: Whether a policy ended it; else the record did.
    holds: bool
    reason: str


def replay(
    history: Sequence[Outcome],
    config: Config,
    stop: StopConfig,
    *,
    pool: int,
    held_out: int,
    rates: Rates | None = None,
) -> Replayed:
    """Ask ``stop`` after each recorded round, as the loop would have asked it, until it ends the loop.

    Args:
        history: at least one outcome; sums as they stood when the policies were asked.
        config: of the recorded loop; its own policy.stop is not asked.
        pool: items of the whole pool.
        held_out: items of the held-out set.
    """
    wanted = config.model_copy(update={"policy": config.policy.model_copy(update={"stop": stop})})
    for prefix in _prefixes(history):
        last = prefix[-1]
        situation = Situation(prefix, wanted, pool, max(pool - last.labels, 0), held_out=held_out, rates=rates)
        if bounds.reached(situation) is not None:
            break
        if (decision := rules.decide(situation)).action == "stop":
            return Replayed(last.round, last, True, decision.reason)
    return Replayed(last.round, last, False, "does not hold before the end")


def stopping_points(history: Sequence[Outcome]) -> list[Outcome]:
    """The rounds at which the loop could have stopped: those after which it did not begin anew, and the last one."""
    return [prefix[-1] for prefix in _prefixes(history)]


def _prefixes(history: Sequence[Outcome]) -> Iterator[list[Outcome]]:
    for position, outcome in enumerate(history):
        if not outcome.restarted or position == len(history) - 1:
            yield [*history[:position], replace(outcome, restarted=False)]


def utility(outcome: Outcome, value_per_point: float) -> float:
    """What stopping there is worth: percentage points of held-out accuracy by their value, less the money spent."""
    return value_per_point * 100 * outcome.accuracy - outcome.money


def best(history: Sequence[Outcome], value_per_point: float) -> Outcome:
    """The stopping point of the highest utility in hindsight; the earliest of equal ones."""
    return max(stopping_points(history), key=lambda outcome: utility(outcome, value_per_point))


def regret(history: Sequence[Outcome], stopped: Outcome, value_per_point: float) -> float:
    """Money that the best stopping point in hindsight is worth more than ``stopped``; 0 or more."""
    return utility(best(history, value_per_point), value_per_point) - utility(stopped, value_per_point)


def regrets(
    history: Sequence[Outcome],
    config: Config,
    stops: Mapping[str, StopConfig],
    value_per_point: float,
    *,
    pool: int,
    held_out: int,
    rates: Rates | None = None,
) -> dict[str, float]:
    """The regret of each policy by its name, and that of TO_THE_END."""
    ends = {
        name: replay(history, config, stop, pool=pool, held_out=held_out, rates=rates).outcome
        for name, stop in stops.items()
    } | {TO_THE_END: stopping_points(history)[-1]}
    return {name: regret(history, outcome, value_per_point) for name, outcome in ends.items()}


def break_even_value(histories: Sequence[Sequence[Outcome]]) -> float | None:
    """The value of a percentage point at which the recorded loops, from first to last model, were just worth it.

    The money spent after the first models over the percentage points gained by it, all loops together: the least that
    those who ran them to the end can have thought a point to be worth. None where nothing was gained or spent.
    """
    ends = [(points[0], points[-1]) for points in map(stopping_points, histories)]
    spent = sum(last.money - first.money for first, last in ends)
    gained = 100 * sum(last.accuracy - first.accuracy for first, last in ends)
    return spent / gained if spent > 0 and gained > 0 else None
