"""What it costs to go on by one round, as the policies would do it now."""

from dataclasses import replace

from tasks.cost import forecast
from tasks.cost.forecast import Price, Work
from tasks.policy.retrain import choice as retrain
from tasks.policy.situation import Situation


def price(situation: Situation, query_size: int) -> Price | None:
    """The forecast price of ``work``, or None where nobody knows how long a unit of compute takes."""
    if situation.rates is None:
        return None
    return forecast.price(work(situation, query_size), situation.config, situation.rates)


def work(situation: Situation, query_size: int) -> Work:
    """What is used until the loop stands again where it stands now, with ``query_size`` more labels.

    That is SELECT, LABEL and TRAIN of the next round and one INFER: before a round its own, unless it is the last one;
    after a training the one that is only run if the loop goes on. The next model is trained as policy.retrain would
    have it now; candidates are as many as configured.
    """
    config, attempt = situation.config, situation.attempt
    before = attempt[-1].labels if attempt else 0
    due = bool(attempt) and "infer" not in attempt[-1].stage_seconds
    needed = forecast.work(
        config,
        before=before,
        query_size=query_size,
        pool=before + situation.unlabeled,
        held_out=situation.held_out,
        retrain=retrain.choose(situation).value,
        scored=not due and not is_last(situation, query_size),
        stop_set=min(config.policy.stop_set, situation.pool) if config.policy.needs_stop_set() else 0,
    )
    if not due:
        return needed
    now = forecast.scoring(config, situation.unlabeled, first=len(attempt) == 1)
    why = needed.why + now.why
    return replace(needed, items_scored=now.items, infer_passes=now.passes, exact=not why, why=why, stages=4)


def is_last(situation: Situation, query_size: int) -> bool:
    """Whether the loop ends with the next round, whatever comes of it."""
    loop = situation.config.loop
    bought = situation.history[-1].bought if situation.history else 0
    return (
        len(situation.attempt) + 1 >= loop.rounds
        or query_size >= situation.unlabeled
        or (loop.max_labels is not None and bought + query_size >= loop.max_labels)
    )
