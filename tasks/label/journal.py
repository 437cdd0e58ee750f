"""answers.json: every answer that people have given to the tasks of a round that is open.

It lies in the round's folder, and nobody but its own machine keeps it: LABEL copies it into answers.parquet, which is
versioned. There is one answer per item and annotator; of two, the later one counts. A file that was taken in once
changes nothing the second time, whatever came in between.

An answer that came from a hub, such as Label Studio, goes again when it is deleted there, and what a file says instead
counts again. The numbers of its task and annotation there are kept with it: a hub that has lost its tasks has taken
nothing back, and an annotation is the same whatever its annotator is called meanwhile.

A file of answers that somebody has put into the folder, labels.csv or labels.jsonl, counts as if it was taken in last;
before other answers are taken in, it is itself, so that these are later.
"""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from tasks import files
from tasks.clock import lies_ahead, moment
from tasks.datasets.store import load_task
from tasks.errors import AnswerError, DataError
from tasks.label import answers as answer_files
from tasks.label.answers import NAMES
from tasks.label.asked import asked
from tasks.label.labels import Answer
from tasks.rounds import Workspace
from tasks.task_type import TaskType

#: An item and an annotator.
Key = tuple[str, str]


@dataclass(frozen=True)
class Taken:
    """What became of answers that were taken in."""

    new: int = 0
    #: Another answer of the same annotator to the same item, which replaces the one before.
    revised: int = 0
    #: Known already, or older than what is known.
    same: int = 0
    #: Deleted in the hub that it came from.
    withdrawn: int = 0


@dataclass(frozen=True)
class Entry:
    """An annotation in a hub, from which an answer came."""

    task: int
    annotation: int
    #: When it was last changed.
    at: str | None
    #: What counts without it: an answer of a file, or of a task that the hub has lost.
    beneath: Answer | None = None


@dataclass(frozen=True)
class Journal:
    """The answers so far, by item and annotator in the order in which they first came."""

    answers: tuple[Answer, ...] = ()
    #: SHA-256 of the files that were taken in.
    sources: tuple[str, ...] = ()
    #: What the hub has said, whether it counts or not.
    hub: Mapping[Key, Entry] = field(default_factory=dict)


def load(workspace: Workspace, round_: int) -> Journal:
    """What is known of a round's answers, with a file of them that lies in its folder.

    Raises:
        AnswerError: there are two such files, or it does not fit the tasks.
        DataError: answers.json is damaged.
    """
    kept = _read(workspace, round_)
    if (path := _dropped(workspace, round_)) is None or (source := files.digest(path)) in kept.sources:
        return kept
    journal = _merged(kept, answer_files.read(path, asked(workspace, round_)))[0]
    return replace(journal, sources=(*journal.sources, source))


def take_in_file(workspace: Workspace, round_: int, path: Path) -> Taken:
    """Check a file of answers and keep them; the same file again changes nothing.

    Raises:
        AnswerError: it, or one that lies in the round's folder, does not fit the tasks; nothing was written.
    """
    # Before it is read: what somebody adds to it meanwhile is then new the next time.
    source = files.digest(path) if path.is_file() else None
    return take_in(workspace, round_, answer_files.read(path, asked(workspace, round_)), source)


def take_in(workspace: Workspace, round_: int, given: Sequence[Answer], source: str | None = None) -> Taken:
    """Keep answers, whatever they came from.

    Args:
        given: answers to tasks of the round; they have been checked.
        source: SHA-256 of the file that holds them all; None: they came one by one.

    Raises:
        AnswerError: a file of answers in the round's folder does not fit the tasks; nothing was written.
    """
    kept, before = _read(workspace, round_), load(workspace, round_)
    if source in kept.sources:
        return Taken(same=len(given))
    journal, taken = _merged(before, given)
    if source is not None and source not in journal.sources:
        journal = replace(journal, sources=(*journal.sources, source))
    if journal != kept:
        _write(workspace, round_, journal)
    return taken


def exchange(
    workspace: Workspace, round_: int, given: Sequence[tuple[Answer, int, int]], there: Mapping[int, Collection[int]]
) -> Taken:
    """Bring the journal up to date with a hub: keep what is new there, drop what has been deleted there.

    Args:
        given: checked answers that are new or were edited, with the numbers of their tasks and annotations.
        there: the annotations of each of the round's tasks, by number.

    Raises:
        AnswerError: a file of answers in the round's folder does not fit the tasks; nothing was written.
    """
    kept, before = _read(workspace, round_), load(workspace, round_)
    left, withdrawn = _withdrawn(before, there)
    journal, taken = _annotated(left, given)
    if journal != kept:
        _write(workspace, round_, journal)
    return replace(taken, withdrawn=withdrawn)


def detach(workspace: Workspace, round_: int, there: Collection[int]) -> None:
    """Keep the answers for good whose tasks are no more in the hub; ``there`` are those that are."""
    kept = _read(workspace, round_)
    left = {key: entry for key, entry in kept.hub.items() if entry.task in there}
    if left != kept.hub:
        _write(workspace, round_, replace(kept, hub=left))


