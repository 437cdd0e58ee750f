"""The page: what is known of a loop, laid out as HTML. The template escapes whatever comes from data."""

import platform
from collections.abc import Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tasks import config
from tasks.label import quality
from tasks.report import bill, decisions, forecast, kinds, proxy, selection, words
from tasks.report.bill import CATEGORIES, FATES, Line
from tasks.report.drawing import Drawing
from tasks.report.loop import Loop, Round
from tasks.status import labelled, suspended

_VERSIONS = ("frugal-loop", "torch", "torchvision", "numpy", "pyarrow", "matplotlib")


def render(loop: Loop, lines: Sequence[Line], found: Any, drawings: dict[str, Drawing]) -> str:
    """The whole page as HTML text; equal arguments, files and libraries give equal text.

    Args:
        found: how good the last model is, as ``kinds.of(loop).quality`` has it.
    """
    kind = kinds.of(loop)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("percent", "points", "count", "amount", "duration", "decimal", "number", "value"):
        environment.filters[name] = getattr(words, name)
    environment.filters["score"] = partial(words.score, of=loop.metric)
    environment.filters["gain"] = partial(words.gain, of=loop.metric)
    environment.globals["change"] = words.change
    return environment.get_template("page.html.jinja").render(
        loop=loop,
        last=loop.trained[-1],
        metric=loop.metric,
        target=loop.target,
        currency=loop.config.prices.currency,
        standing=standing(loop),
        interval=kind.interval(found),
        drawings=drawings,
        rows=_rows(loop),
        bill=_bill(lines),
        bill_rounds=_bill_rounds(loop.rounds, lines),
        forecasts=forecast.compare(list(loop.rounds), loop.config),
        units=forecast.UNITS,
        choices=decisions.choices(loop.rounds),
        decided=decisions.decided(loop.rounds),
        quality=found,
        model=kind.template,
        **kind.values(loop, found),
        proxied=proxy.rows(loop),
        people=_people(loop),
        suspended=suspended(loop.workspace),
        selection=selection.selection(loop),
        most=selection.MOST_OF_ROUND,
        config_text=yaml.safe_dump(config.dump(loop.config), sort_keys=False, allow_unicode=True),
        versions={"Python": platform.python_version()} | {name: metadata.version(name) for name in _VERSIONS},
    )


def standing(loop: Loop) -> str:
    """Where the loop stands, and why, in one sentence."""
    newest = loop.rounds[-1]
    made = newest.decision
    if made is None:
        return f"The loop is under way: round {newest.number:03d} is open."
    told = {
        "stop": "The loop stopped after",
        "restart": "The loop gave up its attempt and begins anew after",
        "continue": "The loop is under way, and goes on after",
    }[made["action"]]
    return f"{told} round {newest.number:03d}: {made['reason']}."


def _people(loop: Loop) -> dict[str, Any] | None:
    """How far annotators agree and err; nothing of an oracle."""
    if not loop.config.label.by_people:
        return None
    found = quality.of_rounds(loop.workspace, labelled(loop.workspace)).plain()
    return found if found["answers"] else None


def _rows(loop: Loop) -> list[dict[str, Any]]:
    """The trained rounds with the gain over the round before in the same attempt."""
    rows: list[dict[str, Any]] = []
    before: Round | None = None
    for round_ in loop.trained:
        known = before is not None and before.attempt == round_.attempt
        gain = round_.outcome.accuracy - before.outcome.accuracy if known else None  # type: ignore[union-attr]
        rows.append({"round": round_, "outcome": round_.outcome, "gain": gain})
        before = round_
    return rows


def _bill(lines: Sequence[Line]) -> dict[str, Any]:
    """By category and in all: what was used, and the money by fate."""
    total = bill.money(lines)
    rows = {name: _sums([line for line in lines if line.category == name], total) for name in CATEGORIES}
    everything = _sums(lines, total)
    return {"rows": rows, "total": everything, "wasted": any(everything[fate] for fate in FATES[1:])}


def _sums(lines: Sequence[Line], total: float) -> dict[str, Any]:
    money: dict[str, Any] = {fate: bill.money(line for line in lines if line.fate == fate) for fate in FATES}
    counts: dict[str, int] = {}
    for line in lines:
        for name, number in line.counts.items():
            counts[name] = counts.get(name, 0) + number
    sum_ = bill.money(lines)
    return {
        **money,
        "sum": sum_,
        "share": sum_ / total if total else None,
        "counts": counts,
        "device_s": sum(line.device_s for line in lines),
        "wall_s": sum(line.wall_s for line in lines),
    }


def _bill_rounds(rounds: Sequence[Round], lines: Sequence[Line]) -> list[dict[str, Any]]:
    """By round: the money by category, what of it was discarded, the sum and the sum so far."""
    of: dict[int, list[Line]] = {round_.number: [] for round_ in rounds}
    for line in lines:
        of[line.round].append(line)
    so_far, rows = 0.0, []
    for round_ in rounds:
        mine = of[round_.number]
        so_far += bill.money(mine)
        rows.append(
            {
                "round": round_,
                "by": {name: bill.money(line for line in mine if line.category == name) for name in CATEGORIES},
                "discarded": bill.money(line for line in mine if line.fate == "discarded"),
                "sum": bill.money(mine),
                "so_far": so_far,
            }
        )
    return rows
