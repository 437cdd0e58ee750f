"""Candidates as many as it takes to find most of the highest values of the pool."""

import math
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from tasks import files
from tasks.policy.decision import Choice
from tasks.policy.query_size import choice as query_size
from tasks.policy.scope.measure import Evidence, measure
from tasks.policy.situation import Situation
from tasks.rounds import Workspace

Scopes = list[dict[str, Any]]

#: How sure recall has to be on one side of what is wanted: 0.95, as both tails of this central share are left out.
CONFIDENCE = 0.9
#: Factors by which the number of candidates changes: up from the first, where former values rank the items as the new
#: ones do, to the second, where they say nothing; and down.
UP, UP_UNSTABLE, DOWN = 1.5, 2.0, 0.7


def choose(workspace: Workspace, round_: int, situation: Situation, scopes: Scopes) -> Choice:
    """``scopes`` as configured, with the number of candidates that the last scoring of the pool calls for.

    It grows if recall (see ``Evidence``) is credibly below policy.adaptive.recall, shrinks if it is credibly above and
    former values rank the items at least somewhat as the new ones do, and else stays; until it changes, the evidence of
    all rounds is added up, by way of the last plan's numbers. Nothing but files and the situation has a say.

    Args:
        round_: the round that is being planned.
    """
    if not any(scope["name"] == "candidates" for scope in scopes):
        return Choice(scopes, "infer.scope: there are no candidates")
    batch = query_size.choose(situation).value
    left = max(situation.unlabeled - batch, 1)
    before, carried = _before(workspace, round_)
    if before is None:
        size = _bounded(_configured(scopes, left), situation, batch, left)
        return Choice(sized(scopes, size), "infer.candidates: nothing has been measured yet", {"candidates": size})
    seen, stability = measure(workspace, round_ - 1, batch)
    if seen is None:
        size = _bounded(before, situation, batch, left)
        return Choice(sized(scopes, size), "kept: the last round explored no item", {"candidates": size})
    seen += carried
    factor, why = _change(seen, stability, situation.config.policy.adaptive.recall)
    size = _bounded(_rounded(before * factor), situation, batch, left)
    reason = f"{why}: {before} candidates before, {size} now"
    return Choice(sized(scopes, size), reason, {"candidates": size, **_numbers(before, seen, stability)})


def sized(scopes: Scopes, size: int) -> Scopes:
    """``scopes`` with another number of candidates."""
    number = {"size": size, "ratio": None}
    return [scope | number if scope["name"] == "candidates" else scope for scope in scopes]


def _change(seen: Evidence, stability: float | None, wanted: float) -> tuple[float, str]:
    """The factor by which the number of candidates changes, and why."""
    low, high = seen.interval(CONFIDENCE)
    found = f"recall {seen.recall:.2f} ({low:.2f} to {high:.2f})"
    ranked = max(stability or 0.0, 0.0)
    if high < wanted:
        return UP_UNSTABLE + (UP - UP_UNSTABLE) * ranked, f"{found} is below policy.adaptive.recall, {wanted:g}"
    if low > wanted and ranked > 0:
        return DOWN, f"{found} is above policy.adaptive.recall, {wanted:g}"
    if low > wanted:
        return 1.0, f"{found} is above policy.adaptive.recall, {wanted:g}, but former values do not rank the new ones"
    return 1.0, f"{found} may be on either side of policy.adaptive.recall, {wanted:g}"


def _before(workspace: Workspace, round_: int) -> tuple[int | None, Evidence]:
    """With how many candidates the round before scored, None if without, and the evidence on this number before it."""
    none = Evidence(0, 0, 0, 0)
    if not round_:
        return None, none
    plan = files.read_object(workspace.round_dir(round_ - 1) / "plan.json", "infer_scope")["infer_scope"]
    scopes = plan["value"] if isinstance(plan["value"], list) else []
    size = next((scope.get("size") for scope in scopes if scope["name"] == "candidates"), None)
    numbers = plan.get("numbers") or {}
    if size is None or numbers.get("candidates_before") != size:
        return size, none
    return size, Evidence(**{name: numbers[name] for name in asdict(none)})


def _configured(scopes: Scopes, left: int) -> int:
    settings = next(scope for scope in scopes if scope["name"] == "candidates")
    size: int | None = settings["size"]
    # In decimals, as the ratio was written, and as INFER does.
    return size if size is not None else math.ceil(Decimal(str(settings["ratio"])) * left)


def _bounded(size: int, situation: Situation, batch: int, left: int) -> int:
    """Never fewer than the query asks for, or the pool has."""
    settings = situation.config.policy.adaptive
    most = min(settings.largest or left, left)
    return max(min(max(size, settings.smallest or 1), most), min(batch, left))


def _rounded(size: float) -> int:
    return math.floor(size + 0.5)


def _numbers(before: int, seen: Evidence, stability: float | None) -> dict[str, Any]:
    low, high = seen.interval(CONFIDENCE)
    recall = {"recall": round(seen.recall, 4), "recall_low": round(low, 4), "recall_high": round(high, 4)}
    ranked = {} if stability is None else {"stability": round(stability, 4)}
    return {"candidates_before": before, **recall, **ranked, **asdict(seen)}
