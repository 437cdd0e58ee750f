"""Where a loop stands, read off its files."""

from dataclasses import asdict
from typing import Any

from tasks import loop
from tasks.drawer import unpaid
from tasks.errors import AnswerError
from tasks.history import history, wasted
from tasks.label.answers import answer_file
from tasks.rounds import Workspace, decision, holder, rounds, stored_config
from tasks.task_type import headline


def status(workspace: Workspace) -> dict[str, Any]:
    """State, round, sums, what the loop waits for and the next command, as plain JSON values.

    `state` is one of: empty (no loop yet), running (another process is at it), interrupted (a run can go on), ready
    (the next round can be opened), waiting (for people), finished.
    """
    config = stored_config(workspace)
    if config is None:
        return {"state": "empty", "waits_for": None, "next": "frugal run conf/digits.yaml", "rounds": []}
    outcomes, metric = history(workspace), headline.of(config.task)
    opened = rounds(workspace)
    last = outcomes[-1] if outcomes else None
    state, waits_for, command = _situation(workspace, config.label.labeler)
    made = decision(workspace, opened[-1]) if opened else None
    return {
        "name": config.name,
        "state": state,
        "round": opened[-1] if opened else None,
        "labels": last.labels if last else 0,
        "bought": last.bought if last else 0,
        metric.named("accuracy"): last.accuracy if last else None,
        metric.named("target_accuracy"): last.target_accuracy if last else None,
        "money": last.money if last else 0.0,
        "currency": config.prices.currency,
        "bill": asdict(last.bill) if last else None,
        "wasted": wasted(outcomes),
        "device_hours": last.device_hours if last else 0.0,
        "decision": made,
        "warnings": unreached(made) if made else [],
        "waits_for": waits_for,
        "next": command,
        "rounds": [metric.shown(asdict(outcome)) for outcome in outcomes],
    }


def unreached(made: dict[str, Any]) -> list[str]:
    """What a decision says of targets that the loop has missed, or that it will never reach by its fitted curve."""
    rules = made["numbers"].get("rules", {})
    return [
        f"policy.stop.{name}: {rule['reason']}"
        for name, rule in rules.items()
        if name.rpartition(".")[2] == "target"
        and not rule["holds"]
        and (made["action"] == "stop" or rule["numbers"].get("out_of_reach"))
    ]


def _situation(workspace: Workspace, labeler: str) -> tuple[str, str | None, str]:
    """State, what is waited for, and the next command."""
    if (busy := holder(workspace)) is not None:
        return "running", busy, "frugal status"
    step = loop.next_step(workspace)
    if step is None:
        return "finished", None, "frugal ui"
    if labeler != "files" or step.name in ("select", "train", "decide", "target", "infer"):
        return "interrupted", None, "frugal run"
    if step.name != "label":
        return "ready", None, "frugal open"
    folder = workspace.round_dir(step.round)
    if not (wanted := len(unpaid(workspace, step.round))):
        return "waiting", "`frugal close`: all labels of the round are known already", "frugal close"
    try:
        answered = answer_file(workspace, step.round)
    except AnswerError as error:
        return "waiting", str(error), "frugal close"
    if answered is None:
        name = workspace.relative(folder)
        return "waiting", f"{wanted} labels for {name}/tasks.jsonl in {name}/labels.csv", "frugal close"
    return "waiting", f"`frugal close`: the answers to {wanted} tasks have arrived", "frugal close"