def _withdrawn(journal: Journal, there: Mapping[int, Collection[int]]) -> tuple[Journal, int]:
    """Without what was deleted in the hub, and how many answers that has changed."""
    known, hub, count = _by_key(journal), dict(journal.hub), 0
    for key, entry in journal.hub.items():
        if entry.task not in there or entry.annotation in there[entry.task]:
            continue
        del hub[key]
        count += known[key] != entry.beneath
        if entry.beneath is None:
            del known[key]
        else:
            known[key] = entry.beneath
    return replace(journal, answers=tuple(known.values()), hub=hub), count


def _annotated(journal: Journal, given: Sequence[tuple[Answer, int, int]]) -> tuple[Journal, Taken]:
    """With what is new or was edited in the hub."""
    known, hub = _by_key(journal), dict(journal.hub)
    counts: Counter[str] = Counter()
    for answer, task, annotation in given:
        key = (answer.id, answer.annotator)
        before, entry = known.get(key), hub.get(key)
        # Of copies of a task that one person has annotated, the later answer counts.
        if entry is not None and _is_older(answer.labeled_at, entry.at):
            counts["same"] += 1
            continue
        beneath = before if entry is None else entry.beneath
        hub[key] = Entry(task, annotation, answer.labeled_at, beneath)
        counts[_put(known, answer, beneath)] += 1
    return replace(journal, answers=tuple(known.values()), hub=hub), Taken(**counts)


def _by_key(journal: Journal) -> dict[Key, Answer]:
    return {(answer.id, answer.annotator): answer for answer in journal.answers}


def _merged(journal: Journal, given: Iterable[Answer]) -> tuple[Journal, Taken]:
    known, hub = _by_key(journal), dict(journal.hub)
    counts: Counter[str] = Counter()
    for answer in given:
        key = (answer.id, answer.annotator)
        if (entry := hub.get(key)) is not None and (
            entry.beneath is None or not _is_older(answer.labeled_at, entry.beneath.labeled_at)
        ):
            hub[key] = replace(entry, beneath=answer)
        counts[_put(known, answer, known.get(key))] += 1
    return replace(journal, answers=tuple(known.values()), hub=hub), Taken(**counts)


def _put(known: dict[Key, Answer], answer: Answer, rival: Answer | None) -> Literal["new", "revised", "same"]:
    """Let an answer count unless ``rival`` is later; what that makes of it."""
    key = (answer.id, answer.annotator)
    before = known.get(key)
    if before == answer or (rival is not None and _is_older(answer.labeled_at, rival.labeled_at)):
        return "same"
    known[key] = answer
    return "new" if before is None else "revised"


def _is_older(time: str | None, before: str | None) -> bool:
    if time is None or before is None:
        return False
    # Earlier releases took in times that nothing could ever be later than.
    return moment(time) < moment(before) and not lies_ahead(moment(before))


def _dropped(workspace: Workspace, round_: int) -> Path | None:
    found = [path for name in NAMES if (path := workspace.round_dir(round_) / name).exists()]
    if len(found) > 1:
        raise AnswerError(f"{found[0].parent}: holds both {NAMES[0]} and {NAMES[1]}; keep one")
    return found[0] if found else None


def _file(workspace: Workspace, round_: int) -> Path:
    return workspace.round_dir(round_) / "answers.json"


def _read(workspace: Workspace, round_: int) -> Journal:
    path = _file(workspace, round_)
    if not path.exists():
        return Journal()
    task = load_task(workspace)
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        answers = tuple(_parsed(one, task) for one in stored["answers"])
        # Earlier releases did not keep it.
        hub = dict(_entry(one, lambda answer: _parsed(answer, task)) for one in stored.get("hub", []))
        return Journal(answers, tuple(stored["sources"]), hub)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: damaged ({error}); remove it, and take in the files of answers again with `frugal answers add`"
        ) from None


def _write(workspace: Workspace, round_: int, journal: Journal) -> None:
    task = load_task(workspace)
    answers = [_plain(answer, task) for answer in journal.answers]
    hub = [
        {
            "id": id_,
            "annotator": annotator,
            **vars(entry),
            "beneath": None if entry.beneath is None else _plain(entry.beneath, task),
        }
        for (id_, annotator), entry in journal.hub.items()
    ]
    files.write_json(_file(workspace, round_), {"sources": list(journal.sources), "answers": answers, "hub": hub})


def _entry(stored: dict[str, Any], parsed: Callable[[dict[str, Any]], Answer]) -> tuple[Key, Entry]:
    values = dict(stored)
    key = (values.pop("id"), values.pop("annotator"))
    beneath = values.pop("beneath")
    return key, Entry(**values, beneath=None if beneath is None else parsed(beneath))


def _plain(answer: Answer, task: TaskType) -> dict[str, Any]:
    label = None if answer.label is None else task.told(answer.label)
    return {**vars(answer), "label": label}


def _parsed(stored: dict[str, Any], task: TaskType) -> Answer:
    label = None if stored["label"] is None else task.parsed(str(stored["label"]))
    return Answer(**{**stored, "label": label})
