"""Annotations of a round into its journal: those that it does not have yet, or that were edited since."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from tasks import files
from tasks.clock import moment
from tasks.cost import ledger
from tasks.label import journal
from tasks.label.answers import RowError
from tasks.label.asked import asked
from tasks.label.journal import Key
from tasks.label.label_studio import annotations, posted
from tasks.label.label_studio.annotations import Users
from tasks.label.label_studio.client import Client
from tasks.label.label_studio.posted import Posted, Stub
from tasks.label.labels import Answer
from tasks.rounds import Workspace

#: Faults that are told one by one.
_TOLD = 3
_FIELDS = ("id", "annotations", "result", "was_cancelled", "lead_time", "completed_by", "updated_at")

#: When an answer was given.
Times = dict[Key, str | None]


def take_in(client: Client, project: int, workspace: Workspace, round_: int, there: Sequence[Posted]) -> list[str]:
    """Keep the annotations of an open round's tasks that are new or revised; what came of it, in words.

    One that makes no sense is refused, and is told of until it is mended; those of closed rounds change nothing.

    Raises:
        HubError: the server is away, refuses or makes no sense; nothing was kept.
        AnswerError: a file of answers in the round's folder does not fit.
    """
    users, before = annotations.users(client), journal.load(workspace, round_)
    known: Times = {(answer.id, answer.annotator): answer.labeled_at for answer in before.answers}
    # A file may say something else, and later, of what has been taken in.
    known |= {key: entry.at for key, entry in before.hub.items()}
    # Somebody who is renamed, or removed there, has not answered once more.
    names = {entry.annotation: key[1] for key, entry in before.hub.items()}
    given, faults = _fetched(client, project, workspace, round_, _unknown(there, users, known, names), users, names)
    taken = journal.exchange(workspace, round_, given, {one.id: one.annotations for one in there})
    told = [f"{taken.new} new answers, {taken.revised} revised"]
    if taken.withdrawn:
        told.append(f"{taken.withdrawn} answers withdrawn, as they were deleted there")
    if faults:
        more = f" and {len(faults) - _TOLD} more" if len(faults) > _TOLD else ""
        told.append(f"{len(faults)} annotations refused: {', '.join(faults[:_TOLD])}{more}")
    if late := _late(client, project, workspace, round_, users):
        told.append(f"{late} annotations of closed rounds are new or were edited, and change nothing")
    return told


def _unknown(
    there: Sequence[Posted], users: Users, known: Times, names: Mapping[int, str]
) -> dict[int, tuple[str | None, set[int]]]:
    """By task: its item, and the annotations that the journal does not have as they are now."""
    found: dict[int, tuple[str | None, set[int]]] = {}
    for one in there:
        who = {stub: names.get(stub.id) or users.name(stub.user) for stub in one.stubs}
        if wanted := {stub.id for stub, name in who.items() if not _has(known, one, stub, name)}:
            found[one.id] = (one.item, wanted)
    return found


def _has(known: Times, one: Posted, stub: Stub, name: str) -> bool:
    kept = known.get((one.item or "", name))
    try:
        return kept is not None and moment(kept) == moment(stub.updated_at)
    except ValueError:
        return False


def _fetched(
    client: Client,
    project: int,
    workspace: Workspace,
    round_: int,
    wanted: dict[int, tuple[str | None, set[int]]],
    users: Users,
    names: Mapping[int, str],
) -> tuple[list[tuple[Answer, int, int]], list[str]]:
    """Answers with the numbers of their tasks and their own, in the order in which they were given, and faults."""
    tasks, given, faults = asked(workspace, round_), [], []
    for found in client.chosen(project, _FIELDS, list(wanted)):
        item, ids = wanted.get(found.get("id", 0), (None, set()))
        for annotation in found["annotations"] if isinstance(found.get("annotations"), list) else []:
            if not isinstance(annotation, dict) or annotation.get("id") not in ids:
                continue
            try:
                answer = annotations.answer(annotation, item, users, tasks)
                answer = replace(answer, annotator=names.get(annotation["id"], answer.annotator))
                given.append((answer, found["id"], annotation["id"]))
            except RowError as fault:
                faults.append(f"task {found['id']} ({item}): {fault}")
    return sorted(given, key=lambda one: one[0].labeled_at or ""), faults


def _late(client: Client, project: int, workspace: Workspace, round_: int, users: Users) -> int:
    """How many annotations have come to closed rounds, or were edited there, since the last one was closed."""
    closed = None if round_ == 0 else ledger.entry(workspace.round_dir(round_ - 1), "label")
    if closed is None or (at := closed.get("at")) is None:
        return 0
    late = 0
    kept: dict[int, Times] = {}
    for one in posted.before(client, project, round_, datetime.fromisoformat(at)):
        if one.round is None or one.round >= round_:
            continue
        if one.round not in kept:
            kept[one.round] = _taken(workspace, one.round)
        late += sum(not _has(kept[one.round], one, stub, users.name(stub.user)) for stub in one.stubs)
    return late


def _taken(workspace: Workspace, round_: int) -> Times:
    """What a closed round has taken in."""
    path = workspace.round_dir(round_) / "answers.parquet"
    if not path.exists():
        return {}
    rows = files.read_table(path, ["id", "annotator", "labeled_at"]).to_pylist()
    return {(row["id"], row["annotator"]): row["labeled_at"] for row in rows}
