"""Columns of Parquet files, of whatever type they are stored."""

from collections.abc import Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.errors import DataError

_TEXTS = (pa.string(), pa.string_view())
_BYTES = (pa.binary(), pa.binary_view())


def read(file: Path, wanted: Collection[str] | None) -> tuple[list[str], dict[str, pa.Array], None]:
    """The names of all columns, and the wanted ones (None: all); a file of this kind has no lines.

    Texts come as large_string and bytes as large_binary, of which there may be more than 2 GiB; neither has been
    checked.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        # Opened by hand: a stream cannot be taken for a folder of partitions.
        with file.open("rb") as stream:
            parquet = pq.ParquetFile(stream)
            header = parquet.schema_arrow.names
            table = parquet.read(columns=[name for name in header if wanted is None or name in wanted])
            columns = {name: _whole(column) for name, column in zip(table.column_names, table.columns, strict=True)}
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{file}: not a readable Parquet file ({reason}); write it anew") from None
    return list(header), columns, None


def _whole(column: pa.ChunkedArray) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if column.type in _TEXTS:
        column = column.cast(pa.large_string())
    if column.type in _BYTES:
        column = column.cast(pa.large_binary())
    return column.combine_chunks()
