"""How a round's model is trained: what the configured policy wants, where there is a model to go on from."""

from tasks import registry
from tasks.policy.decision import Choice
from tasks.policy.situation import Situation


def choose(situation: Situation) -> Choice:
    """Ask policy.retrain; an attempt's first model, and the one after a training that diverged, is from scratch."""
    if not situation.attempt:
        return Choice("scratch", "the attempt's first model")
    if situation.attempt[-1].diverged:
        return Choice("scratch", f"training diverged in round {situation.attempt[-1].round:03d}")
    choice: Choice = registry.resolve(registry.RETRAINS, situation.config.policy.retrain)(situation)
    return choice
