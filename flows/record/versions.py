"""The files of each finished round as versions in DVC.

The loop runs the stages in its own process; DVC is told afterwards what they read and wrote, as `dvc commit` does, and
then finds nothing to do. DVC runs inside our process: as a command of its own it takes several times as long. It
copies outputs into its cache and leaves those of the workspace untouched, and dvc.lock is replaced in one rename, so a
process that dies here loses nothing.
"""

import contextlib
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from flows.record import dvc_lock
from tasks import stages
from tasks.errors import RecordError, WorkspaceError
from tasks.rounds import Workspace

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def check(workspace: Workspace, needed: Sequence[str] = ()) -> None:
    """Refuse a workspace without DVC, or whose dvc.yaml lacks stages that a loop needs.

    Args:
        needed: names of stages that an earlier release's dvc.yaml may lack.

    Raises:
        WorkspaceError: there is no .dvc folder, or a stage is missing.
    """
    if not (workspace.root / ".dvc").is_dir():
        raise WorkspaceError(
            f"{workspace.root}: not under DVC (no .dvc folder); make a workspace with `frugal init DIR`, "
            "or set record.dvc=false"
        )
    path = workspace.root / "dvc.yaml"
    known = yaml.safe_load(path.read_text(encoding="utf-8")) if needed else {}
    for name in needed:
        if name not in (known or {}).get("stages", {}):
            raise WorkspaceError(
                f"{path}: has no stage {name}, which a loop with a proxy needs: it is of an earlier release; make a "
                "new workspace with `frugal init DIR`, or set record.dvc=false"
            )


def check_output(workspace: Workspace, stage: str, name: str) -> None:
    """Refuse a workspace whose dvc.yaml, which an earlier release made, would lose an output that later rounds need.

    Raises:
        WorkspaceError: the stage does not name the output.
    """
    path = workspace.root / "dvc.yaml"
    known = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("stages", {})
    if not any(str(out).endswith(f"/{name}") for out in known.get(stage, {}).get("do", {}).get("outs", ())):
        raise WorkspaceError(
            f"{path}: stage {stage} has no {name}, by which select.strategy chooses: it is of an earlier release; make "
            "a new workspace with `frugal init DIR`, or set record.dvc=false"
        )


def commit(workspace: Workspace, round_: int) -> None:
    """Put the outputs of a round's finished stages into DVC's cache and their digests into dvc.lock.

    The working directory is the workspace for as long as it takes: DVC needs that.

    Raises:
        RecordError: DVC refuses, or another DVC process holds the workspace.
    """
    with quiet_dvc():
        from dvc.exceptions import DvcException
        from dvc.rwlock import RWLockFileCorruptedError
        from dvc.scm import SCMError

        names = stage_names(workspace, round_)
        try:
            try:
                _commit(workspace, names)
            except RWLockFileCorruptedError:
                # Left half written by a DVC process that was killed; DVC's own lock keeps the living apart.
                (workspace.root / ".dvc" / "tmp" / "rwlock").unlink(missing_ok=True)
                _commit(workspace, names)
        except (DvcException, SCMError, OSError) as error:
            raise RecordError(
                f"{workspace.root}: DVC could not record round {round_:03d}: {reason(error)}; "
                "mend it and run the same command again"
            ) from error


def is_recorded(workspace: Workspace, round_: int) -> bool:
    """Whether dvc.lock holds every finished stage of the round, with the outputs that the workspace's dvc.yaml names.

    Raises:
        RecordError: dvc.lock is damaged.
    """
    locked = _locked(workspace, round_)
    for name in stage_names(workspace, round_):
        stage = stages.BY_NAME[name.partition("@")[0]]
        outputs = stage.paths(workspace, round_, stage.outs + stage.metrics)
        recorded = {out["path"] for out in locked.get(name, {}).get("outs", ())}
        # The dvc.yaml that an earlier release made names fewer of them.
        if not recorded or not recorded <= outputs.keys():
            return False
    return True


def md5s(workspace: Workspace, round_: int) -> dict[str, str]:
    """The MD5 digests that DVC has recorded of the round's outputs, by path inside the workspace.

    Raises:
        RecordError: dvc.lock is damaged.
    """
    return {out["path"]: out["md5"] for entry in _locked(workspace, round_).values() for out in entry["outs"]}


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


def reason(error: Exception) -> str:
    """The first line of what DVC says, without colours."""
    lines = _COLOURS.sub("", str(error)).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def size(workspace: Workspace, round_: int) -> int:
    """Bytes of the round's outputs, as DVC has recorded them.

    Raises:
        RecordError: dvc.lock is damaged.
    """
    return sum(out.get("size", 0) for entry in _locked(workspace, round_).values() for out in entry["outs"])


def stage_names(workspace: Workspace, round_: int) -> list[str]:
    """The stages of a round as dvc.lock names them; of round 000 the pool's as well."""
    names = [f"{stage.name}@{round_:03d}" for stage in stages.wanted(workspace, round_)]
    return names if round_ else [stages.POOL.name, *names]


def _commit(workspace: Workspace, names: list[str]) -> None:
    """What `dvc commit --force` does, for several stages at once."""
    from dvc.dvcfile import load_file
    from dvc.repo import Repo, lock_repo
    from dvc.stage.serialize import to_lockfile

    lock = workspace.root / "dvc.lock"
    with contextlib.chdir(workspace.root), Repo() as repo, lock_repo(repo):
        dvc_lock.stages(lock, names)  # damaged? DVC itself does not look into it below
        project = load_file(repo, "dvc.yaml")
        # Each stage is saved anew from its files. What dvc.lock holds of it is not wanted, and DVC's parser takes
        # time for every round in it; so a fresh project is told that there is none.
        project.__dict__["lockfile_contents"] = {}
        entries: dict[str, Any] = {}
        for name in names:
            stage = project.stages[name]
            stage.save()
            stage.commit(relink=False)
            entries |= to_lockfile(stage)
        dvc_lock.put(lock, entries)


def _locked(workspace: Workspace, round_: int) -> Mapping[str, Any]:
    return dvc_lock.stages(workspace.root / "dvc.lock", stage_names(workspace, round_))
