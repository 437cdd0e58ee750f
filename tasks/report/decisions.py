"""What the policies chose and decided, told without repetition."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from tasks.report.loop import Round


@dataclass(frozen=True)
class Chosen:
    """One choice, the same over several rounds that follow each other."""

    name: str
    first: int
    last: int
    value: Any
    reason: str
    numbers: dict[str, Any]


@dataclass(frozen=True)
class Decided:
    """What was decided after a round, and what each rule said."""

    round: int
    aborted: bool
    action: str
    policy: str
    reason: str
    numbers: dict[str, Any]
    #: By dotted name: holds, reason, numbers.
    rules: dict[str, dict[str, Any]]
    #: How the model differs from the one before; only what was measured.
    measured: dict[str, Any]


def choices(rounds: Sequence[Round]) -> list[list[Chosen]]:
    """By name, each choice's runs of rounds with the same value, reason and numbers."""
    names = dict.fromkeys(name for round_ in rounds for name in round_.plan)
    return [list(_runs(name, rounds)) for name in names]


def _runs(name: str, rounds: Sequence[Round]) -> Iterator[Chosen]:
    made = [(round_.number, round_.plan[name]) for round_ in rounds if name in round_.plan]
    for _, group in groupby(made, key=lambda item: item[1]):
        run = list(group)
        choice = run[0][1]
        yield Chosen(
            name, run[0][0], run[-1][0], choice["value"], choice.get("reason", ""), choice.get("numbers") or {}
        )


def decided(rounds: Sequence[Round]) -> list[Decided]:
    """What was decided after each round, in order."""
    return [_decided(round_, round_.decision) for round_ in rounds if round_.decision is not None]


def _decided(round_: Round, made: dict[str, Any]) -> Decided:
    numbers = dict(made.get("numbers") or {})
    rules = numbers.pop("rules", {})
    measured = {name: value for name, value in (made.get("measured") or {}).items() if value is not None}
    return Decided(
        round_.number, round_.aborted, made["action"], made["policy"], made["reason"], numbers, rules, measured
    )
