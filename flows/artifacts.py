"""What Prefect's pages show of a round: what people are asked, the table of rounds, the decision with its reason."""

from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from tasks import files
from tasks.rounds import Workspace, decision, load_config
from tasks.status import status
from tasks.task_type import headline


def publish(workspace: Workspace, round_: int) -> None:
    """Publish the rounds so far and the decision after ``round_``, each under the loop's own key."""
    config, key = load_config(workspace), _key(workspace)
    columns = ("round", "labels", *headline.of(config.task).columns, "items_scored", "money", "device_hours")
    rows = [{column: outcome[column] for column in columns} for outcome in status(workspace)["rounds"]]
    create_table_artifact(table=rows, key=f"{key}-rounds", description="The rounds so far")
    made = decision(workspace, round_)
    if made is not None:
        text = f"## Round {round_:03d}: {made['action']}\n\n{made['reason']} (policy `{made['policy']}`)\n"
        rules = made["numbers"].get("rules", {})
        text += _listed({key: value for key, value in made["numbers"].items() if key != "rules"})
        text += "".join(f"\n### {name}\n\n{_said(rule)}" for name, rule in rules.items())
        text += f"\n## How it was planned\n{_listed(_planned(workspace, round_))}"
        create_markdown_artifact(markdown=text, key=f"{key}-decision", description="Why the loop went on or stopped")


def ask(workspace: Workspace, round_: int, reason: str) -> None:
    """Publish what an open round waits for, and where its tasks are."""
    tasks = workspace.round_dir(round_) / "tasks.jsonl"
    text = f"## Round {round_:03d} is open\n\nIt asks for {reason.partition('waits for ')[2] or reason}.\n\n"
    text += f"- Tasks, the most wanted first: `{tasks}`\n"
    text += "- Answers, in parts or at once: `frugal answers add FILE`, or the labelling tool\n"
    create_markdown_artifact(markdown=text, key=f"{_key(workspace)}-waiting", description="What people are asked")


def _key(workspace: Workspace) -> str:
    """What the keys of a loop's artifacts begin with."""
    return load_config(workspace).name.lower().replace("_", "-").replace(".", "-")


def _said(rule: dict[str, Any]) -> str:
    return f"{'holds' if rule['holds'] else 'does not hold'}: {rule['reason']}\n{_listed(rule['numbers'])}"


def _planned(workspace: Workspace, round_: int) -> dict[str, str]:
    plan = files.read_json(workspace.round_dir(round_) / "plan.json")
    return {name: f"{choice['value']} ({choice['reason']})" for name, choice in plan.items() if name != "round"}


def _listed(values: dict[str, Any]) -> str:
    return "".join(f"\n- {key}: {value}" for key, value in values.items()) + "\n"
