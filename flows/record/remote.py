"""Finished rounds in DVC's default remote.

A file beside DVC's cache says which rounds the remote has taken, and which remote it was. It belongs to this machine,
as the cache does, and may be lost at any time: then all rounds are offered again, and DVC sends only what the remote
does not have. Asking the remote for every round each time would take longer the more rounds there are.

DVC runs as a process of its own here: a remote that hangs can then be given up.
"""

import hashlib
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows.masked import masked
from flows.record import versions
from tasks import files
from tasks.errors import RecordError, WorkspaceError
from tasks.rounds import Workspace

#: Seconds for which a remote that was away is not asked again.
_AWAY_S = 600.0
#: How long a push may take: so many seconds, and one more for so many bytes.
_LIMIT_S, _BYTES_A_SECOND = 120.0, 250_000

#: When a remote was found away, and what was said, by its address.
_away: dict[str, tuple[float, str]] = {}


def check(workspace: Workspace) -> None:
    """Refuse a workspace whose rounds are to be pushed and that has nowhere to push them.

    Raises:
        WorkspaceError: DVC has no default remote there.
    """
    _address(workspace)


def missing(workspace: Workspace, finished: Sequence[int]) -> list[int]:
    """The recorded rounds after the last one that the remote has taken as it is now: they are pushed in order.

    Raises:
        RecordError: dvc.lock is damaged.
        WorkspaceError: DVC has no default remote.
    """
    taken = _taken(workspace, _address(workspace))
    found: list[int] = []
    for number in reversed(finished):
        if taken.get(f"{number:03d}") == _content(workspace, number):
            break
        found.insert(0, number)
    return found


def push(workspace: Workspace, rounds: Sequence[int]) -> None:
    """Send the files of recorded rounds to the default remote.

    Raises:
        RecordError: the remote is away or refuses; the next call goes on from there.
        WorkspaceError: DVC has no default remote.
    """
    if not rounds:
        return
    address = _address(workspace)
    when, reason = _away.get(address, (-math.inf, ""))
    if time.monotonic() - when < _AWAY_S:
        raise _refused(workspace, reason)
    # Of many rounds DVC finds the files faster if it is asked for all.
    targets = versions.stage_names(workspace, rounds[0]) if len(rounds) == 1 else []
    if reason := _pushed(workspace, targets, sum(versions.size(workspace, number) for number in rounds)):
        _away[address] = time.monotonic(), reason
        raise _refused(workspace, reason)
    _away.pop(address, None)
    taken = _taken(workspace, address) | {f"{number:03d}": _content(workspace, number) for number in rounds}
    files.write_json(_file(workspace), {"remote": address, "rounds": taken})


def _pushed(workspace: Workspace, targets: Sequence[str], size: int) -> str:
    """Why DVC could not push, in one line; empty if it did."""
    command = [sys.executable, "-m", "dvc", "push", "--quiet", *targets]
    limit = _LIMIT_S + size / _BYTES_A_SECOND
    try:
        done = subprocess.run(
            command,
            cwd=workspace.root,
            env={**os.environ, "DVC_NO_ANALYTICS": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no end after {limit:.0f} s"
    if done.returncode == 0:
        return ""
    lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")] or [f"exit {done.returncode}"]
    return masked(versions.reason(Exception(lines[0].removeprefix("ERROR: "))))


def _refused(workspace: Workspace, reason: str) -> RecordError:
    return RecordError(
        f"{workspace.root}: DVC's remote did not take the files: {reason}; they are unharmed, and the next run pushes "
        "them"
    )


def _content(workspace: Workspace, round_: int) -> str:
    """What tells two states of a round apart."""
    digests = json.dumps(versions.md5s(workspace, round_), sort_keys=True)
    return hashlib.sha256(digests.encode()).hexdigest()


def _taken(workspace: Workspace, address: str) -> dict[str, str]:
    path = _file(workspace)
    if not path.exists():
        return {}
    try:
        kept: dict[str, Any] = json.loads(path.read_bytes())
        return dict(kept["rounds"]) if kept["remote"] == address else {}
    except (ValueError, KeyError, TypeError):
        # Whatever it is, the remote knows better.
        return {}


def _file(workspace: Workspace) -> Path:
    return workspace.root / ".dvc" / "tmp" / "frugal-pushed.json"


def _address(workspace: Workspace) -> str:
    """Name and place of the default remote, without what may be secret."""
    with versions.quiet_dvc():
        from dvc.config import Config, ConfigError

        try:
            found = Config(str(workspace.root / ".dvc"))
            name = found["core"].get("remote")
            place = found["remote"][name]["url"] if name else None
        except (ConfigError, KeyError) as error:
            raise WorkspaceError(f"{workspace.root}/.dvc/config: {versions.reason(error)}") from error
    if place is None:
        raise WorkspaceError(
            f"{workspace.root}: record.push needs a default remote of DVC; name one with `dvc remote add -d store URL`"
        )
    return masked(f"{name} {place}")
