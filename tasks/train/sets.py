"""The items at which a round's model is looked at after its training."""

from dataclasses import dataclass

import numpy as np

from tasks.cost.ledger import Usage
from tasks.datasets.store import Items
from tasks.errors import Diverged
from tasks.models.inputs import Inputs
from tasks.models.view import View
from tasks.train.examples import Examples
from tasks.train.members import Ensemble
from tasks.train.predictions import Prediction, Predictions
from tasks.train.repeats import Measures, Repeated


@dataclass(frozen=True)
class Sets:
    """Held-out, validation and stop set; every pass over them is counted."""

    held_out: Examples
    #: Empty where nothing is held back.
    validation: Examples
    #: Without labels: nobody asks for them. Empty where there is no stop set.
    stop: Items
    view: View
    usage: Usage

    def measure(self, ensemble: Ensemble) -> tuple[Measures, Predictions]:
        """How good an ensemble is on the held-out set, and the predictions that say so.

        Raises:
            Diverged: they are not finite.
        """
        scores = self._look(ensemble, self.held_out.items)
        return self.view.task.evaluate(scores, self.held_out.labels), scores

    def predict(self, repeated: Repeated) -> list[Prediction]:
        """What the kept ensemble says of all sets that are not empty; the held-out set is not looked at again.

        Raises:
            Diverged: it is not finite.
        """
        predictions = [Prediction("held_out", self.held_out.ids, repeated.scores)]
        for name, ids, items in (
            ("validation", self.validation.ids, self.validation.items),
            ("stop", self.stop.ids, self.stop.array),
        ):
            if len(items):
                predictions.append(Prediction(name, ids, self._look(repeated.ensemble, items)))
        return predictions

    def _look(self, ensemble: Ensemble, items: Inputs) -> Predictions:
        scores = ensemble.predict(items, self.view)
        self.usage.forward_passes += len(items) * len(ensemble.models)
        if not np.isfinite(scores).all():
            raise Diverged(
                "training diverged in its last steps: the model's outputs are not finite", ensemble.histories
            )
        return scores
