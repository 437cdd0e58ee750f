"""Answers given by people, as a CSV or JSON-lines file: id, label, annotator, labeled_at, seconds, status."""

import csv
import io
import json
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tasks.clock import lies_ahead, moment
from tasks.config_base import LARGEST
from tasks.errors import AnswerError
from tasks.label.labels import Answer
from tasks.task_type import TaskType

#: What a file of answers is called in the folder of its round.
NAMES = ("labels.csv", "labels.jsonl")
#: Stands for whoever did not give a name.
UNKNOWN = "unknown"
_REQUIRED, _OPTIONAL = ("id", "label"), ("annotator", "labeled_at", "seconds", "status")
_LONGEST_NAME = 200


@dataclass(frozen=True)
class Tasks:
    """What was asked: answers to anything else are refused."""

    ids: Collection[str]
    task: TaskType
    #: The closed round that asked for an item, to tell late answers from unknown ids.
    closed: Callable[[str], int | None] = lambda id_: None


class RowError(ValueError):
    """One thing that is wrong with a row."""


def read(path: Path, tasks: Tasks) -> list[Answer]:
    """Check and parse a file of answers, which need not answer everything.

    Raises:
        AnswerError: unreadable; a column missing; a row blank, torn or repeated, or with an unknown id, an impossible
            label, time or status. Every fault is listed with its row.
    """
    answers: dict[tuple[str, str], Answer] = {}
    faults: list[str] = []
    for row, fields in _rows(path):
        try:
            answer = parsed(_sound(fields), tasks)
            if (answer.id, answer.annotator) in answers:
                raise RowError(
                    f"{answer.id!r} was answered before by {answer.annotator}; keep one answer per id and annotator"
                )
        except RowError as fault:
            faults.append(f"{row}: {fault}")
        else:
            answers[answer.id, answer.annotator] = answer
    if faults:
        raise AnswerError.listing(str(path), faults)
    return list(answers.values())


def _sound(fields: dict[str, str] | RowError) -> dict[str, str]:
    if isinstance(fields, RowError):
        raise fields
    return fields


def parsed(fields: Mapping[str, str], tasks: Tasks) -> Answer:
    """The answer of one row.

    Raises:
        RowError: an unknown id, an impossible label, annotator, time or status.
    """
    id_, status = fields.get("id", ""), fields.get("status") or "done"
    if id_ not in tasks.ids:
        raise RowError(_strange(id_, tasks))
    if status not in ("done", "skipped"):
        raise RowError(f"status {status!r}; it must be done or skipped")
    return Answer(
        id=id_,
        label=_label(fields.get("label", ""), tasks.task) if status == "done" else None,
        annotator=_annotator(fields.get("annotator", "")),
        labeled_at=_time(fields.get("labeled_at", "")),
        seconds=_seconds(fields.get("seconds", "")),
    )


def _strange(id_: str, tasks: Tasks) -> str:
    if not id_:
        return "no id; ids must be those of tasks.jsonl"
    if (round_ := tasks.closed(id_)) is not None:
        return f"{id_!r} was asked for in round {round_:03d}, which is closed"
    return f"unknown id {id_!r}; ids must be those of tasks.jsonl"


def _label(text: str, task: TaskType) -> int | float:
    try:
        return task.parsed(text)
    except ValueError as fault:
        raise RowError(str(fault)) from None


def _annotator(text: str) -> str:
    if len(text) > _LONGEST_NAME:
        raise RowError(f"annotator of {len(text)} characters; a name has at most {_LONGEST_NAME}")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        raise RowError(f"annotator {text!r} holds a control character, or half of one")
    return text or UNKNOWN


def _time(text: str) -> str | None:
    if not text:
        return None
    try:
        time = moment(text)
    except ValueError:
        raise RowError(f"labeled_at {text!r} is not an ISO 8601 time such as 2026-01-31T09:30:00Z") from None
    # It would count as later than every correction of it.
    if lies_ahead(time):
        raise RowError(f"labeled_at {text!r} lies in the future")
    return datetime.fromisoformat(text).isoformat()


def _seconds(text: str) -> float | None:
    if not text:
        return None
    try:
        # Python reads 1_000 as a number, and people do not mean it.
        seconds = -1.0 if "_" in text else float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= LARGEST:
        raise RowError(f"seconds {text!r} is not a number from 0 to {LARGEST:g}")
    return seconds


def _rows(path: Path) -> Iterator[tuple[str, dict[str, str] | RowError]]:
    """Where each row stands, counted from 1 without the header, and its fields as texts, or what is wrong with it."""
    if path.suffix not in (".csv", ".jsonl"):
        raise AnswerError(f"{path}: answers come as a .csv or .jsonl file")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise AnswerError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise AnswerError(f"{path}: cannot be read as UTF-8 text ({error})") from None
    yield from _csv_rows(path, text) if path.suffix == ".csv" else _jsonl_rows(text)


def _csv_rows(path: Path, text: str) -> Iterator[tuple[str, dict[str, str] | RowError]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    row = 0
    try:
        header = [name.strip() for name in next(reader, [])]
        for column in (*_REQUIRED, *_OPTIONAL):
            if header.count(column) > 1 or (column in _REQUIRED and column not in header):
                raise AnswerError(f"{path}: its first line must name the column {column!r} once")
        for row, values in enumerate(reader, start=1):
            yield f"row {row}", _csv_fields(header, values)
    except csv.Error as error:
        # What follows cannot be told apart any more.
        yield f"row {row + 1}, line {reader.line_num}", RowError(f"not valid CSV ({error})")


def _csv_fields(header: list[str], values: list[str]) -> dict[str, str] | RowError:
    if not any(value.strip() for value in values):
        return RowError("blank; remove it")
    if len(values) != len(header):
        return RowError(f"{len(values)} fields where the first line names {len(header)}")
    return {name: value.strip() for name, value in zip(header, values, strict=True)}


def _jsonl_rows(text: str) -> Iterator[tuple[str, dict[str, str] | RowError]]:
    # str.splitlines would also break at characters that JSON allows inside a string.
    for row, line in enumerate(text.removesuffix("\n").split("\n") if text else (), start=1):
        try:
            yield f"row {row}", _json_fields(line)
        except RowError as fault:
            yield f"row {row}", fault


def _json_fields(line: str) -> dict[str, str]:
    if not line.strip():
        raise RowError("blank; remove it")
    try:
        fields = json.loads(line, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise error if isinstance(error, RowError) else RowError("not valid JSON") from None
    if not isinstance(fields, dict):
        raise RowError('must be a JSON object such as {"id": …, "label": …}')
    texts = {name: _text(name, value) for name, value in fields.items()}
    try:
        "".join(texts.values()).encode()
    except UnicodeEncodeError:
        # JSON can escape half of a pair of surrogates, which is no character and cannot be stored.
        raise RowError("holds a character that is not valid Unicode") from None
    return texts


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        raise RowError(f"names {next(name for name in names if names.count(name) > 1)!r} twice")
    return fields


def _text(name: str, value: Any) -> str:
    if name in (*_REQUIRED, *_OPTIONAL) and isinstance(value, (dict, list, bool)):
        raise RowError(f"{name} must be a text or a number, not {json.dumps(value)[:40]}")
    return "" if value is None else str(value).strip()
