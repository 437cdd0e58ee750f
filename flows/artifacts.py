"""What Prefect's pages show of a round: the table of rounds and the decision with its reason."""

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from tasks.rounds import Workspace, decision, load_config
from tasks.status import status

_COLUMNS = ("round", "labels", "accuracy", "items_scored", "money", "device_hours")


def publish(workspace: Workspace, round_: int) -> None:
    """Publish the rounds so far and the decision after ``round_``, each under the loop's own key."""
    name = load_config(workspace).name.lower().replace("_", "-").replace(".", "-")
    rows = [{column: outcome[column] for column in _COLUMNS} for outcome in status(workspace)["rounds"]]
    create_table_artifact(table=rows, key=f"{name}-rounds", description="The rounds so far")
    made = decision(workspace, round_)
    if made is not None:
        numbers = "".join(f"\n- {key}: {value}" for key, value in made["numbers"].items())
        text = f"## Round {round_:03d}: {made['action']}\n\n{made['reason']} (policy `{made['policy']}`)\n{numbers}\n"
        create_markdown_artifact(markdown=text, key=f"{name}-decision", description="Why the loop went on or stopped")
