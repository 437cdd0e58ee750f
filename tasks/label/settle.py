"""What several annotators' answers to one item come to, and when a round has enough of them to close."""

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from tasks.clock import moment
from tasks.config import LabelConfig
from tasks.label.labels import Answer
from tasks.task_type import TaskType
from tasks.task_type.regression import Regression

#: labelled, set aside as nobody could label it, waiting for more answers, or waiting as annotators disagree.
State = Literal["labelled", "skipped", "open", "disputed"]


@dataclass(frozen=True)
class Settled:
    """Where one item stands."""

    id: str
    state: State
    label: int | float | None = None
    #: All answers to it, in the order in which they came.
    answers: tuple[Answer, ...] = ()

    @property
    def adopted(self) -> list[Answer]:
        """The answers whose label it got; where that is a median, all that gave one."""
        given = [answer for answer in self.answers if not answer.skipped]
        return [answer for answer in given if answer.label == self.label] or given


def settle(ids: Sequence[str], answers: Iterable[Answer], task: TaskType, config: LabelConfig) -> list[Settled]:
    """Where each of ``ids`` stands, in their order; answers to other items are left out."""
    each: dict[str, list[Answer]] = {id_: [] for id_ in ids}
    for answer in answers:
        if answer.id in each:
            each[answer.id].append(answer)
    return [_item(id_, tuple(found), task, config) for id_, found in each.items()]


def _item(id_: str, answers: tuple[Answer, ...], task: TaskType, config: LabelConfig) -> Settled:
    if config.rule == "first":
        return _first(id_, answers, config.annotators)
    if len(answers) < config.annotators:
        return Settled(id_, "open", answers=answers)
    if isinstance(task, Regression):
        return _median(id_, answers)
    return _vote(id_, answers, config.agreement if config.rule == "agreement" else 0.0)


def _first(id_: str, answers: tuple[Answer, ...], annotators: int) -> Settled:
    """The earliest label counts, whatever others say later."""
    given = [answer for answer in answers if not answer.skipped]
    if given:
        return Settled(id_, "labelled", min(given, key=_when).label, answers)
    return Settled(id_, "skipped" if len(answers) >= annotators else "open", answers=answers)


def _when(answer: Answer) -> datetime:
    # Among equals, and without a time, the order in which they came decides.
    return moment(answer.labeled_at) if answer.labeled_at else datetime.max.replace(tzinfo=UTC)


def _median(id_: str, answers: tuple[Answer, ...]) -> Settled:
    given = [answer.label for answer in answers if answer.label is not None]
    if 2 * len(given) < len(answers):
        return Settled(id_, "skipped", answers=answers)
    return Settled(id_, "labelled", float(statistics.median(given)), answers)


def _vote(id_: str, answers: tuple[Answer, ...], least: float) -> Settled:
    """The answer that most have given, skipping being one; with none, or too few of it, people disagree."""
    ranked = Counter(answer.label for answer in answers).most_common(2)
    label, votes = ranked[0]
    if (len(ranked) > 1 and ranked[1][1] == votes) or votes < least * len(answers):
        return Settled(id_, "disputed", answers=answers)
    return Settled(id_, "skipped" if label is None else "labelled", label, answers)


@dataclass(frozen=True)
class Progress:
    """How far a round's answers have come."""

    asked: int
    labelled: int
    skipped: int
    #: The ids that lack answers.
    open: tuple[str, ...]
    #: The ids on which annotators disagree.
    disputes: tuple[str, ...]
    #: When the round was opened; None: its bill does not say.
    since: datetime | None
    deadline: datetime | None
    #: How many of the asked have to be labelled or skipped.
    quorum: int
    #: Selected items whose labels are known already.
    known: int
    #: Items that were labelled before the round.
    before: int = 0

    @property
    def disputed(self) -> int:
        """Tasks that need one more answer, or another one."""
        return len(self.disputes)

    @property
    def settled(self) -> int:
        """Tasks that need no more answers."""
        return self.labelled + self.skipped

    def closes(self, now: datetime) -> bool:
        """Whether the round may close: enough is settled, or its time is over, and there is a label to learn from.

        Where nobody can label any of the tasks, those of earlier rounds will do.
        """
        late = self.deadline is not None and now >= self.deadline
        return ((self.settled >= self.quorum or late) and self.labelled + self.known > 0) or self._in_vain

    @property
    def _in_vain(self) -> bool:
        return self.skipped == self.asked and self.before > 0


def progress(
    items: Sequence[Settled], since: datetime | None, known: int, config: LabelConfig, before: int = 0
) -> Progress:
    """How far a round has come that asks for ``items`` and was opened at ``since``."""
    states = Counter(item.state for item in items)
    deadline = None if since is None or config.deadline is None else since + timedelta(hours=config.deadline)
    # 0.07 of 100 is computed as a little more than 7, and 7 answers are enough.
    quorum = math.ceil(round(config.quorum * len(items), 9))
    return Progress(
        asked=len(items),
        labelled=states["labelled"],
        skipped=states["skipped"],
        open=tuple(item.id for item in items if item.state == "open"),
        disputes=tuple(item.id for item in items if item.state == "disputed"),
        since=since,
        deadline=deadline,
        quorum=max(quorum, 1),
        known=known,
        before=before,
    )
