"""A new workspace: its configuration, git, DVC and what they ignore."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.record import git
from flows.record.versions import quiet_dvc, reason
from tasks import files
from tasks.errors import RecordError, WorkspaceError
from tasks.rounds import Workspace, sync_rounds_file

_GITIGNORE = """\
# MLflow's database and files; the record is made anew from the rounds.
/mlflow.db*
/mlartifacts/
/mlruns/
# Comparisons: kept where somebody wants them kept.
/comparisons/
# The report is made anew from the rounds.
/report/
# What `frugal replay` wrote; the same command writes it again.
/replay/
# What `dvc plots show` writes.
/dvc_plots/
# Half-written files of killed processes.
*.tmp
__pycache__/
"""

_DVCIGNORE = """\
# Folders that DVC need not walk through.
/data/raw
/mlartifacts
/mlruns
*.tmp
"""

_DVC_CONFIG = """\
[core]
    analytics = false
    check_update = false
    autostage = true
"""

#: Complete, about to be moved into place; and still being made.
_READY, _MAKING = ".frugal-init", ".frugal-init.tmp"


def init(directory: Path) -> None:
    """Make ``directory`` a workspace with its first commit; one that is a workspace already is left as it is.

    It is made in a hidden folder inside and moved into place with dvc.yaml last, so what was cut short anywhere is
    no workspace yet, and the same command completes it.

    Raises:
        WorkspaceError: the directory holds other files, is no directory, or is being made by another process.
        RecordError: git or DVC refuses.
    """
    if is_workspace(directory):
        return
    if directory.exists() and not directory.is_dir():
        raise WorkspaceError(f"{directory}: is a file; name a folder that is new or empty")
    if directory.is_dir() and not _resumable(directory):
        raise WorkspaceError(f"{directory}: holds other files; name a folder that is new or empty")
    with files.disk_space_checked(directory):
        directory.mkdir(parents=True, exist_ok=True)
        with _alone(directory):
            if not (directory / _READY).exists():
                shutil.rmtree(directory / _MAKING, ignore_errors=True)
                _make(Workspace((directory / _MAKING).resolve()))
                (directory / _MAKING).rename(directory / _READY)
            _move_up(directory)


def is_workspace(directory: Path) -> bool:
    """Whether everything that `frugal init` makes is there."""
    return all((directory / name).exists() for name in (".git", ".dvc", "conf", "dvc.yaml"))


def _resumable(directory: Path) -> bool:
    names = {path.name for path in directory.iterdir()}
    return _READY in names or names <= {_MAKING}


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise WorkspaceError(f"{directory}: another process makes a workspace here; wait for it") from None
    finally:
        os.close(handle)


def _make(workspace: Workspace) -> None:
    shipped = template()
    workspace.root.mkdir()
    ignored = shutil.ignore_patterns("rounds.yaml", "__pycache__", ".*")
    shutil.copytree(shipped / "conf", workspace.root / "conf", ignore=ignored)
    (workspace.root / "data").mkdir()
    for name in ("dvc.yaml", "data/.gitignore"):
        shutil.copyfile(shipped / name, workspace.root / name)
    sync_rounds_file(workspace)
    _write(workspace, {".gitignore": _GITIGNORE})
    _git_init(workspace)
    _dvc_init(workspace)
    _write(workspace, {".dvcignore": _DVCIGNORE, ".dvc/config": _DVC_CONFIG})
    git.commit_all(workspace, "frugal init")


def template() -> Path:
    """Where conf/, data/ and dvc.yaml of a new workspace lie: in an installed package, or at the top of a checkout."""
    here = Path(__file__).resolve().parent
    return here / "template" if (here / "template").is_dir() else here.parent


def _write(workspace: Workspace, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        files.write_bytes(workspace.root / name, text.encode())


def _git_init(workspace: Workspace) -> None:
    try:
        git.run(workspace, "init", "--quiet", "--initial-branch=main")
    except FileNotFoundError:
        raise WorkspaceError("git: not installed; a workspace needs it") from None


def _dvc_init(workspace: Workspace) -> None:
    with quiet_dvc():
        from dvc.exceptions import DvcException
        from dvc.repo import Repo
        from dvc.scm import SCMError

        try:
            Repo.init(root_dir=str(workspace.root)).close()
        except (DvcException, SCMError) as error:
            raise RecordError(f"{workspace.root}: DVC could not be set up: {reason(error)}") from error
    shutil.rmtree(workspace.root / ".dvc" / "tmp", ignore_errors=True)


def _move_up(directory: Path) -> None:
    made = directory / _READY
    for path in sorted(made.iterdir(), key=lambda item: item.name == "dvc.yaml"):
        path.rename(directory / path.name)
    made.rmdir()
