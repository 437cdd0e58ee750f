"""What Prefect's pages show of a round: the table of rounds and the decision with its reason."""

from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from tasks import files
from tasks.rounds import Workspace, decision, load_config
from tasks.status import status
from tasks.task_type import headline


def publish(workspace: Workspace, round_: int) -> None:
    """Publish the rounds so far and the decision after ``round_``, each under the loop's own key."""
    config = load_config(workspace)
    key = config.name.lower().replace("_", "-").replace(".", "-")
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


def _said(rule: dict[str, Any]) -> str:
    return f"{'holds' if rule['holds'] else 'does not hold'}: {rule['reason']}\n{_listed(rule['numbers'])}"


def _planned(workspace: Workspace, round_: int) -> dict[str, str]:
    plan = files.read_json(workspace.round_dir(round_) / "plan.json")
    return {name: f"{choice['value']} ({choice['reason']})" for name, choice in plan.items() if name != "round"}


def _listed(values: dict[str, Any]) -> str:
    return "".join(f"\n- {key}: {value}" for key, value in values.items()) + "\n"
