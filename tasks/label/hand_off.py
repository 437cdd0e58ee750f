"""Where a round stands that waits for people, in words and as plain values."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tasks import registry
from tasks.clock import told
from tasks.config import Config
from tasks.datasets.store import load_task
from tasks.label.people import missing, stand
from tasks.label.settle import Progress
from tasks.rounds import Workspace


@dataclass(frozen=True)
class HandOff:
    """An open round."""

    round: int
    now: Progress
    #: How many answers each annotator has given.
    annotators: dict[str, int]
    #: What is missing, or that nothing is.
    missing: str
    closes: bool
    #: The server in which people answer; None: they do so in files.
    hub: str | None

    @property
    def waits_for(self) -> str:
        """What is awaited, from whom, and since when."""
        since = f"; open since {told(self.now.since)}" if self.now.since else ""
        until = f", closes at {told(self.now.deadline)} with what is there" if self.now.deadline else ""
        given = ", ".join(f"{name} {count}" for name, count in self.annotators.items())
        hub = f"; asked in {self.hub}, whose answers `frugal close` fetches" if self.hub else ""
        return f"{self.missing}{hub}{f'; answers so far: {given}' if given else ''}{since}{until}"

    @property
    def next(self) -> str:
        """The command to type."""
        return "frugal close" if self.closes or self.hub else "frugal close --answers FILE"

    def plain(self) -> dict[str, Any]:
        """As JSON has it; times are ISO 8601, in UTC."""
        now = self.now
        counts = {name: getattr(now, name) for name in ("asked", "labelled", "skipped", "disputed", "quorum")}
        times = {"since": now.since, "deadline": now.deadline}
        return {
            "round": self.round,
            **counts,
            "disputes": list(now.disputes),
            "answers": self.annotators,
            "hub": self.hub,
            **{name: None if time is None else time.isoformat() for name, time in times.items()},
            "closes": self.closes,
        }


def of_round(workspace: Workspace, round_: int, ids: list[str], config: Config) -> HandOff:
    """Where a round stands whose labels of ``ids`` are to be bought.

    Raises:
        AnswerError: a file of answers in its folder does not fit the tasks.
    """
    now, answers = stand(workspace, round_, ids, load_task(workspace), config)
    closes = now.closes(datetime.now(UTC))
    words = (
        f"`frugal close`: {now.settled} of {now.asked} tasks are answered"
        if closes
        else missing(workspace, round_, now)
    )
    labeler = config.label.labeler
    hub = labeler.replace("_", " ") if labeler in registry.HUBS else None
    return HandOff(round_, now, dict(Counter(answer.annotator for answer in answers)), words, closes, hub)
