"""Folders for work in progress that no killed process leaves behind for long."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tasks.files import disk_space_checked


@contextlib.contextmanager
def scratch(parent: Path, prefix: str) -> Iterator[Path]:
    """A new folder inside ``parent``, removed at the end unless the block renamed it; so are parents made for it.

    Folders of the same prefix that a killed process left are removed first.

    Raises:
        DiskFullError: the block ran out of space.
    """
    made = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    with disk_space_checked(parent):
        parent.mkdir(parents=True, exist_ok=True)
        _sweep(parent, prefix)
        folder, descriptor = _claim(parent, prefix)
        try:
            yield folder
        finally:
            if folder.exists():
                shutil.rmtree(folder)
            os.close(descriptor)
            for empty in (path for path in made if path.is_dir() and not any(path.iterdir())):
                empty.rmdir()


def _claim(parent: Path, prefix: str) -> tuple[Path, int]:
    # The kernel drops the lock when we die, however we die: a folder without one is nobody's.
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        with contextlib.suppress(FileNotFoundError):  # swept by another process before it was locked: make another
            descriptor = os.open(folder, os.O_RDONLY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if folder.exists():
                return folder, descriptor
            os.close(descriptor)


def _sweep(parent: Path, prefix: str) -> None:
    for folder in parent.glob(f"{prefix}*"):
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            continue  # another process swept it first; a plain file of that name is not ours
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
        except BlockingIOError:
            continue  # its owner is alive
        finally:
            os.close(descriptor)
