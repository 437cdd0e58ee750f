"""Curves in a CSV file: one row for each trained round, several loops told apart by the column `run`."""

import csv
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path

from tasks.config import Config
from tasks.errors import DataError
from tasks.replay.recording import Recording, check_judged
from tasks.replay.rows import REQUIRED, Row, columns, recording
from tasks.task_type import headline
from tasks.task_type.headline import Headline

_RUN = "run"
#: In data/curve.csv; blank where no proxy selects.
_TARGET = "target_accuracy"


def read(path: Path, base: Config) -> list[Recording]:
    """The loops of a file in the order in which they begin; row 1 is the header.

    Args:
        base: has the prices and policies.

    Raises:
        ConfigError: a curve is that of a loop in which a proxy selects.
        DataError: the file is unreadable, a column is missing, or a value is missing or impossible; row and column
            are named.
    """
    curves: dict[str, list[Row]] = {}
    unread: list[str] = []
    for line, cells in _lines(path):
        of = headline.among(cells)
        check_judged(str(path), proxied=bool(cells.get(of.named(_TARGET))))
        unread = [name for name in cells if name not in (*columns(of), _RUN)]
        curves.setdefault(cells.get(_RUN, ""), []).append(_row(path, line, cells, of))
    if not curves:
        raise DataError(f"{path}: no rows below the header; a curve has one for each trained round")
    found = [recording(name or path.stem, str(path), rows, base) for name, rows in curves.items()]
    note = f"columns that were not read: {', '.join(unread)}"
    return [one.noted(note) for one in found] if unread else found


def _lines(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True, restkey="", restval="")
            _check_header(path, [name.strip() for name in reader.fieldnames or ()])
            for cells in reader:
                if "" in cells:
                    raise DataError(f"{path}, row {reader.line_num}: more values than the header has columns")
                yield reader.line_num, {name.strip(): value.strip() for name, value in cells.items()}
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV file in UTF-8 ({error})") from None


def _check_header(path: Path, names: list[str]) -> None:
    other = next((mark for mark in (";", "\t") if len(names) == 1 and mark in names[0]), None)
    if other is not None:
        raise DataError(f"{path}, row 1: separated by {'tabs' if other == chr(9) else repr(other)}; use commas")
    of = headline.among(names)
    for name in map(of.named, REQUIRED):
        if name not in names:
            raise DataError(f"{path}, row 1, column {name}: missing{_called(name, names, of)}")
    for name in names:
        if not name or names.count(name) > 1:
            raise DataError(f"{path}, row 1, column {name!r}: {'named twice' if name else 'a column without a name'}")


def _called(name: str, names: list[str], of: Headline) -> str:
    """What to do about a column that is not there: one may have its name misspelt."""
    others = {other.lower(): other for other in names if other not in columns(of)}
    close = get_close_matches(name, list(others), n=1, cutoff=0.5)
    if not close:
        return f"; a curve has {name} in each row"
    return f"; the column is called {others[close[0]]!r}; rename it to {name}"


def _row(path: Path, line: int, cells: Mapping[str, str], of: Headline) -> Row:
    values = {}
    for name, field in columns(of).items():
        if text := cells.get(name, ""):
            try:
                values[field] = float(text)
            except ValueError:
                raise DataError(f"{path}, row {line}, column {name}: {text!r} is no number") from None
    return Row(f"row {line}", values, of)
