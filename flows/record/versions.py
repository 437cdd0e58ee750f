"""The files of each finished round as versions in DVC.

The loop runs the stages in its own process; DVC is told afterwards what they read and wrote, as `dvc commit` does, and
then finds nothing to do. DVC runs inside our process: as a command of its own it takes three times as long. It copies
outputs into its cache and leaves those of the workspace untouched, so a process that dies here loses nothing; only
dvc.lock is not written atomically by DVC, and is therefore kept aside until the commit is through.
"""

import contextlib
import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from flows.record import git
from tasks import files, stages
from tasks.errors import RecordError, WorkspaceError
from tasks.rounds import Workspace, goes_on

_BACKUP = "frugal-loop-dvc.lock"


def check(workspace: Workspace) -> None:
    """Refuse a workspace without DVC.

    Raises:
        WorkspaceError: there is no .dvc folder.
    """
    if not (workspace.root / ".dvc").is_dir():
        raise WorkspaceError(
            f"{workspace.root}: not under DVC (no .dvc folder); make a workspace with `frugal init DIR`, "
            "or set record.dvc=false"
        )


def commit(workspace: Workspace, round_: int) -> None:
    """Put the outputs of a round's finished stages into DVC's cache and their digests into dvc.lock.

    Raises:
        RecordError: DVC refuses, or another DVC process holds the workspace.
    """
    names = _stage_names(workspace, round_)
    _mend(workspace)
    backup = _backup(workspace)
    with quiet_dvc():
        from dvc.exceptions import DvcException
        from dvc.scm import SCMError

        try:
            files.write_bytes(backup, lock_bytes(workspace))
            _commit(workspace, names)
        except (DvcException, SCMError, OSError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise RecordError(
                f"{workspace.root}: DVC could not record round {round_:03d}: {reason}; mend it and run the same command again"
            ) from error
    backup.unlink()


def is_recorded(workspace: Workspace, round_: int) -> bool:
    """Whether dvc.lock holds every finished stage of the round with all of its outputs."""
    locked = _locked(workspace)
    for name in _stage_names(workspace, round_):
        stage = stages.BY_NAME[name.partition("@")[0]]
        outputs = stage.paths(workspace, round_, stage.outs + stage.metrics)
        if outputs.keys() != {out["path"] for out in locked.get(name, {}).get("outs", ())}:
            return False
    return True


def md5s(workspace: Workspace, round_: int) -> dict[str, str]:
    """The MD5 digests that DVC has recorded of the round's outputs, by path inside the workspace."""
    locked = _locked(workspace)
    names = [name for name in _stage_names(workspace, round_) if name in locked]
    return {out["path"]: out["md5"] for name in names for out in locked[name]["outs"]}


def lock_bytes(workspace: Workspace, commit: str | None = None) -> bytes:
    """dvc.lock as a git commit holds it, or as it is now; empty if there is none."""
    if commit is not None:
        return git.run(workspace, "show", f"{commit}:dvc.lock").encode()
    path = _lock_file(workspace)
    return path.read_bytes() if path.exists() else b""


@contextlib.contextmanager
def quiet_dvc() -> Iterator[None]:
    """Use DVC as a library: no output, no analytics, and the process's streams and log levels as they were."""
    streams = sys.stdout, sys.stderr
    os.environ.setdefault("DVC_NO_ANALYTICS", "1")
    try:
        # Its first import wraps the standard streams to filter colours out.
        from dvc.logger import set_loggers_level
    finally:
        sys.stdout, sys.stderr = streams
    with set_loggers_level(logging.CRITICAL):
        yield


def _stage_names(workspace: Workspace, round_: int) -> list[str]:
    finished = stages.ROUND_STAGES if goes_on(workspace, round_) else stages.ROUND_STAGES[:-1]
    names = [f"{stage.name}@{round_:03d}" for stage in finished]
    return names if round_ else [stages.POOL.name, *names]


def _commit(workspace: Workspace, names: list[str]) -> None:
    from dvc.repo import Repo

    # DVC takes parts of a stage's paths relative to the working directory, whatever its root.
    with contextlib.chdir(workspace.root), Repo() as repo:
        for name in names:
            repo.commit(name, force=True, relink=False)


def _backup(workspace: Workspace) -> Path:
    return workspace.root / ".dvc" / "tmp" / _BACKUP


def _lock_file(workspace: Workspace) -> Path:
    return workspace.root / "dvc.lock"


def _mend(workspace: Workspace) -> None:
    """Undo what a commit of ours that was killed has half written."""
    backup = _backup(workspace)
    if not backup.exists():
        return
    before = _parse(backup.read_bytes())
    now = _parse(lock_bytes(workspace))
    if now is None or (before is not None and before.keys() - now.keys()):
        files.write_bytes(_lock_file(workspace), backup.read_bytes())
    rwlock = workspace.root / ".dvc" / "tmp" / "rwlock"
    try:
        json.loads(rwlock.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except ValueError:
        rwlock.unlink()


def _locked(workspace: Workspace) -> dict[str, Any]:
    """The stages in dvc.lock.

    Raises:
        RecordError: dvc.lock is damaged.
    """
    locked = _parse(lock_bytes(workspace))
    if locked is None and not _backup(workspace).exists():
        raise RecordError(f"{_lock_file(workspace)}: damaged; restore it with `git checkout -- dvc.lock`")
    return locked or {}


def _parse(content: bytes) -> dict[str, Any] | None:
    """The stages in the bytes of a dvc.lock, or None if it was not written to its end."""
    try:
        document = yaml.load(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - safe loaders
    except yaml.YAMLError:
        return None
    found = (document or {}).get("stages") if isinstance(document or {}, dict) else None
    entries: dict[str, Any] = {} if found is None and not content.strip() else found
    whole = isinstance(entries, dict) and all(_is_whole(entry) for entry in entries.values())
    return entries if whole else None


def _is_whole(entry: Any) -> bool:
    files_of = [*entry.get("deps", ()), *entry.get("outs", ())] if isinstance(entry, dict) else [None]
    return all(isinstance(file, dict) and {"path", "md5", "size"} <= file.keys() for file in files_of)
