"""CSV files as columns of text."""

import contextlib
import csv
import io
import threading
from array import array
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from tasks.datasets._unpacked import unpacked
from tasks.errors import DataError

#: Rows that are Python's strings at a time; the others are Arrow's, which take a tenth of the memory.
_SLICE = 8192

_limit = threading.RLock()


def read(
    file: Path, wanted: Collection[str] | None, header: Sequence[str] | None
) -> tuple[list[str], dict[str, pa.Array], Sequence[int]]:
    """The names of all columns, the wanted ones (None: all) as large_string, and the line on which each row ends.

    Args:
        file: .csv or .csv.gz, in UTF-8 with or without a byte order mark.
        wanted: names of columns; those that the file lacks are passed over.
        header: the names, of a file whose first line is a row already.

    Raises:
        DataError: the file is damaged, not UTF-8, empty or ragged; the row is named.
    """
    with _long_fields():
        try:
            with unpacked(file) as stream:
                lines = io.TextIOWrapper(stream, "utf-8-sig", newline="")
                return _Rows(file, csv.reader(lines, strict=True, skipinitialspace=True)).read(wanted, header)
        except UnicodeDecodeError:
            row, line = _undecodable(file)
            row += header is not None
            raise DataError(f"{file}: row {row} (line {line}): not UTF-8; save the file as UTF-8") from None


@contextlib.contextmanager
def _long_fields() -> Iterator[None]:
    """Lets fields be longer than 131,072 characters, a limit that the whole process shares."""
    with _limit:
        before = csv.field_size_limit(2**31 - 1)
        try:
            yield
        finally:
            csv.field_size_limit(before)


def _undecodable(file: Path) -> tuple[int, int]:
    """Position and line of the first row that is not UTF-8."""
    with unpacked(file) as stream:
        lines = io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline="")
        reader = csv.reader(lines, skipinitialspace=True)
        for row, fields in enumerate(filter(None, reader)):
            if any("\udc80" <= letter <= "\udcff" for field in fields if not field.isascii() for letter in field):
                return row, reader.line_num
        return 0, reader.line_num


class _Rows:
    """Reads rows, and knows where it is."""

    def __init__(self, file: Path, reader: Any) -> None:
        self._file = file
        self._reader = reader
        self._ends = array("q")

    def read(
        self, wanted: Collection[str] | None, header: Sequence[str] | None
    ) -> tuple[list[str], dict[str, pa.Array], Sequence[int]]:
        try:
            names = self._names(header)
            chosen = {name: names.index(name) for name in names if wanted is None or name in wanted}
            slices = [
                [pa.array(columns[place], pa.large_string()) for place in chosen.values()]
                for columns in self._slices(names, header is not None)
            ]
        except csv.Error as error:
            raise self._fault(f"not valid CSV ({error}); correct it") from None
        parts = list(zip(*slices, strict=True)) or [(pa.array([], pa.large_string()),)] * len(chosen)
        return names, dict(zip(chosen, map(pa.concat_arrays, parts), strict=True)), self._ends

    def _names(self, header: Sequence[str] | None) -> list[str]:
        if header is not None:
            return list(header)
        first: list[str] | None = next(self._reader, None)
        if first is None:
            raise DataError(f"{self._file}: empty; its first line must name the columns")
        return first

    def _slices(self, names: list[str], begins_with_data: bool) -> Iterator[list[tuple[str, ...]]]:
        """The columns of so many rows at a time."""
        rows: list[list[str]] = []
        for row in self._reader:
            if not row:
                continue
            if len(row) != len(names):
                raise self._fault(
                    f"{len(row)} fields where the header has {len(names)}; the row is cut short or a comma is not "
                    "quoted"
                )
            if begins_with_data and not self._ends and row == names:
                raise self._fault("names the columns; leave dataset.header out")
            rows.append(row)
            self._ends.append(self._reader.line_num)
            if len(rows) == _SLICE:
                yield list(zip(*rows, strict=True))
                rows = []
        if rows:
            yield list(zip(*rows, strict=True))

    def _fault(self, text: str) -> DataError:
        return DataError(f"{self._file}: row {len(self._ends) + 1} (line {self._reader.line_num}): {text}")
