"""What policies see of a loop: nothing else has a say, so the same situation always gets the same answer."""

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.config import Config
from tasks.cost.rates import Rates
from tasks.history import Outcome


@dataclass(frozen=True)
class Situation:
    """A loop between two rounds."""

    #: The trained rounds so far, of all attempts, in order.
    history: Sequence[Outcome]
    config: Config
    #: Items of the whole pool, of which there were none labelled at first.
    pool: int
    #: Items without a label in the present attempt.
    unlabeled: int
    #: Items of the held-out set, on which every model is evaluated.
    held_out: int
    #: What a unit of compute takes; None where nobody has measured it.
    rates: Rates | None = None
    classes: int = 2

    @property
    def attempt(self) -> Sequence[Outcome]:
        """The rounds since the last restart; empty right after one."""
        last = self.history[-1] if self.history else None
        if last is None or last.restarted:
            return []
        return [outcome for outcome in self.history if outcome.attempt == last.attempt]

    def metric(self, outcome: Outcome) -> float | None:
        """The accuracy that the policies go by (policy.metric), or None if it was not measured."""
        return outcome.accuracy if self.config.policy.metric == "accuracy" else outcome.validation_accuracy

    @property
    def curve(self) -> list[tuple[int, float]]:
        """Labels and policy.metric of the attempt's rounds in which it was measured."""
        points = [(outcome.labels, self.metric(outcome)) for outcome in self.attempt]
        return [(labels, value) for labels, value in points if value is not None]
