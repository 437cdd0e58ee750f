"""From scratch until successive models agree, then by another mode; back when they no longer do."""

from collections.abc import Iterable
from dataclasses import replace

from tasks import registry
from tasks.config_policy import AutoRetrainConfig
from tasks.policy.decision import Choice
from tasks.policy.situation import Situation


def choose(situation: Situation) -> Choice:
    """policy.auto.then while the attempt's models are stable, else scratch.

    The criterion is ours; its measure, the agreement of successive models on a stop set, is that by which Bloodgood &
    Vijay-Shanker (CoNLL 2009) stop. Models that were trained one from the other agree more than such from scratch, so
    once resumed, only a clear disagreement (policy.auto.back) says that something has changed.
    """
    settings = situation.config.policy.auto
    kappas = [outcome.measured.kappa for outcome in situation.attempt]
    last = kappas[-1]
    if last is None:
        return Choice("scratch", "policy.auto: no two successive models have been compared on the stop set yet")
    holds = stable(kappas, settings)
    numbers = {"kappa": last, "stable_from": settings.kappa, "unstable_below": settings.back}
    if not holds:
        return Choice("scratch", f"policy.auto: not stable: {_compared(kappas, last, settings)}", numbers)
    chosen: Choice = registry.resolve(registry.RETRAINS, settings.then)(situation)
    reason = f"policy.auto: stable: {_compared(kappas, last, settings)}; {chosen.reason}"
    return replace(chosen, reason=reason, numbers={**numbers, **chosen.numbers})


def stable(kappas: Iterable[float | None], settings: AutoRetrainConfig) -> bool:
    """Whether the models are stable after rounds with these agreements, each with the model before.

    They become so at an agreement of at least ``kappa``, and remain so as long as it is at least ``back``; where it was
    not measured they are not.
    """
    state = False
    for kappa in kappas:
        state = kappa is not None and kappa >= (settings.back if state else settings.kappa)
    return state


def _compared(kappas: list[float | None], last: float, settings: AutoRetrainConfig) -> str:
    """The last agreement beside the bound that it was held against."""
    bound = settings.back if stable(kappas[:-1], settings) else settings.kappa
    return f"kappa {last:.4f}, {'at least' if last >= bound else 'below'} {bound:g}"
