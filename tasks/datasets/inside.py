"""A folder that no path may leave, whatever a manifest or a symbolic link says."""

# Strings, for a million files: a Path object for each of them would double the time.
# ruff: noqa: PTH113, PTH114, PTH117, PTH118

import os
from collections.abc import Sequence
from pathlib import Path

from tasks.config import DatasetConfig
from tasks.errors import DataError


class Inside:
    """Turns paths relative to a folder into real ones; remembers folders, so that each costs one look."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._real = os.path.realpath(root)
        self._parents: dict[str, str] = {}

    def locate(self, relative: str, where: str) -> str:
        """The real path of ``relative``; ``where`` names its origin in messages. It need not exist.

        Raises:
            DataError: the path is absolute, leaves the folder (also by a link), or cannot be a path.
        """
        if "\0" in relative or not _is_utf8(relative):
            raise DataError(f"{where}: path {relative!r} is not valid UTF-8 text without NUL; rename the file")
        if os.path.isabs(relative):
            raise DataError(f"{where}: path {relative!r} is absolute; write it relative to {self.root}")
        real = self._resolve(os.path.join(self._real, relative))
        if real != self._real and not real.startswith(os.path.join(self._real, "")):
            raise DataError(f"{where}: path {relative!r} leads out of {self.root}; put the file inside")
        return real

    def file(self, relative: str, where: str) -> str:
        """Like ``locate``, for a file that must be there.

        Raises:
            DataError: as ``locate``, or there is no such file.
        """
        real = self.locate(relative, where)
        if not os.path.isfile(real):
            raise DataError(f"{where}: no file {relative!r} in {self.root}; restore it or correct the path")
        return real

    def _resolve(self, full: str) -> str:
        parent, name = os.path.split(full)
        if name in ("", ".", ".."):
            return os.path.realpath(full)
        if parent not in self._parents:
            self._parents[parent] = os.path.realpath(parent)
        candidate = os.path.join(self._parents[parent], name)
        return os.path.realpath(candidate) if os.path.islink(candidate) else candidate


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def find_root(config: DatasetConfig, places: Sequence[Path], names: Sequence[str]) -> Inside:
    """The first place that holds one of ``names``; only dataset.root is looked at where it is given.

    Raises:
        DataError: none does.
    """
    candidates = places if config.root is None else places[:1]
    for place in candidates:
        if any(os.path.lexists(place / name) for name in names):
            return Inside(place)
    looked = ", ".join(str(place) for place in candidates)
    raise DataError(
        f"{config.name}: no {' or '.join(names)} in {looked}; set dataset.root to the folder that holds it, "
        "or name it with dataset.pool"
    )
