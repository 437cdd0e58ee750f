"""The lines of the bill: what each stage of each round used, and whether that work counted in the end."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from tasks.cost import bill
from tasks.report.loop import Round

Fate = Literal["kept", "discarded", "aborted"]
FATES: tuple[Fate, ...] = ("kept", "discarded", "aborted")

#: In the order in which they are told.
CATEGORIES = tuple(field.name for field in fields(bill.Bill))
_COUNTS = ("labels", "record_epochs", "items_scored", "forward_passes")


@dataclass(frozen=True)
class Line:
    """What one stage of a round used for one category."""

    round: int
    category: str
    #: discarded: run again later on other inputs; aborted: of an attempt that was given up.
    fate: Fate
    money: float
    device_s: float
    wall_s: float
    counts: dict[str, int]


def lines(rounds: Sequence[Round]) -> list[Line]:
    """Every line of the bill, in the order of the rounds and stages."""
    return [line for round_ in rounds for line in _of_round(round_)]


def money(of: Iterable[Line]) -> float:
    """The sum of some lines, to the millionth, as cost.json has them."""
    return round(sum(line.money for line in of), 6)


def _of_round(round_: Round) -> Iterator[Line]:
    for stage, entry in round_.stages.items():
        for number, used in enumerate([entry["used"], *entry.get("discarded", [])]):
            fate: Fate = "aborted" if round_.aborted else "discarded" if number else "kept"
            yield from _of_stage(round_.number, stage, used, fate)


def _of_stage(number: int, stage: str, used: dict[str, Any], fate: Fate) -> Iterator[Line]:
    paid = asdict(bill.of_round({stage: {"used": used}}))
    category = bill.LINES[stage]
    device_s = sum(used["device_s"].values())
    counts = {name: used[name] for name in _COUNTS if used[name]}
    if "labels" in counts or paid["labels"]:
        yield Line(number, "labels", fate, paid["labels"], 0.0, 0.0, {"labels": counts.pop("labels", 0)})
    yield Line(number, category, fate, paid[category], device_s, used["wall_s"], counts)
