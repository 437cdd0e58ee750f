"""What policies see of a loop: nothing else has a say, so the same situation always gets the same answer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from tasks.config import Config
from tasks.cost.rates import Rates
from tasks.history import Outcome
from tasks.policy import curve as curves
from tasks.policy.curve import Curve
from tasks.task_type import headline
from tasks.task_type.headline import Headline


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
    #: Of a classification.
    classes: int = 2
    #: Labels of the next query where that is on record, as in a replay; None: policy.query_size is asked.
    next_size: int | None = None

    @cached_property
    def attempt(self) -> Sequence[Outcome]:
        """The rounds since the last restart; empty right after one."""
        last = self.history[-1] if self.history else None
        if last is None or last.restarted:
            return []
        return [outcome for outcome in self.history if outcome.attempt == last.attempt]

    @property
    def label_seconds(self) -> float:
        """That a label takes its annotator: the oracle's by its settings, people's by what was paid for it so far."""
        known, prices = self.config.label.known_seconds, self.config.prices
        if not self.config.label.by_people or not prices.annotator_second or not self.history:
            return known
        bought = [outcome.bought for outcome in self.history]
        batches = sum(now > before for before, now in pairwise([0, *bought]))
        paid = self.history[-1].money_labels - batches * prices.batch_fee
        each = paid / bought[-1] / self.config.answers_per_label if bought[-1] else math.nan
        # A curve from elsewhere may not tell what its labels cost.
        return max(each - prices.label, 0.0) / prices.annotator_second if math.isfinite(each) else known

    def metric(self, outcome: Outcome) -> float | None:
        """The accuracy, or R², that the policies go by (policy.metric), or None if it was not measured."""
        return outcome.accuracy if self.config.policy.on_held_out else outcome.validation_accuracy

    def metric_items(self, outcome: Outcome) -> int:
        """On how many items policy.metric was taken; 0 where nobody has written it down."""
        return self.held_out if self.config.policy.on_held_out else outcome.validation_items

    @cached_property
    def curve(self) -> list[tuple[int, float]]:
        """Labels and policy.metric of the attempt's rounds in which it was measured."""
        points = [(outcome.labels, self.metric(outcome)) for outcome in self.attempt]
        return [(labels, value) for labels, value in points if value is not None]

    @property
    def headline(self) -> Headline:
        """What kind of metric policy.metric is."""
        return headline.of(self.config.task)

    @cached_property
    def fitted(self) -> Curve:
        """The learning curve.

        Raises:
            ValueError: ``curve`` has too few points.
        """
        return curves.fit(self.curve, self.headline)
