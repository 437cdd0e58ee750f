"""The same labels bought otherwise: loop sizes, retrain modes and scopes side by side."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tasks import config as configs
from tasks.config import Config
from tasks.config_policy import StopConfig
from tasks.cost.rates import Rates
from tasks.forecast import plan as plans
from tasks.forecast.plan import Plan
from tasks.forecast.sizes import Sizes

#: Query sizes that are compared, as multiples of loop.query_size.
_MULTIPLES = (0.5, 1, 2, 4)
_MODES = ("scratch", "warm", "resume", "shrink_perturb")
#: Share of the unlabelled items that the candidates of the comparison are.
_CANDIDATES = 0.1


@dataclass(frozen=True)
class Alternative:
    """One way to buy the labels of a plan."""

    #: What differs from the configuration: loop size, retrain or scope.
    lever: str
    name: str
    plan: Plan

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        total = self.plan.total.plain()
        return {"lever": self.lever, "name": self.name, "rounds": len(self.plan.rounds), **total}


def alternatives(config: Config, sizes: Sizes, rates: Rates) -> list[Alternative]:
    """The plans of a configuration with one lever changed at a time, with as many labels in the end.

    All are priced at the configuration's own rates. What the model would have learnt by them is not compared.
    """
    labels = plans.plan(config, sizes, rates).total.labels
    ways = [*_loop_sizes(config, labels), *_retrains(config), *_scopes(config)]
    return [Alternative(lever, name, plans.plan(changed, sizes, rates)) for lever, name, changed in ways]


def _loop_sizes(config: Config, labels: int) -> Iterator[tuple[str, str, Config]]:
    initial = config.loop.initial
    if config.policy.query_size != "fixed":
        yield "loop size", f"as configured ({config.policy.query_size})", config
    for size in _sizes(config.loop.query_size, labels - initial):
        rounds = 1 + math.ceil((labels - initial) / size)
        loop = {"rounds": rounds, "query_size": size, "max_labels": labels}
        yield "loop size", f"{size:,} a round", _fixed(config, loop)
    one_shot = {"rounds": 1, "initial": labels, "max_labels": labels}
    yield "loop size", "one shot", _fixed(config, one_shot)


def _sizes(query_size: int, most: int) -> list[int]:
    sizes = {max(round(multiple * query_size), 1) for multiple in _MULTIPLES}
    return sorted(size for size in sizes if size <= most)


def _fixed(config: Config, loop: dict[str, Any]) -> Config:
    # A budget may be too small for larger loops, and a rule's patience too long for fewer rounds: in `all` it is only
    # measured.
    stop = StopConfig(all=_unbudgeted(config.policy.stop)).model_dump(mode="json")
    return _with(config, {"loop": loop, "policy": {"query_size": "fixed", "stop": stop}})


def _unbudgeted(stop: StopConfig) -> StopConfig | None:
    """The rules without the budgets each of which is enough to stop; None if nothing is left."""
    inside = None if stop.any is None else _unbudgeted(stop.any)
    left = stop.model_copy(update={"budget": None, "any": inside})
    return left if left.names() else None


def _retrains(config: Config) -> Iterator[tuple[str, str, Config]]:
    # Several repeats have no one model to go on from.
    modes = _MODES if config.selecting.repeats == 1 else _MODES[:1]
    for mode in modes:
        yield "retrain", mode, _with(config, {"policy": {"retrain": mode}})


def _scopes(config: Config) -> Iterator[tuple[str, str, Config]]:
    scored = {"select": {"strategy": "top_k"}} if config.select.strategy == "random" else {}
    whole = {"infer": {"scope": ["full"], "first_passes": None}, "policy": {"scope": "fixed"}}
    some = {"size": None, "ratio": _CANDIDATES}
    drawn = {"infer": {"scope": ["candidates"], "candidates": some}, "policy": {"scope": "fixed"}}
    yield "scope", "full", _with(config, {**whole, **scored})
    yield "scope", f"{_CANDIDATES:.0%} candidates", _with(config, {**drawn, **scored})
    yield "scope", "none (random)", _with(config, {"select": {"strategy": "random"}, "policy": {"scope": "fixed"}})


def _with(config: Config, changes: dict[str, Any]) -> Config:
    return configs.parse(_merged(configs.dump(config), changes), config.name)


def _merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    inner = {
        key: _merged(values[key], value) if isinstance(value, dict) and isinstance(values[key], dict) else value
        for key, value in changes.items()
    }
    return {**values, **inner}
