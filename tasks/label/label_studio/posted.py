"""The tasks of a project: each carries its item and its round, by which it is known again."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tasks.errors import HubError
from tasks.label.label_studio.client import Client

#: What a task carries besides what it shows: small, and read without that.
_ITEM, _ROUND = "frugal_item", "frugal_round"
_FIELDS = ("id", "meta", "is_labeled", "overlap", "annotations", "updated_at", "completed_by")
#: Bytes and tasks of one import, so that a slow server answers in time.
_BYTES, _TASKS = 4_000_000, 200


@dataclass(frozen=True)
class Stub:
    """That somebody has annotated a task, and when last."""

    id: int
    #: The number of the user, or None if the server has forgotten.
    user: int | None
    updated_at: str


@dataclass(frozen=True)
class Posted:
    """One task of the project."""

    id: int
    #: None: it was not made by the loop.
    item: str | None
    round: int | None
    done: bool
    #: The latest of each user.
    stubs: tuple[Stub, ...]
    #: The numbers of all.
    annotations: frozenset[int]
    #: Of how many annotations there are to be.
    overlap: int


def of_round(client: Client, project: int, round_: int) -> list[Posted]:
    """The tasks of a round, the oldest first.

    Raises:
        HubError: the server is away, refuses or makes no sense.
    """
    return list(_posted(client, project, [_by_round("equal", round_)]))


def before(client: Client, project: int, round_: int, since: datetime | None = None) -> list[Posted]:
    """The tasks of earlier rounds, of which something has changed at ``since`` or later.

    Raises:
        HubError: as ``of_round``.
    """
    conditions = [_by_round("less", round_)]
    if since is not None:
        changed = {"filter": "filter:tasks:updated_at", "operator": "greater_or_equal", "type": "Datetime"}
        # The server reads no other form of a time.
        conditions.append(changed | {"value": f"{since.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"})
    return list(_posted(client, project, conditions))


def post(client: Client, project: int, tasks: Sequence[dict[str, Any]]) -> None:
    """Import tasks, in their order.

    Raises:
        HubError: as ``of_round``; some of them may have come in.
    """
    for batch in _batches(tasks):
        client.post(f"/api/projects/{project}/import?commit_to_project=true", batch)


def task(line: Mapping[str, Any], shown: Mapping[str, Any], predictions: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A line of tasks.jsonl as a task to import."""
    return {
        "data": {**shown, "id": line["id"], "round": line["round"], "priority": line["priority"]},
        "meta": {_ITEM: line["id"], _ROUND: line["round"]},
        "predictions": list(predictions),
    }


def withdraw_copies(client: Client, posted: Sequence[Posted]) -> list[Posted]:
    """Delete what came in twice, as an import that seemed lost was not, unless somebody has annotated it.

    Returns:
        What is left.
    """
    seen: set[tuple[str | None, int | None]] = set()
    left = []
    # Of copies the one that is annotated stays, else the oldest.
    for one in sorted(posted, key=lambda one: (not one.stubs, one.id)):
        if one.item is not None and (one.item, one.round) in seen and not one.stubs:
            client.delete(f"/api/tasks/{one.id}/")
            continue
        seen.add((one.item, one.round))
        left.append(one)
    return sorted(left, key=lambda one: one.id)


def reopen(client: Client, posted: Sequence[Posted], items: Collection[str]) -> int:
    """Have one more annotator asked about the tasks of ``items`` that the server offers to nobody.

    Returns:
        How many those were.
    """
    # It takes a task for done by annotators, and offers it by annotations, of which one person may make several.
    kept = [one for one in posted if (one.done or one.overlap <= len(one.annotations)) and one.item in items]
    for one in kept:
        # By the number alone it stays done; by the other alone it is done again when it is next offered to somebody.
        client.patch(f"/api/tasks/{one.id}/", {"is_labeled": False, "overlap": len(one.annotations) + 1})
    return len(kept)


def retire(client: Client, posted: Sequence[Posted]) -> None:
    """Let nobody be asked any more about tasks of closed rounds; what was annotated stays to be seen."""
    for one in posted:
        if one.item is not None and not one.done:
            client.patch(f"/api/tasks/{one.id}/", {"is_labeled": True})


def _by_round(operator: str, round_: int) -> dict[str, Any]:
    return {"filter": "filter:tasks:data.round", "operator": operator, "type": "Number", "value": round_}


def _posted(client: Client, project: int, conditions: Sequence[Mapping[str, Any]]) -> Iterator[Posted]:
    for found in client.tasks(project, _FIELDS, conditions):
        try:
            yield _parsed(found)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise HubError(
                f"{client.url}: task {found.get('id')} of project {project} is not as Label Studio tells tasks; "
                "is its release a supported one?"
            ) from None


def _parsed(found: Mapping[str, Any]) -> Posted:
    meta = found["meta"] if isinstance(found["meta"], dict) else {}
    item, round_ = meta.get(_ITEM), meta.get(_ROUND)
    ours = isinstance(item, str) and isinstance(round_, int)
    stubs = [_stub(one) for one in found["annotations"]]
    return Posted(
        id=int(found["id"]),
        item=item if ours else None,
        round=round_ if ours else None,
        done=bool(found["is_labeled"]),
        stubs=_latest(stubs),
        annotations=frozenset(stub.id for stub in stubs),
        overlap=int(found["overlap"]),
    )


def _stub(found: Mapping[str, Any]) -> Stub:
    by = found["completed_by"]
    return Stub(int(found["id"]), None if by is None else int(by), str(found["updated_at"]))


def _latest(stubs: Sequence[Stub]) -> tuple[Stub, ...]:
    each: dict[int | None, Stub] = {}
    # The server writes all times alike, so that they are in order as texts.
    for stub in sorted(stubs, key=lambda stub: (stub.updated_at, stub.id)):
        each[stub.user] = stub
    return tuple(each.values())


def _batches(tasks: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    size = 0
    for one in tasks:
        weight = sum(len(str(value)) for value in one["data"].values())
        if batch and (size + weight > _BYTES or len(batch) == _TASKS):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += weight
    if batch:
        yield batch
