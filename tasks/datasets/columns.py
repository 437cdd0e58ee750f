"""CSV, JSON-lines and Parquet files as columns, with every fault named by its row."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks.datasets import _csv, _jsonl, _parquet
from tasks.errors import DataError

#: Of the names of files that can be read.
ENDINGS = (".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".parquet")


@dataclass(frozen=True)
class Columns:
    """The wanted columns of a file, or of some of its rows."""

    file: Path
    #: The names of all columns of the file.
    header: tuple[str, ...]
    #: As the file has them: large_string in CSV and JSON, of any type in Parquet; null where it holds null.
    stored: dict[str, pa.Array]
    #: Of a text file: the line on which each of its rows ends.
    lines: Sequence[int] | None
    #: Of the rows in the file, int64, if some of them are not here.
    positions: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(next(iter(self.stored.values()))) if self.stored else 0

    @cached_property
    def values(self) -> dict[str, list[str | None]]:
        """All columns as Python's strings."""
        return {name: self.text(name).to_pylist() for name in self.stored}

    def text(self, name: str) -> pa.Array:
        """A column as large_string.

        Raises:
            DataError: it is of a type, or holds a value, that is no text.
        """
        column = self.stored[name]
        try:
            if pa.types.is_floating(column.type):
                # pandas stores whole numbers with gaps as floats; class 1 must not become 1.0.
                column = pc.cast(pc.if_else(pc.is_nan(column), None, column), pa.int64())
            column = pc.cast(column, pa.large_string())
            column.validate(full=True)
        except pa.ArrowException as error:
            reason = _undecodable(self.stored[name]) or str(error).splitlines()[0]
            raise DataError(
                f"{self.file}: column {name!r} cannot be read as text ({reason}); store it as strings"
            ) from None
        return column

    def where(self, row: int) -> str:
        """How messages name the row at position ``row``: rows of data count from 1."""
        place = row if self.positions is None else int(self.positions[row])
        line = f" (line {self.lines[place]})" if self.lines else ""
        return f"{self.file}: row {place + 1}{line}"

    def require(self, name: str, mend: str = "") -> None:
        """Refuse a file that lacks a column.

        Raises:
            DataError: it does; ``mend`` ends the message.
        """
        if name not in self.header:
            shown = ", ".join(repr(known) for known in self.header)
            raise DataError(f"{self.file}: no column {name!r}; it has {shown}{mend}")

    def take(self, rows: npt.NDArray[np.int64]) -> "Columns":
        """Some of the rows, in this order."""
        places = pa.array(rows)
        taken = {name: column.take(places) for name, column in self.stored.items()}
        positions = rows if self.positions is None else self.positions[rows]
        return Columns(self.file, self.header, taken, self.lines, positions)


def read(
    file: Path, required: Sequence[str], optional: Sequence[str] | None, header: Sequence[str] | None = None
) -> Columns:
    """Read a file whose ending is one of ``ENDINGS``.

    Args:
        file: which.
        required: columns that it must have.
        optional: others that are read if they are there; None: all.
        header: the names of the columns, if it is a CSV file that has no line with them.

    Raises:
        DataError: the file is missing, damaged, not UTF-8, ragged, or lacks a required column.
    """
    if not file.is_file():
        raise DataError(f"{file}: no such file; correct dataset.pool, dataset.test or dataset.root")
    wanted = None if optional is None else {*required, *optional}
    found = Columns(file, *_read(file, wanted, header))
    for name in found.stored:
        if found.header.count(name) > 1:
            raise DataError(f"{file}: column {name!r} stands twice; keep one")
    for name in required:
        found.require(name)
    return found


def _read(
    file: Path, wanted: set[str] | None, header: Sequence[str] | None
) -> tuple[tuple[str, ...], dict[str, pa.Array], Sequence[int] | None]:
    name = file.name.lower().removesuffix(".gz")
    names: list[str]
    lines: Sequence[int] | None
    if name.endswith(".csv"):
        names, stored, lines = _csv.read(file, wanted, header)
    elif name.endswith(".jsonl"):
        names, stored, lines = _jsonl.read(file, wanted)
    elif file.suffix.lower() == ".parquet":
        names, stored, lines = _parquet.read(file, wanted)
    else:
        raise DataError(f"{file}: the name of a table ends in one of {', '.join(ENDINGS)}")
    return tuple(names), stored, lines


def _undecodable(column: pa.Array) -> str | None:
    """Which row of a column is at fault, if it is one of texts or bytes."""
    if column.type not in (pa.large_string(), pa.large_binary()):
        return None
    for row, value in enumerate(column.cast(pa.large_binary()).to_pylist()):
        try:
            (value or b"").decode()
        except UnicodeDecodeError:
            return f"row {row + 1} is not UTF-8"
    return None
