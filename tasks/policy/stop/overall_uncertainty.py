"""Overall uncertainty: the model is sure of what it has not seen."""

from tasks.config_policy import OverallUncertaintyRule
from tasks.policy.decision import Verdict
from tasks.policy.situation import Situation
from tasks.policy.words import more_rounds, rounds


def verdict(situation: Situation, settings: OverallUncertaintyRule) -> Verdict:
    """Holds once the mean uncertainty on the stop set is below ``below`` in each of the last ``patience`` rounds.

    Source: Zhu, Wang & Hovy, Multi-Criteria-Based Strategy to Stop Active Learning for Data Annotation, COLING 2008;
    there the mean runs over the whole unlabelled pool, and entropy is not divided by its highest value.
    """
    patience = settings.patience
    values = [outcome.measured.uncertainty for outcome in situation.attempt[-patience:]]
    known = [value for value in values if value is not None]
    if short := patience - len(known):
        reason = f"uncertainty on the stop set in {rounds(patience)}: {more_rounds(short)} needed"
        return Verdict(False, reason, {"rounds_missing": short, "patience": patience})
    highest = max(known)
    over = "" if patience == 1 else f", the highest of {patience} rounds"
    reason = f"mean uncertainty {highest:.4f}{over}; sure enough below {settings.below:g}"
    numbers = {"uncertainty": round(highest, 6), "below": settings.below, "patience": patience}
    return Verdict(highest < settings.below, reason, numbers)
