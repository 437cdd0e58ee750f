"""The query size of a round: what the configured policy wants, cut to what there is."""

from dataclasses import replace

from tasks import registry
from tasks.policy.decision import Choice
from tasks.policy.situation import Situation


def choose(situation: Situation) -> Choice:
    """Ask policy.query_size, and cut its answer to the labels still allowed and left; what is on record stands."""
    if situation.next_size is not None:
        return Choice(situation.next_size, "as recorded")
    return cut(wanted(situation), situation)


def wanted(situation: Situation) -> Choice:
    """What policy.query_size asks for, whatever there is."""
    choice: Choice = registry.resolve(registry.QUERY_SIZES, situation.config.policy.query_size)(situation)
    return choice


def cut(choice: Choice, situation: Situation) -> Choice:
    """A query of at least one item and at most what loop.max_labels and the pool leave."""
    loop = situation.config.loop
    if loop.max_labels is not None and (left := loop.max_labels - bought(situation)) < choice.value:
        choice = replace(choice, value=left, reason=f"what is left of loop.max_labels ({loop.max_labels})")
    if situation.unlabeled < choice.value:
        choice = replace(choice, value=situation.unlabeled, reason="all that is left of the pool")
    return choice


def bought(situation: Situation) -> int:
    """Labels paid for so far, in all attempts."""
    return situation.history[-1].bought if situation.history else 0
