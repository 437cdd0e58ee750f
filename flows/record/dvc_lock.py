"""dvc.lock, read quickly and written whole or not at all.

DVC rewrites the file in place, and through a parser in pure Python that takes seconds once there are dozens of rounds.
A stage's entry is a block of lines; here it is replaced or appended, in the bytes that DVC itself would write.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from tasks import files
from tasks.errors import RecordError

_HEADER = "schema: '2.0'\nstages:\n"
_ENTRY = re.compile(r"^  (?=[^\s-])", re.MULTILINE)
#: A line that is neither `key:`, `key: value` nor `- item` inside an entry: folded text, or damage.
_ODD = re.compile(r"^(?!  .*:(?: |$)|  +- |\Z)", re.MULTILINE)


def stages(path: Path, names: Iterable[str] | None = None) -> Mapping[str, Any]:
    """The recorded ones of the named stages, or of all, by name; none before the first commit.

    Of a file as DVC writes it only the named entries are parsed: the time does not grow with the rounds.

    Raises:
        RecordError: the file is damaged.
    """
    if not path.exists():
        return {}
    try:
        text = path.read_text(encoding="utf-8")
        if names is None or not _is_plain(text) or _ODD.search(text, len(_HEADER)):
            found = _parsed(text)
            return found if names is None else {name: found[name] for name in names if name in found}
        blocks = _blocks(text)
        return _parsed(_HEADER + ("".join(blocks[name] for name in names if name in blocks) or "  {}\n"))
    except (yaml.YAMLError, KeyError, TypeError, ValueError):
        raise RecordError(
            f"{path}: damaged; restore it with `git checkout -- dvc.lock` and run the same command again"
        ) from None


@lru_cache(maxsize=4)
def _parsed(text: str) -> Mapping[str, Any]:
    found = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["stages"]  # noqa: S506
    if not isinstance(found, dict) or not all(isinstance(entry, dict) for entry in found.values()):
        raise TypeError
    return found


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
    blocks = _blocks(text)
    for name, entry in entries.items():
        blocks[name] = _dumps({"stages": {name: entry}}).removeprefix("stages:\n")
    return _HEADER + "".join(blocks.values())


def _blocks(text: str) -> dict[str, str]:
    """The lines of each entry by its name, in the file's order."""
    found = _ENTRY.split(text.removeprefix(_HEADER))[1:]
    return {block.partition(":\n")[0]: f"  {block}" for block in found}


def _merged(text: str, entries: Mapping[str, Any], path: Path) -> str:
    """The slow way, for a file that somebody has written in another style."""
    from dvc.utils.serialize import parse_yaml_for_update

    document = parse_yaml_for_update(text, str(path))
    document.setdefault("stages", {}).update(entries)
    return _dumps(document)


def _dumps(document: Mapping[str, Any]) -> str:
    from dvc.utils.serialize._yaml import dumps_yaml

    return str(dumps_yaml(document))
