"""The new labels and a share of the older ones, from the weights of the round before."""

from tasks.policy.decision import Choice
from tasks.policy.retrain.settings import value
from tasks.policy.situation import Situation


def choose(situation: Situation) -> Choice:
    """Go on with the round's new labels, and policy.resume.replay of the older ones against forgetting.

    Source: the fourth lever of Alectio's article on the costs of active learning (2022), which has no replay: L rounds
    of B labels then take B·L records an epoch, instead of B·L(L+1)/2.
    """
    chosen = value(situation.config, "resume")
    before, replay = situation.attempt[-1].round, chosen["replay"]
    return Choice(
        chosen,
        f"policy.retrain: the new labels and {replay:.0%} of the older ones, from the weights of round {before:03d}",
        {"replay": replay},
    )
