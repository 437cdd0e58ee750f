"""What a round asks of people: the items whose labels are bought, and known ones that are asked again as a check."""

from functools import cache

from tasks import files
from tasks.datasets.store import load_task
from tasks.label.answers import Tasks
from tasks.rounds import Workspace


def asked(workspace: Workspace, round_: int) -> Tasks:
    """The tasks of a round that is open."""

    @cache
    def before() -> dict[str, int]:
        return {id_: number for number in range(round_) for id_ in _ids(workspace, number)}

    return Tasks(frozenset(_ids(workspace, round_)), load_task(workspace), lambda id_: before().get(id_))


def _ids(workspace: Workspace, round_: int) -> list[str]:
    return [line["id"] for line in files.read_objects(workspace.round_dir(round_) / "tasks.jsonl", "id")]
