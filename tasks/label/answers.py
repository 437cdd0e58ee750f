"""Answers given by people in a file: labels.csv or labels.jsonl in the round's folder."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from tasks.config import Config
from tasks.errors import AnswerError, WaitingForLabels
from tasks.label.labels import Label
from tasks.rounds import Workspace
from tasks.task_type import TaskType

_NAMES = ("labels.csv", "labels.jsonl")


def answer_file(workspace: Workspace, round_: int) -> Path | None:
    """The round's answer file, if people have put one there.

    Raises:
        AnswerError: there are two.
    """
    found = [path for name in _NAMES if (path := workspace.round_dir(round_) / name).exists()]
    if len(found) > 1:
        raise AnswerError(f"{found[0].parent}: holds both {_NAMES[0]} and {_NAMES[1]}; keep one")
    return found[0] if found else None


def answer(workspace: Workspace, round_: int, ids: list[str], task: TaskType, config: Config) -> list[Label]:
    """The answers to ``ids`` in their order, without the items that people skipped.

    Raises:
        WaitingForLabels: there is no file yet, or it does not answer every task.
        AnswerError: the file does not fit the tasks; its row is named.
    """
    path = answer_file(workspace, round_)
    folder = workspace.relative(workspace.round_dir(round_))
    if path is None:
        raise WaitingForLabels(
            f"round {round_:03d} waits for {len(ids)} labels: answer {folder}/tasks.jsonl in {folder}/labels.csv"
        )
    answers = read(path, ids, task)
    if len(answers) < len(ids):
        raise WaitingForLabels(
            f"round {round_:03d}: {len(answers)} of {len(ids)} tasks answered in {folder}/{path.name}"
        )
    return [label for id_ in ids if (label := answers[id_]) is not None]


def check_some(path: Path, answers: Mapping[str, Label | None]) -> None:
    """Refuse answers that skip everything.

    Raises:
        AnswerError: no item has a label.
    """
    if not any(answers.values()):
        raise AnswerError(f"{path}: every item was skipped; label at least one")


def read(path: Path, ids: list[str], task: TaskType) -> dict[str, Label | None]:
    """Check and parse an answer file; None stands for an item that was skipped.

    Raises:
        AnswerError: unreadable; a column missing; a row blank, torn or repeated, or with an unknown id, an impossible
            label, time or status.
    """
    wanted = set(ids)
    answers: dict[str, Label | None] = {}
    for row, fields in _rows(path):
        where = f"{path}, row {row}"
        id_ = fields.get("id", "")
        if id_ not in wanted:
            raise AnswerError(f"{where}: {f'unknown id {id_!r}' if id_ else 'no id'}; ids must be those of tasks.jsonl")
        if id_ in answers:
            raise AnswerError(f"{where}: {id_!r} was answered before; keep one answer per id")
        answers[id_] = _label(where, fields, task)
    return answers


def _label(where: str, fields: dict[str, str], task: TaskType) -> Label | None:
    status = fields.get("status") or "done"
    if status == "skipped":
        return None
    if status != "done":
        raise AnswerError(f"{where}: status {status!r}; it must be done or skipped")
    try:
        label = task.parsed(fields.get("label", ""))
    except ValueError as fault:
        raise AnswerError(f"{where}: {fault}") from None
    return Label(
        id=fields["id"],
        label=label,
        annotator=fields.get("annotator") or "unknown",
        labeled_at=_time(where, fields.get("labeled_at", "")),
        seconds=_seconds(where, fields.get("seconds", "")),
    )


def _time(where: str, text: str) -> str | None:
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).isoformat()
    except ValueError:
        raise AnswerError(
            f"{where}: labeled_at {text!r} is not an ISO 8601 time such as 2026-01-31T09:30:00Z"
        ) from None


def _seconds(where: str, text: str) -> float | None:
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise AnswerError(f"{where}: seconds {text!r} is not a number of at least 0")
    return seconds


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The data rows, counted from 1, as texts; unknown columns are ignored."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise AnswerError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise AnswerError(f"{path}: cannot be read as UTF-8 text ({error})") from None
    yield from _csv_rows(path, text) if path.suffix == ".csv" else _jsonl_rows(path, text)


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        for column in ("id", "label"):
            if header.count(column) != 1:
                raise AnswerError(f"{path}: its first line must name the column {column!r} once")
        for row, values in enumerate(reader, start=1):
            if not any(value.strip() for value in values):
                raise AnswerError(f"{path}, row {row}: blank; remove it")
            if len(values) != len(header):
                raise AnswerError(f"{path}, row {row}: {len(values)} fields where the first line names {len(header)}")
            yield row, {name: value.strip() for name, value in zip(header, values, strict=True)}
    except csv.Error as error:
        raise AnswerError(f"{path}, line {reader.line_num}: not valid CSV ({error})") from None


def _jsonl_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    # str.splitlines would also break at characters that JSON allows inside a string.
    for row, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        if not line.strip():
            raise AnswerError(f"{path}, row {row}: blank; remove it")
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError):
            raise AnswerError(f"{path}, row {row}: not valid JSON") from None
        if not isinstance(fields, dict):
            raise AnswerError(f'{path}, row {row}: must be a JSON object such as {{"id": …, "label": …}}')
        texts = {str(name): "" if value is None else str(value).strip() for name, value in fields.items()}
        try:
            "".join(texts.values()).encode()
        except UnicodeEncodeError:
            # JSON can escape half of a pair of surrogates, which is no character and cannot be stored.
            raise AnswerError(f"{path}, row {row}: holds a character that is not valid Unicode") from None
        yield row, texts
