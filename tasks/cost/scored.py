"""How many items INFER will score under scopes that have not been asked yet."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any


@dataclass(frozen=True)
class Items:
    """A number of items as far as it can be known beforehand: it lies between ``low`` and ``high``."""

    low: int
    high: int
    #: The best guess; the upper bound where there is nothing to guess by.
    expected: int
    #: Why it is not exact; empty if it is.
    why: str = ""

    @property
    def exact(self) -> bool:
        """Whether there is nothing to guess."""
        return self.low == self.high


def under(scopes: Sequence[Mapping[str, Any]], count: int) -> Items:
    """Of ``count`` unlabelled items, all scored before, those that ``scopes`` leave, one after the other.

    Exact for full, subset, candidates and top, whose number is that of their settings; for the others as ``Items.why``
    says.

    Args:
        scopes: each with its name and its settings, as in a plan.
    """
    items = Items(count, count, count)
    for scope in scopes:
        items = _NARROWED[scope["name"]](items, scope)
    # A size may be reached whatever the scopes before it left.
    return replace(items, why="") if items.exact else items


def _full(items: Items, settings: Mapping[str, Any]) -> Items:
    return items


def _sized(items: Items, settings: Mapping[str, Any]) -> Items:
    def cut(count: int) -> int:
        size = settings["size"]
        return min(_share(settings["ratio"], count) if size is None else size, count)

    return Items(cut(items.low), cut(items.high), cut(items.expected), items.why)


def _every(items: Items, settings: Mapping[str, Any]) -> Items:
    expected = round(items.expected / settings["rounds"])
    return Items(0, items.high, expected, f"every: about 1 in {settings['rounds']} items has its turn")


def _clusters(items: Items, settings: Mapping[str, Any]) -> Items:
    # Each cluster rounds its own share up: less than one item more in each, and among the items without a cluster.
    high = min(items.high, _share(settings["ratio"], items.high) + settings["count"])
    low = _share(settings["ratio"], items.low)
    return Items(low, high, min(high, items.expected), "clusters: each rounds its share up, so at most")


def _prune(items: Items, settings: Mapping[str, Any]) -> Items:
    return Items(0, items.high, items.expected, "prune: as if nothing were left out, so at most")


_NARROWED = {
    "full": _full,
    "subset": _sized,
    "candidates": _sized,
    "top": _sized,
    "every": _every,
    "clusters": _clusters,
    "prune": _prune,
}


def _share(ratio: float, count: int) -> int:
    """ceil(ratio x count), in decimals, as INFER takes it."""
    return math.ceil(Decimal(str(ratio)) * count)
