import errno
import os
from pathlib import Path

import pyarrow as pa
import pytest

from tasks import files
from tasks.errors import DataError, DiskFullError
from tests.pools import snapshot


def test_failed_write_leaves_old_file_and_no_temporary(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    files.write_json(target, 1)

    def explode(path: Path) -> None:
        path.write_text("half")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        files.write_atomic(target, explode)
    assert snapshot(tmp_path) == {"a.json": b"1\n"}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, number: int) -> None:
    def full(path: Path) -> None:
        path.write_text("half")
        raise OSError(number, os.strerror(number))

    with pytest.raises(DiskFullError, match=r"b\.json: no space left"):
        files.write_atomic(tmp_path / "b.json", full)
    assert snapshot(tmp_path) == {}


def test_full_disk_told_only_in_words_is_recognised(tmp_path: Path) -> None:
    def full(path: Path) -> None:
        path.write_text("half")
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")

    with pytest.raises(DiskFullError, match=r"t\.safetensors: no space left"):
        files.write_atomic(tmp_path / "t.safetensors", full)
    assert snapshot(tmp_path) == {}


def test_equal_tables_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        files.write_table(tmp_path / name, pa.table({"id": ["x", "y"], "score": [0.5, None]}))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_read_only_file_is_replaced_not_edited(tmp_path: Path) -> None:
    target, link = tmp_path / "a.json", tmp_path / "cache"
    files.write_json(target, 1)
    target.chmod(0o444)
    link.hardlink_to(target)
    files.write_json(target, 2)
    assert (target.read_text(), link.read_text()) == ("2\n", "1\n")


@pytest.mark.parametrize("content", [b"", b"PAR1 torn", b"{"])
def test_damaged_files_name_themselves(tmp_path: Path, content: bytes) -> None:
    bad = tmp_path / "bad"
    bad.write_bytes(content)
    with pytest.raises(DataError, match="bad: not a readable Parquet"):
        files.read_table(bad)
    with pytest.raises(DataError, match="bad: not valid JSON"):
        files.read_json(bad)


def test_missing_files_name_themselves(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone: missing"):
        files.read_table(tmp_path / "gone")
    with pytest.raises(DataError, match=r"gone: missing"):
        files.read_json(tmp_path / "gone")


def test_digest_follows_a_replaced_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    digests = []
    for content in (b"one", b"two", b"one"):
        files.write_bytes(path, content)
        digests.append(files.digest(path))
    assert digests[0] == digests[2] != digests[1]


def test_nan_is_refused_in_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "a", float("nan"))
    assert snapshot(tmp_path) == {}
