"""Where a loop stands, read off its files."""

from dataclasses import asdict
from typing import Any

from tasks import files, loop
from tasks.config import Config
from tasks.drawer import skipped, unpaid
from tasks.errors import AnswerError
from tasks.history import history, wasted
from tasks.label import hand_off, quality
from tasks.rounds import Workspace, decision, holder, load_config, rounds, stored_config
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
    state, waits_for, command, people = _situation(workspace, config)
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
        "hand_off": people,
        "suspended": suspended(workspace),
        "annotators": quality.of_rounds(workspace, labelled(workspace)).plain() if config.label.by_people else None,
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


def _situation(workspace: Workspace, config: Config) -> tuple[str, str | None, str, dict[str, Any] | None]:
    """State, what is waited for, the next command, and of a round that is open for people how far they are."""
    if (busy := holder(workspace)) is not None:
        return "running", busy, "frugal status", None
    step = loop.next_step(workspace)
    if step is None:
        return "finished", None, "frugal ui", None
    if not config.label.by_people or step.name in ("select", "train", "decide", "target", "infer"):
        return _interrupted(config, step)
    if step.name != "label":
        return "ready", f"`frugal open`: round {step.round:03d} can be opened", "frugal open", None
    if not (wanted := unpaid(workspace, step.round)):
        return "waiting", "`frugal close`: all labels of the round are known already", "frugal close", None
    try:
        found = hand_off.of_round(workspace, step.round, wanted, config)
    except AnswerError as error:
        return "waiting", str(error), "frugal close", None
    return "waiting", found.waits_for, found.next, found.plain()


def _interrupted(config: Config, step: loop.Step) -> tuple[str, str | None, str, dict[str, Any] | None]:
    """Of a loop that no process is at, though nobody has to be waited for."""
    command = "frugal run"
    if config.label.by_people:
        command = "frugal open" if step.name == "select" else "frugal close"
    name = "the pool" if step.name == "pool" else f"{step.name} of round {step.round:03d}"
    return "interrupted", f"`{command}`: {name} is next", command, None


def labelled(workspace: Workspace) -> list[int]:
    """The rounds whose labels were bought."""
    # The last of the files that LABEL writes, as it may have been cut off before.
    return [number for number in rounds(workspace) if (workspace.round_dir(number) / "unlabeled.parquet").exists()]


def suspended(workspace: Workspace) -> int:
    """Items that people skipped, which nobody is asked about again."""
    bought = labelled(workspace) if load_config(workspace).label.by_people else []
    if not bought:
        return 0
    folder = workspace.round_dir(bought[-1])
    pool = files.count_rows(workspace.pool / "start" / "unlabeled.parquet")
    left = files.read_table(folder / "unlabeled.parquet", ["id"])["id"].to_pylist()
    # Of an attempt before, what has not been selected again is still in the pool.
    before = skipped(workspace, bought[-1]).intersection(left)
    return pool - files.count_rows(folder / "labeled.parquet") - len(left) + len(before)
