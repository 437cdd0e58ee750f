"""The project of a loop: found by a mark in its description, or made."""

from tasks.config import Config
from tasks.errors import HubError
from tasks.label.label_studio.client import Client

#: As many characters as a title may have there.
_TITLE = 50


def find(client: Client, loop: str) -> int | None:
    """The loop's project, the oldest of several, or None if it has none yet.

    Raises:
        HubError: the server is away or refuses.
    """
    marked = [one["id"] for one in client.projects() if _mark(loop) in str(one.get("description"))]
    return min((id_ for id_ in marked if isinstance(id_, int)), default=None)


def create(client: Client, loop: str, config: Config, page: str) -> int:
    """A new project, whose page is ``page``; what people change of it later is left alone.

    Raises:
        HubError: the server is away or refuses.
    """
    made = client.post(
        "/api/projects/",
        {
            "title": f"Frugal Loop: {config.name}"[:_TITLE],
            "description": f"Made by Frugal Loop, which finds it by this line: {_mark(loop)}",
            "label_config": page,
            # The tasks come in the order of their priority.
            "sampling": "Sequential sampling",
            "maximum_annotations": config.label.annotators,
            "show_skip_button": True,
            "enable_empty_annotation": False,
        },
    )
    if not isinstance(made, dict) or not isinstance(made.get("id"), int):
        raise HubError(f"{client.url}: Label Studio does not say which project it made; the same command tries again")
    return int(made["id"])


def _mark(loop: str) -> str:
    return f"frugal-loop:{loop}"
