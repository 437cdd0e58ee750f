"""All labels, from the weights of the round before."""

from tasks.policy.decision import Choice
from tasks.policy.retrain.settings import value
from tasks.policy.situation import Situation


def choose(situation: Situation) -> Choice:
    """A warm start; it may generalise worse than a model from scratch, which shrink_perturb mends.

    Source: Ash & Adams, On Warm-Starting Neural Network Training, NeurIPS 2020, section 2.
    """
    before = situation.attempt[-1].round
    return Choice(
        value(situation.config, "warm"), f"policy.retrain: all labels, from the weights of round {before:03d}"
    )
