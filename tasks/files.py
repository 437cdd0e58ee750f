"""Files written whole or not at all, and their digests."""

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.errors import ConfigError, DataError, DiskFullError

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def disk_space_checked(path: Path) -> Iterator[None]:
    """Turn "no space left" from the block into DiskFullError naming ``path``.

    Raises:
        DiskFullError: the device or the quota is exhausted.
    """
    try:
        yield
    except Exception as error:
        # safetensors has an error class of its own, without a number; the text is all there is.
        if getattr(error, "errno", None) in _NO_SPACE or "No space left" in str(error):
            raise DiskFullError(
                f"{path}: no space left on the device; free some and run the same command again"
            ) from error
        raise


def check_folder(folder: Path, what: str) -> None:
    """Refuse to put ``what`` into something that is no folder.

    Raises:
        ConfigError: ``folder`` is there, and is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: is a file; name a folder for {what}")


def write_atomic(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, flush it to disk, then rename it into place.

    Raises:
        DiskFullError: there is no room; ``path`` is as it was and no temporary file is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with disk_space_checked(path):
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            write(temporary)
            temporary.chmod(0o644)
            _flush(temporary)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    _flush(path.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` atomically."""

    def write(target: Path) -> None:
        target.write_bytes(content)

    write_atomic(path, write)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` atomically as indented JSON with a stable byte form; NaN and infinity are refused."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_bytes(path, (text + "\n").encode())


def read_json(path: Path) -> Any:
    """Parse a JSON file.

    Raises:
        DataError: the file is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: missing; restore it with `dvc checkout` or `git checkout`") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not valid JSON ({error}); restore it with `dvc checkout` or `git checkout`") from None


def read_object(path: Path, *keys: str) -> dict[str, Any]:
    """Parse a JSON file that holds an object with at least ``keys``.

    Raises:
        DataError: it is missing, not JSON, or holds something else.
    """
    value = read_json(path)
    if not isinstance(value, dict) or not all(key in value for key in keys):
        raise DataError(f"{path}: not what the loop writes; restore it with `git checkout` or `dvc checkout`")
    return value


def read_objects(path: Path, *keys: str) -> list[dict[str, Any]]:
    """Parse a JSON-lines file, each of whose lines holds an object with at least ``keys``.

    Raises:
        DataError: it is missing, or holds something else.
    """
    try:
        found = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    except FileNotFoundError:
        raise DataError(f"{path}: missing; restore it with `dvc checkout`") from None
    except ValueError:
        found = [None]  # as good as no object
    if not all(isinstance(one, dict) and all(key in one for key in keys) for one in found):
        raise DataError(f"{path}: damaged; restore it with `dvc checkout`")
    return found


def write_table(path: Path, table: pa.Table) -> None:
    """Write an Arrow table atomically as Parquet; equal tables give equal bytes."""

    def write(target: Path) -> None:
        pq.write_table(table, target, compression="zstd")

    write_atomic(path, write)


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read a Parquet file, or only the named columns of it.

    Raises:
        DataError: the file is missing, damaged, or lacks a column.
    """
    try:
        return pq.read_table(path, columns=columns, partitioning=None)
    except FileNotFoundError:
        raise DataError(f"{path}: missing; restore it with `dvc checkout`") from None
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: not a readable Parquet file ({reason}); restore it with `dvc checkout`") from None


def count_rows(path: Path) -> int:
    """Number of rows of a Parquet file.

    Raises:
        DataError: the file is missing or damaged.
    """
    return int(_metadata(path).num_rows)


def column_names(path: Path) -> list[str]:
    """The columns of a Parquet file.

    Raises:
        DataError: the file is missing or damaged.
    """
    return list(_metadata(path).schema.to_arrow_schema().names)


def _metadata(path: Path) -> Any:
    try:
        return pq.read_metadata(path)
    except FileNotFoundError:
        raise DataError(f"{path}: missing; restore it with `dvc checkout`") from None
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: not a readable Parquet file ({reason}); restore it with `dvc checkout`") from None


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal; a file that has not changed is read once per process."""
    status = path.stat()
    return _digest(path, status.st_ino, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4096)
def _digest(path: Path, inode: int, mtime_ns: int, size: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_value(value: Any) -> str:
    """SHA-256 of a JSON value's canonical text, in hexadecimal."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()
