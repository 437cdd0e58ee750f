"""Bytes of a file, whether or not it is compressed by gzip."""

import contextlib
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from tasks.errors import DataError


@contextlib.contextmanager
def unpacked(file: Path) -> Iterator[IO[bytes]]:
    """Open ``file`` for reading; one whose name ends in .gz is unpacked on the way.

    Raises:
        DataError: it cannot be read, is cut short, or is not what its ending says; also while it is being read.
    """
    try:
        with gzip.open(file) if file.suffix.lower() == ".gz" else file.open("rb") as stream:
            yield cast(IO[bytes], stream)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise DataError(f"{file}: cannot be read ({reason}); write it anew") from None
