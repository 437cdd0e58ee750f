"""answers.json: every answer that people have given to the tasks of a round that is open.

It lies in the round's folder, and nobody but its own machine keeps it: LABEL copies it into answers.parquet, which is
versioned. There is one answer per item and annotator; of two, the later one counts. A file that was taken in once
changes nothing the second time, whatever came in between.

A file of answers that somebody has put into the folder, labels.csv or labels.jsonl, counts as if it was taken in last;
before other answers are taken in, it is itself, so that these are later.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tasks import files
from tasks.clock import moment
from tasks.datasets.store import load_task
from tasks.errors import AnswerError, DataError
from tasks.label import answers as answer_files
from tasks.label.answers import NAMES
from tasks.label.asked import asked
from tasks.label.labels import Answer
from tasks.rounds import Workspace
from tasks.task_type import TaskType


@dataclass(frozen=True)
class Taken:
    """What became of answers that were taken in."""

    new: int = 0
    #: Another answer of the same annotator to the same item, which replaces the one before.
    revised: int = 0
    #: Known already, or older than what is known.
    same: int = 0


@dataclass(frozen=True)
class Journal:
    """The answers so far, by item and annotator in the order in which they first came."""

    answers: tuple[Answer, ...] = ()
    #: SHA-256 of the files that were taken in.
    sources: tuple[str, ...] = ()


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


def _merged(journal: Journal, given: Iterable[Answer]) -> tuple[Journal, Taken]:
    known = {(answer.id, answer.annotator): answer for answer in journal.answers}
    new = revised = same = 0
    for answer in given:
        key = (answer.id, answer.annotator)
        before = known.get(key)
        if before is None:
            new += 1
        elif before == answer or _is_older(answer, before):
            same += 1
            continue
        else:
            revised += 1
        known[key] = answer
    return replace(journal, answers=tuple(known.values())), Taken(new, revised, same)


def _is_older(answer: Answer, before: Answer) -> bool:
    if answer.labeled_at is None or before.labeled_at is None:
        return False
    return moment(answer.labeled_at) < moment(before.labeled_at)


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
        return Journal(tuple(_parsed(one, task) for one in stored["answers"]), tuple(stored["sources"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: damaged ({error}); remove it, and take in the files of answers again with `frugal answers add`"
        ) from None


def _write(workspace: Workspace, round_: int, journal: Journal) -> None:
    task = load_task(workspace)
    answers = [_plain(answer, task) for answer in journal.answers]
    files.write_json(_file(workspace, round_), {"sources": list(journal.sources), "answers": answers})


def _plain(answer: Answer, task: TaskType) -> dict[str, Any]:
    label = None if answer.label is None else task.told(answer.label)
    return {**vars(answer), "label": label}


def _parsed(stored: dict[str, Any], task: TaskType) -> Answer:
    label = None if stored["label"] is None else task.parsed(str(stored["label"]))
    return Answer(**{**stored, "label": label})
