"""What the page of a labelling tool shows of an item, whatever it is: elements as Label Studio names them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tasks.datasets.shown import Shown, shown
from tasks.rounds import Workspace

#: Pixels of the longer side of an image that people label: enough to see it, and some tens of kilobytes.
_SIDE, _LEAST = 512, 256


@dataclass(frozen=True)
class Part:
    """One thing that the page shows."""

    #: The element of the page.
    tag: str
    #: What a task calls the value that the element shows.
    name: str
    value: Any
    #: More attributes of the element.
    options: Mapping[str, str] = field(default_factory=dict)


def parts(workspace: Workspace, tasks: Sequence[Mapping[str, Any]]) -> list[tuple[Part, ...]]:
    """What is shown of each of the lines of a tasks.jsonl: one thing or more, alike for all items of a pool.

    An image travels in its task, as it is or shrunk, so that nothing has to read this machine's files.

    Raises:
        DataError: an item is not in the pool, or the data set is missing, damaged or not the pool's.
    """
    seen = shown(workspace, [task["id"] for task in tasks], _SIDE, _LEAST)
    return [_parts(item, str(task["uri"])) for item, task in zip(seen, tasks, strict=True)]


def _parts(item: Shown, uri: str) -> tuple[Part, ...]:
    found = []
    if item.address is not None:
        found.append(Part("Image", "image", item.address, {"maxWidth": f"{_SIDE}px"}))
    if item.excerpt is not None:
        found.append(Part("Text", "text", item.excerpt))
    if item.fields is not None:
        found.append(Part("Table", "fields", item.fields))
    return tuple(found) or (Part("Text", "uri", uri),)
