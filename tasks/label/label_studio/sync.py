"""One exchange with Label Studio: the open round's tasks that it lacks go out, annotations come in."""

from collections.abc import Sequence
from typing import Any

from tasks import files
from tasks.datasets import pages
from tasks.datasets.store import load_task
from tasks.label import journal
from tasks.label.label_studio import fetch, posted, project
from tasks.label.label_studio.client import Client, connect
from tasks.label.label_studio.page import configuration, result
from tasks.label.label_studio.posted import Posted
from tasks.label.people import unsettled
from tasks.loop_id import loop_id
from tasks.rounds import Workspace, load_config
from tasks.task_type import TaskType


def sync(workspace: Workspace, round_: int) -> str:
    """Publish the tasks of an open round that are not there, take in new and revised annotations, and tell of both.

    Tasks that need another answer, and that the server offers to nobody any more, are offered to one more of them.

    Raises:
        ConfigError: there is no token, or it or the address is not valid.
        HubError: the server is away, refuses or makes no sense; the next call goes on from what has come to pass.
    """
    with connect(load_config(workspace).label.label_studio) as client:
        number = project.find(client, loop_id(workspace))
        there = [] if number is None else posted.of_round(client, number, round_)
        missing = _missing(workspace, round_, there)
        if missing:
            # What was annotated in tasks that are gone, as a project that somebody deleted, was not taken back. The
            # new ones may have their numbers.
            journal.detach(workspace, round_, {one.id for one in there})
            number = _publish(client, workspace, round_, number, missing)
            there = posted.of_round(client, number, round_)
        if number is None:
            return "Label Studio: nothing to ask"
        told = [f"{len(missing)} tasks published", *fetch.take_in(client, number, workspace, round_, there)]
        # Not before: a copy that has lost its annotation says that its answer is taken back.
        there = posted.withdraw_copies(client, there)
        if reopened := posted.reopen(client, there, unsettled(workspace, round_)):
            told.append(f"{reopened} tasks opened for one more annotator")
        return f"Label Studio, project {number}: {'; '.join(told)}"


def _missing(workspace: Workspace, round_: int, there: Sequence[Posted]) -> list[dict[str, Any]]:
    """The lines of tasks.jsonl that are not there yet."""
    lines = files.read_objects(workspace.round_dir(round_) / "tasks.jsonl", "id")
    known = {one.item for one in there}
    return [line for line in lines if line["id"] not in known]


def _publish(
    client: Client, workspace: Workspace, round_: int, number: int | None, lines: Sequence[dict[str, Any]]
) -> int:
    """Import what ``lines`` ask into the project of that number, or into a new one; which it is."""
    task, parts = load_task(workspace), pages.parts(workspace, lines)
    if number is None:
        number = project.create(client, loop_id(workspace), load_config(workspace), configuration(parts[0], task))
    # First of all, so that a publication that was broken off has done it too, or is done again.
    posted.retire(client, posted.before(client, number, round_))
    made = [
        posted.task(line, {part.name: part.value for part in shown}, _predictions(line, task, shown[0].name))
        for line, shown in zip(lines, parts, strict=True)
    ]
    posted.post(client, number, made)
    return number


def _predictions(line: dict[str, Any], task: TaskType, shown: str) -> list[dict[str, Any]]:
    model = f"round {line['round'] - 1:03d}"
    return [
        {"model_version": model, "score": one[task.certainty], "result": result(task, one["label"], shown)}
        for one in line["proposals"]
    ]
