"""Stabilising predictions: successive models say the same of the stop set."""

from tasks.config_policy import StablePredictionsRule
from tasks.policy.decision import Verdict
from tasks.policy.situation import Situation
from tasks.policy.words import more_rounds


def verdict(situation: Situation, settings: StablePredictionsRule) -> Verdict:
    """Holds once the mean kappa of the last ``patience`` pairs of successive models is at least ``kappa``.

    Source: Bloodgood & Vijay-Shanker, A Method for Stopping Active Learning Based on Stabilizing Predictions, CoNLL
    2009. The numbers name what two models of a binary task whose kappa exceeds T > 0 can differ by in F-measure at
    most, 4(1 - T)/T (Bloodgood & Grothendieck, CoNLL 2013), at T = the mean kappa.
    """
    patience = settings.patience
    # The first model of an attempt has none before it.
    pairs = [outcome.measured.kappa for outcome in situation.attempt[1:]]
    known = [kappa for kappa in pairs[-patience:] if kappa is not None]
    if short := patience - len(known):
        reason = f"agreement of {_pairs(patience)} of successive models on the stop set: {more_rounds(short)} needed"
        return Verdict(False, reason, {"rounds_missing": short, "patience": patience})
    mean = sum(known) / patience
    bound = f_bound(mean)
    reason = f"mean kappa {mean:.4f} of {_pairs(patience)} of successive models, stable from {settings.kappa:g}"
    numbers = {
        "kappa": round(mean, 6),
        "wanted": settings.kappa,
        "patience": patience,
        "f_bound": None if bound is None else round(bound, 6),
    }
    return Verdict(mean >= settings.kappa, reason, numbers)


def _pairs(count: int) -> str:
    return f"{count} pair" if count == 1 else f"{count} pairs"


def f_bound(kappa: float) -> float | None:
    """What F-measures of two models that agree so much differ by at most; None where that is 1, so says nothing."""
    return 4 * (1 - kappa) / kappa if kappa > 0.8 else None
