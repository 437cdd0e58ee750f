"""The bill of a whole loop before it is begun: its policies are asked round by round, as the loop would ask them."""

from collections.abc import Iterator
from dataclasses import dataclass

from tasks.config import Config
from tasks.cost import forecast
from tasks.cost.forecast import Work
from tasks.policy import ahead, target
from tasks.policy.query_size import choice as query_size
from tasks.policy.retrain import choice as retrain
from tasks.policy.situation import Situation
from tasks.policy.stop import bounds

#: Policies that go by what the models will turn out to know, and what is taken instead of them.
_UNKNOWN_SIZE = "policy.query_size: cost_optimal goes by the learning curve; as if every round bought loop.query_size"
_UNKNOWN_MODE = "policy.retrain: auto goes by how stable the models are; as if all were trained from scratch"
_UNKNOWN_SCOPE = "policy.scope: adaptive goes by measured recall; as if infer.candidates stayed as they are"
_UNKNOWN_END = "policy.stop may end the loop earlier, so at most"
_UNKNOWN_STARTS = "policy.false_start may begin the loop anew; as if it did not"


@dataclass(frozen=True)
class Planned:
    """One round of a loop that has not been run."""

    round: int
    #: Labelled items after it.
    labels: int
    work: Work


def rounds(config: Config, pool: int, held_out: int) -> list[Planned]:
    """Every round of the loop, if nothing but loop.rounds, loop.max_labels and the pool ends it.

    Exact wherever each round's ``work`` is and ``notes`` are empty.

    Args:
        pool: items of the pool.
        held_out: items of the held-out set.
    """
    return list(_rounds(_knowable(config), pool, held_out))


def notes(config: Config) -> list[str]:
    """What cannot be known of the loop beforehand, and what is forecast instead."""
    policy = config.policy
    unknown = {
        _UNKNOWN_SIZE: policy.query_size == "cost_optimal",
        _UNKNOWN_MODE: policy.retrain == "auto",
        _UNKNOWN_SCOPE: policy.scope == "adaptive",
        _UNKNOWN_END: bool(policy.stop.names()),
        _UNKNOWN_STARTS: policy.false_start is not None,
    }
    return [note for note, holds in unknown.items() if holds]


def _knowable(config: Config) -> Config:
    """The configuration with what is taken instead of the policies that cannot be asked beforehand."""
    policy = config.policy
    known = {
        "query_size": "fixed" if policy.query_size == "cost_optimal" else policy.query_size,
        "retrain": "scratch" if policy.retrain == "auto" else policy.retrain,
    }
    return config.model_copy(update={"policy": policy.model_copy(update=known)})


def _rounds(config: Config, pool: int, held_out: int) -> Iterator[Planned]:
    stop_set = min(config.policy.stop_set, pool) if config.policy.needs_stop_set() else 0
    now = Situation([], config, pool, pool, held_out)
    while True:
        size, before = int(query_size.choose(now).value), pool - now.unlabeled
        then = ahead.after(now, size)
        ended = bounds.reached(then) is not None
        work = forecast.work(
            config,
            before=before,
            query_size=size,
            pool=pool,
            held_out=held_out,
            retrain=retrain.choose(now).value,
            scored=not ended,
            stop_set=stop_set,
            target=_trains_target(config, then, ended),
        )
        yield Planned(len(now.history), before + size, work)
        if ended:
            return
        now = then


def _trains_target(config: Config, then: Situation, ended: bool) -> bool:
    if config.proxy is None:
        return False
    labels = [outcome.labels for outcome in then.attempt]
    return bool(target.due(config.proxy.target, labels, "stop" if ended else "continue").value)
