"""Where a stopping policy would have ended a recorded loop, and what that would have lost against hindsight."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tasks.config import Config
from tasks.config_policy import StopConfig
from tasks.cost.rates import Rates
from tasks.history import Outcome
from tasks.policy.decision import Decision
from tasks.policy.query_size import choice as query_size
from tasks.policy.situation import Situation
from tasks.policy.stop import bounds, rules
from tasks.policy.words import more_rounds
from tasks.progress import Progress, Silent

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
    shown: Progress | None = None,
) -> Replayed:
    """Ask ``stop`` after each recorded round, as the loop would have asked it, until it ends the loop.

    The next query is as large as the loop's was, whatever ``stop`` would have had policy.query_size ask for.

    Args:
        history: at least one outcome; sums as they stood when the policies were asked.
        config: of the recorded loop; its own policy.stop is not asked.
        pool: items of the whole pool.
        held_out: items of the held-out set.
        shown: advanced by 1 with each round that is asked.
    """
    shown = shown or Silent()
    tried = config.model_copy(update={"policy": config.policy.model_copy(update={"stop": stop})})
    for prefix in _prefixes(history):
        last = prefix[-1]
        situation = Situation(prefix, config, pool, max(pool - last.labels, 0), held_out=held_out, rates=rates)
        ended = bounds.reached(situation) is not None
        size = _next_size(history, situation)
        decision = rules.decide(replace(situation, config=tried, next_size=size))
        shown.advance(1)
        if ended:
            break
        if decision.action == "stop":
            return Replayed(last.round, last, True, decision.reason)
    return Replayed(last.round, last, False, _why_not(decision))


def _next_size(history: Sequence[Outcome], situation: Situation) -> int:
    """How many labels the next round brought; after the last one, what the loop's own policies would have asked for."""
    last, position = situation.history[-1], len(situation.history)
    if position < len(history) and history[position].attempt == last.attempt:
        return history[position].labels - last.labels
    return int(query_size.choose(situation).value)


def _why_not(decision: Decision) -> str:
    """What the rules lacked when they were asked last."""
    verdicts = decision.numbers.get("rules", {})
    told = {name: verdict["numbers"].get("rounds_missing") for name, verdict in verdicts.items()}
    short = {name: f"needs {more_rounds(rounds)}" for name, rounds in told.items() if rounds}
    if not short:
        return "does not hold before the end"
    if len(told) == 1:
        return next(iter(short.values()))
    return "does not hold before the end; " + "; ".join(f"{name} {lack}" for name, lack in short.items())


def stopping_points(history: Sequence[Outcome]) -> list[Outcome]:
    """The rounds at which the loop could have stopped: those after which it did not begin anew, and the last one."""
    last = len(history) - 1
    return [
        replace(outcome, restarted=False)
        for position, outcome in enumerate(history)
        if not outcome.restarted or position == last
    ]


def _prefixes(history: Sequence[Outcome]) -> Iterator[list[Outcome]]:
    last = len(history) - 1
    for position, outcome in enumerate(history):
        if not outcome.restarted or position == last:
            yield [*history[:position], replace(outcome, restarted=False)]


def utility(outcome: Outcome, value_per_point: float) -> float:
    """What stopping there is worth: points of held-out accuracy (or R²) by their value, less the money spent."""
    return value_per_point * 100 * outcome.accuracy - outcome.money


def best(history: Sequence[Outcome], value_per_point: float) -> Outcome:
    """The stopping point of the highest utility in hindsight; the earliest of equal ones."""
    return max(stopping_points(history), key=lambda outcome: utility(outcome, value_per_point))


def regret(history: Sequence[Outcome], stopped: Outcome, value_per_point: float) -> float:
    """Money that the best stopping point in hindsight is worth more than ``stopped``; 0 or more."""
    return utility(best(history, value_per_point), value_per_point) - utility(stopped, value_per_point)


def break_even_value(histories: Sequence[Sequence[Outcome]]) -> float | None:
    """The value of a percentage point at which the recorded loops, from first to last model, were just worth it.

    The money spent after the first models over the percentage points gained by it, all loops together: the least that
    those who ran them to the end can have thought a point to be worth. None where nothing was gained or spent.
    """
    ends = [(points[0], points[-1]) for points in map(stopping_points, histories)]
    spent = sum(last.money - first.money for first, last in ends)
    gained = 100 * sum(last.accuracy - first.accuracy for first, last in ends)
    # Less than rounding leaves is no gain, and would make the value infinite.
    return spent / gained if spent > 0 and gained > 1e-10 else None
