"""CSV and Parquet files as columns of text, with every fault named by its row."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.errors import DataError


@dataclass(frozen=True)
class Columns:
    """The wanted columns of a file, as text."""

    file: Path
    #: None where the file holds null.
    values: dict[str, list[str | None]]
    #: Of a text file: the line on which each row ends.
    lines: list[int] | None

    def where(self, row: int) -> str:
        """How messages name the row at position ``row``: rows of data count from 1."""
        line = f" (line {self.lines[row]})" if self.lines else ""
        return f"{self.file}: row {row + 1}{line}"


def read(file: Path, required: Sequence[str], optional: Sequence[str]) -> Columns:
    """Read a .csv or .parquet file; other columns than those named are passed over.

    Raises:
        DataError: the file is missing, damaged, not UTF-8, ragged, or lacks a required column.
    """
    if not file.is_file():
        raise DataError(f"{file}: no such file; correct dataset.pool, dataset.test or dataset.root")
    wanted = [*required, *optional]
    if file.suffix.lower() == ".csv":
        return _read_csv(file, required, wanted)
    if file.suffix.lower() == ".parquet":
        return _read_parquet(file, required, wanted)
    raise DataError(f"{file}: a manifest is a .csv or a .parquet file")


def _check_header(file: Path, header: Sequence[str], required: Sequence[str], wanted: Sequence[str]) -> None:
    shown = ", ".join(repr(name) for name in header)
    for name in wanted:
        if header.count(name) > 1:
            raise DataError(f"{file}: column {name!r} stands twice; keep one")
    for name in required:
        if name not in header:
            raise DataError(f"{file}: no column {name!r}; it has {shown}")


def _read_csv(file: Path, required: Sequence[str], wanted: Sequence[str]) -> Columns:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{file}: row {line - 1} (line {line}): not UTF-8; save the file as UTF-8") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        header = next(reader, None)
        if header is None:
            raise DataError(f"{file}: empty; its first line must name the columns")
        _check_header(file, header, required, wanted)
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise DataError(
                    f"{file}: row {len(rows) + 1} (line {reader.line_num}): {len(row)} fields where the header has "
                    f"{len(header)}; the row is cut short or a comma is not quoted"
                )
            rows.append(row)
            lines.append(reader.line_num)
    except csv.Error as error:
        raise DataError(
            f"{file}: row {len(rows) + 1} (line {reader.line_num}): not valid CSV ({error}); correct it"
        ) from None
    values = {name: [row[header.index(name)] for row in rows] for name in wanted if name in header}
    return Columns(file, {name: list(column) for name, column in values.items()}, lines)


def _read_parquet(file: Path, required: Sequence[str], wanted: Sequence[str]) -> Columns:
    try:
        # Opened by hand: a stream cannot be taken for a folder of partitions.
        with file.open("rb") as stream:
            parquet = pq.ParquetFile(stream)
            header = parquet.schema_arrow.names
            _check_header(file, header, required, wanted)
            table = parquet.read(columns=[name for name in wanted if name in header])
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{file}: not a readable Parquet file ({reason}); write it anew") from None
    values = {name: _text(file, name, table[name].combine_chunks()) for name in table.column_names}
    return Columns(file, values, None)


def _text(file: Path, name: str, column: pa.Array) -> list[str | None]:
    try:
        if pa.types.is_floating(column.type):
            # pandas stores whole numbers with gaps as floats; class 1 must not become 1.0.
            column = pc.cast(pc.if_else(pc.is_nan(column), None, column), pa.int64())
        column = pc.cast(column, pa.string())
        column.validate(full=True)
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{file}: column {name!r} cannot be read as text ({reason}); store it as strings") from None
    values: list[str | None] = column.to_pylist()
    return values
