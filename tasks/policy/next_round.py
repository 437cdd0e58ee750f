"""What it costs to go on by one round, as the policies would do it now."""

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.cost import forecast
from tasks.cost.forecast import Price, Work
from tasks.policy import target
from tasks.policy.retrain import choice as retrain
from tasks.policy.scope.adaptive import sized
from tasks.policy.situation import Situation


def price(situation: Situation, query_size: int) -> Price | None:
    """The forecast price of ``work``, or None where nobody knows how long a unit of compute takes."""
    if situation.rates is None:
        return None
    return forecast.price(work(situation, query_size), situation.config, situation.rates, situation.label_seconds)


def reserved(situation: Situation, query_size: int) -> Price | None:
    """The same with that of ``targets``: what has to be left for the loop to go on and end."""
    if situation.rates is None:
        return None
    used = work(situation, query_size) + targets(situation, query_size)
    return forecast.price(used, situation.config, situation.rates, situation.label_seconds)


def labels_price(situation: Situation, query_size: int) -> float:
    """The same of the labels alone."""
    return forecast.labels_price(query_size, situation.config, situation.label_seconds)


def work(situation: Situation, query_size: int) -> Work:
    """What is used until the loop stands again where it stands now, with ``query_size`` more labels.

    That is SELECT, LABEL and TRAIN of the next round and one INFER: before a round its own, unless it is the last one;
    after a training the one that is only run if the loop goes on. The next model is trained as policy.retrain would
    have it now; candidates are as many as in the last round's plan, or as configured.
    """
    if is_due(situation) or is_last(situation, query_size):
        return least(situation, query_size)
    return _round(situation, query_size, scored=True)


def least(situation: Situation, query_size: int) -> Work:
    """What is used until the loop can stop again: the INFER that is due, and the next round up to its training."""
    return due(situation) + _round(situation, query_size, scored=False)


def due(situation: Situation) -> Work:
    """The INFER that is run before the next round if the loop goes on; nothing where that has been done."""
    if not is_due(situation):
        return Work(0, 0, 0, 0, 0, exact=True, stages=0)
    first = len(situation.attempt) == 1
    labeled = situation.attempt[-1].labels if situation.attempt else 0
    scored = forecast.scoring(
        situation.config, situation.unlabeled, first, None if first else scopes(situation), labeled
    )
    return Work(0, 0, 0, scored.items, scored.passes, exact=not scored.why, why=scored.why, stages=1)


def targets(situation: Situation, query_size: int) -> Work:
    """What TARGET uses besides until the loop can stop again, with ``query_size`` more labels.

    That of the last round, where it is due whatever is decided and still to come, and that of the next one, as if the
    loop ended with it; nothing where no proxy selects.
    """
    none, config = Work(0, 0, 0, 0, 0, exact=True, stages=0), situation.config
    if config.proxy is None:
        return none
    labels = [outcome.labels for outcome in situation.attempt]
    now = labels[-1] if labels else 0
    used = none
    if is_due(situation) and target.due(config.proxy.target, labels, "continue").value:
        used += forecast.targeted(config, now, situation.unlabeled, situation.held_out)
    if target.due(config.proxy.target, [*labels, now + query_size], "stop").value:
        left = max(situation.unlabeled - query_size, 0)
        used += forecast.targeted(config, now + query_size, left, situation.held_out)
    return used


def is_due(situation: Situation) -> bool:
    """Whether the last round of the attempt was trained, and its INFER is still to come."""
    return bool(situation.attempt) and "infer" not in situation.attempt[-1].stage_seconds


def scopes(situation: Situation) -> Sequence[Mapping[str, Any]] | None:
    """What INFER scores, with as many candidates as in the last plan where policy.scope has a say; None: by infer."""
    last = situation.attempt[-1].candidates if situation.attempt else None
    configured = forecast.configured_scope(situation.config, first=False)
    if situation.config.policy.scope == "fixed" or last is None or isinstance(configured, str):
        return None
    return sized(configured, last)


def is_last(situation: Situation, query_size: int) -> bool:
    """Whether the loop ends with the next round, whatever comes of it."""
    loop = situation.config.loop
    bought = situation.history[-1].bought if situation.history else 0
    return (
        len(situation.attempt) + 1 >= loop.rounds
        or query_size >= situation.unlabeled
        or (loop.max_labels is not None and bought + query_size >= loop.max_labels)
    )


def _round(situation: Situation, query_size: int, scored: bool) -> Work:
    config, attempt = situation.config, situation.attempt
    before = attempt[-1].labels if attempt else 0
    return forecast.work(
        config,
        before=before,
        query_size=query_size,
        pool=before + situation.unlabeled,
        held_out=situation.held_out,
        retrain=retrain.choose(situation).value,
        scope=scopes(situation),
        scored=scored,
        stop_set=min(config.policy.stop_set, situation.pool) if config.policy.needs_stop_set() else 0,
    )
