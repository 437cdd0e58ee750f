"""Files of one JSON object a line as columns of text."""

import codecs
import json
from array import array
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from tasks.datasets._unpacked import unpacked
from tasks.errors import DataError

#: Rows that are Python's objects at a time.
_SLICE = 8192

#: Numbers stay as they are written.
_DECODER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)

_Row = dict[str, Any]


def read(file: Path, wanted: Collection[str] | None) -> tuple[list[str], dict[str, pa.Array], Sequence[int]]:
    """The names of all columns, the wanted ones (None: all) as large_string, and the line of each row.

    Numbers are given as they are written, truth values as true and false; null, and a key that a line does not have,
    as null.

    Args:
        file: .jsonl or .jsonl.gz, in UTF-8 with or without a byte order mark; blank lines are passed over.
        wanted: names of columns; those that no line has are passed over.

    Raises:
        DataError: the file is damaged, empty, not UTF-8, or a wanted value is a list or an object; the row is named.
    """
    lines, header = array("q"), dict[str, None]()
    slices: list[tuple[int, dict[str, pa.Array]]] = []
    with unpacked(file) as stream:
        rows = _rows(file, stream, lines)
        while part := list(islice(rows, _SLICE)):
            names = dict.fromkeys(name for row in part for name in row)
            header.update(names)
            first = len(lines) - len(part)
            columns = {
                name: _column(file, lines, first, part, name) for name in names if wanted is None or name in wanted
            }
            slices.append((len(part), columns))
    if not header:
        raise DataError(f"{file}: empty; every line must be a JSON object")
    found = {name for _, columns in slices for name in columns}
    gaps = pa.large_string()
    whole = {
        name: pa.concat_arrays([columns.get(name, pa.nulls(length, gaps)) for length, columns in slices])
        for name in header
        if name in found
    }
    return list(header), whole, lines


def _rows(file: Path, stream: IO[bytes], lines: "array[int]") -> Iterator[_Row]:
    for number, line in enumerate(stream, 1):
        content = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        if content.strip():
            lines.append(number)
            yield _row(_where(file, lines, len(lines) - 1), content)


def _where(file: Path, lines: Sequence[int], row: int) -> str:
    return f"{file}: row {row + 1} (line {lines[row]})"


def _row(where: str, line: bytes) -> _Row:
    try:
        row = _DECODER.decode(line.decode())
    except UnicodeDecodeError:
        raise DataError(f"{where}: not UTF-8; save the file as UTF-8") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not valid JSON ({error.msg} at character {error.pos + 1}); correct it") from None
    except RecursionError:
        raise DataError(f"{where}: JSON that is nested too deeply; correct it") from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: not a JSON object; write {{…}} with the columns as keys")
    return row


def _column(file: Path, lines: Sequence[int], first: int, rows: list[_Row], name: str) -> pa.Array:
    values = [row.get(name) for row in rows]
    try:
        return pa.array(values, pa.large_string())
    except (pa.ArrowTypeError, UnicodeEncodeError):
        texts = [_text(_where(file, lines, first + place), name, value) for place, value in enumerate(values)]
        return pa.array(texts, pa.large_string())


def _text(where: str, name: str, value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        kind = "a list" if isinstance(value, list) else "an object"
        raise DataError(f"{where}: {name!r} is {kind}; write a text, a number, true, false or null")
    if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise DataError(f"{where}: {name!r} holds half of a surrogate pair, which is no character; correct the text")
    text: str | None = value
    return text
