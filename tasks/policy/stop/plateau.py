"""A plateau: the last rounds gained too little, and not for want of data to see it by."""

import math
from collections.abc import Sequence
from statistics import NormalDist

from tasks.config_policy import PlateauRule
from tasks.history import Outcome
from tasks.policy import words
from tasks.policy.decision import Verdict
from tasks.policy.situation import Situation


def verdict(situation: Situation, settings: PlateauRule) -> Verdict:
    """Holds once the gain over the last ``patience`` rounds is below ``min_gain``, uncertainty included.

    That is gain + z·se < min_gain with z the one-sided normal quantile of ``confidence``. Successive models are
    evaluated on the same items, so each round's gain has the variance of a difference of matched proportions (Agresti
    & Min, Statistics in Medicine 24, 2005: half an observation is added to each of the four outcomes, so that few
    items never look certain); the rounds' gains are summed up as if independent. Where no pairs were recorded, the two
    ends are compared as independent proportions (Agresti & Caffo, The American Statistician 54, 2000). Nor are there
    pairs of a regression: the two ends, each an R², are compared as if they were taken on different items.
    """
    metric, patience = situation.config.policy.metric, settings.patience
    rounds = [outcome for outcome in situation.attempt if situation.metric(outcome) is not None]
    if (short := patience + 1 - len(rounds)) > 0:
        reason = f"{metric} over {words.rounds(patience)}: {words.more_rounds(short)} needed"
        return Verdict(False, reason, {"rounds_missing": short, "patience": patience})
    estimate = _paired(rounds[-patience:]) or _unpaired(situation, rounds[-patience - 1], rounds[-1])
    if estimate is None:
        reason = f"on how many items {metric} was taken is not known, so neither is how sure its gain is"
        return Verdict(False, reason, {"patience": patience})
    gain, error, paired = estimate
    bound = gain + NormalDist().inv_cdf(settings.confidence) * error
    reason = (
        f"{metric} gained {gain:+.4f} over {words.rounds(patience)}, at most {bound:+.4f} with confidence "
        f"{settings.confidence:g}; worth it from {settings.min_gain:g}"
    )
    numbers = {"gain": round(gain, 6), "standard_error": round(error, 6), "at_most": round(bound, 6), "paired": paired}
    return Verdict(bound < settings.min_gain, reason, {**numbers, "min_gain": settings.min_gain, "patience": patience})


def _paired(rounds: Sequence[Outcome]) -> tuple[float, float, bool] | None:
    """Gain and standard error from how many items each round got right and wrong anew."""
    gain, variance = 0.0, 0.0
    for measured in (outcome.measured for outcome in rounds):
        if not measured.compared or measured.gained is None or measured.lost is None:
            return None
        items, net = measured.compared, measured.gained - measured.lost
        gain += net / items
        variance += (measured.gained + measured.lost + 1 - net**2 / (items + 2)) / (items + 2) ** 2
    return gain, math.sqrt(variance), True


def _unpaired(situation: Situation, first: Outcome, last: Outcome) -> tuple[float, float, bool] | None:
    """Gain and standard error from the values at both ends."""
    ends = [(situation.metric(outcome), _items(situation, outcome)) for outcome in (first, last)]
    known = [(value, items) for value, items in ends if value is not None and items]
    if len(known) < len(ends):
        return None
    variance = math.fsum(situation.headline.variance(value, items) for value, items in known)
    return known[1][0] - known[0][0], math.sqrt(variance), False


def _items(situation: Situation, outcome: Outcome) -> int | None:
    """On how many items policy.metric was taken; of a validation set those that were compared, where any can be."""
    if situation.config.policy.on_held_out:
        return situation.held_out
    return outcome.measured.compared if situation.headline.share else outcome.validation_items
