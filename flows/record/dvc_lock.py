"""dvc.lock, read quickly and written whole or not at all.

DVC rewrites the file in place, and through a parser in pure Python that takes seconds once there are dozens of rounds.
A stage's entry is a block of lines; here it is replaced or appended, in the bytes that DVC itself would write.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from tasks import files
from tasks.errors import RecordError

_HEADER = "schema: '2.0'\nstages:\n"
_ENTRY = re.compile(r"^  (?=[^\s-])", re.MULTILINE)


def stages(path: Path) -> Mapping[str, Any]:
    """The recorded stages by name; none before the first commit.

    Raises:
        RecordError: the file is damaged.
    """
    if not path.exists():
        return {}
    status = path.stat()
    return _stages(path, status.st_ino, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4)
def _stages(path: Path, inode: int, mtime_ns: int, size: int) -> Mapping[str, Any]:
    try:
        document = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
        found = document["stages"]
        if isinstance(found, dict) and all(isinstance(entry, dict) for entry in found.values()):
            return found
    except (yaml.YAMLError, KeyError, TypeError):
        pass
    raise RecordError(f"{path}: damaged; restore it with `git checkout -- dvc.lock` and run the same command again")


def put(path: Path, entries: Mapping[str, Any]) -> None:
    """Replace or append the entries of stages, in one atomic write; nothing is written if nothing changes."""
    before = path.read_text(encoding="utf-8") if path.exists() else _HEADER
    after = _spliced(before, entries) if _is_plain(before) else _merged(before, entries, path)
    if not path.exists() or after != before:
        files.write_bytes(path, after.encode())


def _is_plain(text: str) -> bool:
    body = text.removeprefix(_HEADER)
    return text.startswith(_HEADER) and text.endswith("\n") and all(line.startswith("  ") for line in body.splitlines())


def _spliced(text: str, entries: Mapping[str, Any]) -> str:
    blocks = {}
    for block in _ENTRY.split(text.removeprefix(_HEADER))[1:]:
        blocks[block.partition(":\n")[0]] = f"  {block}"
    for name, entry in entries.items():
        blocks[name] = _dumps({"stages": {name: entry}}).removeprefix("stages:\n")
    return _HEADER + "".join(blocks.values())


def _merged(text: str, entries: Mapping[str, Any], path: Path) -> str:
    """The slow way, for a file that somebody has written in another style."""
    from dvc.utils.serialize import parse_yaml_for_update

    document = parse_yaml_for_update(text, str(path))
    document.setdefault("stages", {}).update(entries)
    return _dumps(document)


def _dumps(document: Mapping[str, Any]) -> str:
    from dvc.utils.serialize._yaml import dumps_yaml

    return str(dumps_yaml(document))
