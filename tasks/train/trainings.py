"""All trainings of a round: the members of an ensemble, and its repeats."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

from tasks.config_train import TrainConfig
from tasks.cost.ledger import Usage
from tasks.models.view import View
from tasks.train.examples import Examples
from tasks.train.fit import History, fit, untrained
from tasks.train.members import Ensemble, fit_members
from tasks.train.replay import Replay
from tasks.train.start import Start


@dataclass
class Trainings:
    """Each from a seed of its own; what they use is counted as it is spent, so also where one diverges."""

    start: Start
    #: Draws the weights of a new model.
    fresh: Callable[[], nn.Module]
    train: Examples
    validation: Examples
    #: Which of ``train`` an epoch meets; None: all.
    replay: Replay | None
    settings: TrainConfig
    view: View
    #: From the number of a training, from 0, to its seed.
    seed: Callable[[int], int]
    usage: Usage
    #: Trainings so far, the present one included.
    begun: int = 0

    def ensemble(self, repeat: int) -> Ensemble:
        """Train the members of one repeat.

        Raises:
            Diverged: one of them did.
        """
        return fit_members(partial(self._fit, repeat), self.settings.members)

    def beginning(self) -> tuple[nn.Module, ...]:
        """The models with which the members of the latest repeat began."""
        repeat = (self.begun - 1) // self.settings.members
        return tuple(
            untrained(self._build(member), self.view, self._seed(repeat, member))
            for member in range(self.settings.members)
        )

    @property
    def epochs(self) -> int | float:
        """Of one training; where there are several, each may stop early, so it is their mean."""
        records = len(self.train) if self.replay is None else len(self.replay)
        epochs = self.usage.record_epochs // records
        return epochs if self.begun == 1 else epochs / self.begun

    def _fit(self, repeat: int, member: int) -> tuple[nn.Module, History]:
        self.begun += 1
        return fit(
            self._build(member),
            self.train,
            self.validation,
            self.settings,
            self.view,
            self._seed(repeat, member),
            self.replay,
            self.usage,
        )

    def _build(self, member: int) -> Callable[[], nn.Module]:
        return partial(self.start.build, self.fresh, member)

    def _seed(self, repeat: int, member: int) -> int:
        return self.seed(repeat * self.settings.members + member)
