"""Where other loop sizes would have landed on a recorded curve.

Only the label counts can be replayed: the accuracy between two recorded ones is interpolated, as if it depended on the
number of labels alone and not on how many rounds chose them. So it says what fewer rounds save, and not what the
coarser choice costs.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np

from tasks.cost import forecast
from tasks.cost.forecast import Work
from tasks.history import Outcome
from tasks.policy.query_size import choice as query_size
from tasks.policy.retrain import choice as retrain
from tasks.policy.situation import Situation
from tasks.replay.recording import Recording
from tasks.task_type.headline import Headline

#: Query sizes that need neither prices nor a target.
POLICIES = ("schedule", "geometric")
#: To query sizes a round is no more than its labels.
_BLANK = Outcome(0, 0, math.nan, math.nan, math.nan, math.nan, math.nan, math.nan, math.nan, 0, 0)
_NOTE = (
    "loop sizes: only the label counts are replayed; {} between two recorded ones is interpolated, as if it "
    "depended on the number of labels alone"
)


def note(of: Headline) -> str:
    """What a reader of sizes has to know."""
    return _NOTE.format(of.title)


@dataclass(frozen=True)
class Size:
    """One round that a query size would have made."""

    run: str
    query_size: str
    round: int
    labels: int
    #: On the recorded curve; null before its first round.
    accuracy: float | None
    #: Whether the curve has no round with just these labels.
    interpolated: bool
    #: Forecast for all rounds so far; null where the loop's configuration is not known, and money without rates.
    record_epochs: int | None
    money: float | None


def landings(recording: Recording, policy: str) -> list[Size]:
    """The rounds that ``policy`` would have made up to the last attempt's last label.

    None where the policy needs the size of the pool, and nobody has written it down.
    """
    if policy == "schedule" and recording.pool is None:
        return []
    curve = [outcome for outcome in recording.history if outcome.attempt == recording.history[-1].attempt]
    labels = [outcome.labels for outcome in curve]
    works = list(_works(recording, policy, labels[-1]))
    counts = list(accumulate(work.labels for work in works))
    epochs = list(accumulate(work.record_epochs for work in works))
    money = _money(recording, works)
    return [
        Size(
            run=recording.name,
            query_size=policy,
            round=number,
            labels=count,
            accuracy=_accuracy(curve, count),
            interpolated=count not in labels,
            record_epochs=None if recording.pool is None else epochs[number],
            money=money[number],
        )
        for number, count in enumerate(counts)
    ]


def _works(recording: Recording, policy: str, most: int) -> Iterator[Work]:
    """What the rounds would have used, up to ``most`` labels."""
    settings = recording.config.policy.model_copy(update={"query_size": policy})
    loop = recording.config.loop.model_copy(update={"max_labels": most})
    config = recording.config.model_copy(update={"policy": settings, "loop": loop})
    past: list[Outcome] = []
    labels = 0
    while labels < most:
        situation = Situation(past, config, recording.items, recording.items - labels, recording.held_out)
        bought = query_size.choose(situation).value
        yield forecast.work(
            config,
            before=labels,
            query_size=bought,
            pool=recording.items,
            held_out=recording.held_out,
            retrain=retrain.choose(situation).value,
            scored=labels + bought < most,
        )
        labels += bought
        past.append(replace(_BLANK, round=len(past), labels=labels, bought=labels))


def _money(recording: Recording, works: Sequence[Work]) -> list[float | None]:
    if recording.pool is None or recording.rates is None:
        return [None] * len(works)
    prices = [forecast.price(work, recording.config, recording.rates).money for work in works]
    return [round(money, 6) for money in accumulate(prices)]


def _accuracy(curve: Sequence[Outcome], labels: int) -> float | None:
    if labels < curve[0].labels:
        return None
    at = np.interp(labels, [outcome.labels for outcome in curve], [outcome.accuracy for outcome in curve])
    return round(float(at), 6)
