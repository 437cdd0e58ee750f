"""All labels, from the weights of the round before, shrunk and mixed with newly drawn ones."""

from tasks.policy.decision import Choice
from tasks.policy.retrain.settings import value
from tasks.policy.situation import Situation


def choose(situation: Situation) -> Choice:
    """Shrink and perturb: most of a warm start's savings, hardly any of its loss of accuracy.

    Source: Ash & Adams, On Warm-Starting Neural Network Training, NeurIPS 2020, section 4.
    """
    chosen = value(situation.config, "shrink_perturb")
    before, shrink, perturb = situation.attempt[-1].round, chosen["shrink"], chosen["perturb"]
    return Choice(
        chosen,
        f"policy.retrain: all labels, from {shrink:g} of the weights of round {before:03d} and {perturb:g} of new ones",
        {"shrink": shrink, "perturb": perturb},
    )
