"""Each finished round as one git commit of the workspace.

The commits are the loop's own: exactly its files, whatever else the user has staged; no hooks, no signature (a
passphrase prompt would stop the loop), and the configured identity, or "Frugal Loop" where there is none. The caller
holds the workspace (``tasks.rounds.held``), so at most one of us talks to git at a time.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks import files
from tasks.errors import RecordError, WorkspaceError
from tasks.rounds import Workspace

#: What git keeps of a round; DVC keeps the rest.
ROUND_FILES = ("plan.json", "forecast.json", "metrics.json", "cost.json", "decision.json", "target/metrics.json")
#: What every commit of a round brings up to date.
SHARED_FILES = (
    "conf/rounds.yaml",
    "data/loop.json",
    "data/loop_id",
    "data/curve.csv",
    "dvc.lock",
)
#: What `frugal init` makes; part of a round's commit only where nothing was ever committed.
INIT_FILES = (".dvc/.gitignore", ".dvc/config", ".dvcignore", ".gitignore", "conf", "data/.gitignore", "dvc.yaml")

_IDENTITY = ("-c", "user.name=Frugal Loop", "-c", "user.email=frugal-loop@localhost")
_OWN_WAYS = ("-c", "core.hooksPath=/dev/null", "-c", "commit.gpgsign=false", "-c", "gc.auto=0")
_ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR")
_MARKER = "frugal-loop-commit"
#: Seconds that a git process may outlive us with its lock files.
_GRACE_S = 5.0


def check(workspace: Workspace) -> None:
    """Refuse a workspace that is not the top level of a git repository.

    Raises:
        WorkspaceError: there is no repository, a larger one holds the workspace, or git is not installed.
    """
    try:
        top = _git(workspace, "rev-parse", "--show-toplevel")
    except FileNotFoundError:
        raise WorkspaceError("git: not installed; install it, or set record.git=off") from None
    if top.returncode:
        raise WorkspaceError(
            f"{workspace.root}: not under git ({_last_line(top)}); "
            "make a workspace with `frugal init DIR`, or set record.git=off"
        )
    if Path(top.stdout.strip()).resolve() != workspace.root.resolve():
        raise WorkspaceError(
            f"{workspace.root}: lies inside the git repository {top.stdout.strip()}, whose history the loop would "
            "write; make a workspace of its own with `frugal init DIR`, or set record.git=off"
        )


def commit_all(workspace: Workspace, message: str) -> None:
    """Commit what `frugal init` made; nothing happens if it is committed already.

    Raises:
        RecordError: git refuses.
    """
    _commit(workspace, _existing(workspace, INIT_FILES + SHARED_FILES), message)


def commit_round(workspace: Workspace, round_: int, message: str) -> None:
    """Commit a round's files and what goes with them; nothing happens if they are committed already.

    Raises:
        RecordError: git refuses, or another program holds its lock.
    """
    names = _round_names(workspace, round_) + SHARED_FILES
    if head(workspace) is None:
        names += INIT_FILES
    _commit(workspace, _existing(workspace, names), message)


def is_committed(workspace: Workspace, round_: int) -> bool:
    """Whether the last commit holds the round's files as they are now."""
    names = _existing(workspace, _round_names(workspace, round_))
    return bool(names) and not _changed(workspace, names)


def head(workspace: Workspace) -> str | None:
    """The last commit, or None before the first."""
    result = _git(workspace, "rev-parse", "--verify", "--quiet", "HEAD")
    return result.stdout.strip() if result.returncode == 0 else None


def commit_of(workspace: Workspace, round_: int) -> str | None:
    """The last commit that changed the round, or None if none holds it."""
    result = _git(workspace, "log", "-1", "--format=%H", "--", *_round_names(workspace, round_))
    return result.stdout.strip() or None


def file_at(workspace: Workspace, commit: str, name: str) -> bytes:
    """A file as a commit holds it; empty if the commit has none of that name."""
    result = _git(workspace, "show", f"{commit}:{name}")
    return result.stdout.encode() if result.returncode == 0 else b""


def run(workspace: Workspace, *arguments: str, stdin: str | None = None) -> str:
    """What git answers in the workspace.

    Raises:
        RecordError: git refuses; its last line says why.
    """
    result = _git(workspace, *arguments, stdin=stdin)
    if result.returncode:
        raise RecordError(
            f"{workspace.root}: `git {arguments[0]}` failed: {_last_line(result)}; "
            "mend it and run the same command again"
        )
    return result.stdout


def _commit(workspace: Workspace, names: list[str], message: str) -> None:
    git_dir = Path(run(workspace, "rev-parse", "--absolute-git-dir").strip())
    _clear_our_locks(git_dir)
    names = _changed(workspace, names)
    if not names:
        return
    identity = () if _has_identity(workspace) else _IDENTITY
    with _marked(git_dir):
        # --force: the user's own global ignore list may name files of these kinds.
        run(workspace, "add", "--force", "--", *names)
        commit = ("commit", "--quiet", "--only", "--message", message, "--", *names)
        result = _git(workspace, *identity, *_OWN_WAYS, *commit)
    if result.returncode:
        raise RecordError(
            f"{workspace.root}: `git commit` failed: {_last_line(result)}; mend it and run the same command again"
        )


def _has_identity(workspace: Workspace) -> bool:
    # `git var` fails, like `git commit`, where neither the configuration nor the environment names somebody.
    strict = ("-c", "user.useConfigOnly=true")
    return all(
        _git(workspace, *strict, "var", who).returncode == 0 for who in ("GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT")
    )


def _changed(workspace: Workspace, names: list[str]) -> list[str]:
    """Those of the files that the last commit lacks or holds with other bytes."""
    if head(workspace) is None:
        return names
    committed = {}
    for line in run(workspace, "ls-tree", "-r", "-z", "HEAD", "--", *names).split("\0"):
        if line:
            about, _, name = line.partition("\t")
            committed[name] = about.split()[2]
    now = run(workspace, "hash-object", "--stdin-paths", stdin="".join(f"{name}\n" for name in names)).split()
    return [name for name, blob in zip(names, now, strict=True) if committed.get(name) != blob]


def _round_names(workspace: Workspace, round_: int) -> tuple[str, ...]:
    folder = workspace.relative(workspace.round_dir(round_))
    return tuple(f"{folder}/{name}" for name in ROUND_FILES)


def _existing(workspace: Workspace, names: tuple[str, ...]) -> list[str]:
    found = []
    for name in names:
        path = workspace.root / name
        inside = sorted(item for item in path.rglob("*") if item.is_file()) if path.is_dir() else [path]
        found += [workspace.relative(item) for item in inside if item.exists()]
    return sorted(set(found))


@contextmanager
def _marked(git_dir: Path) -> Iterator[None]:
    """Tell a later process that lock files which it finds are ours."""
    marker = git_dir / _MARKER
    files.write_bytes(marker, b"")
    try:
        yield
    except Exception:
        marker.unlink()
        raise
    # An interrupt may have cut git short: then the marker stays, as after a kill.
    marker.unlink()


def _clear_our_locks(git_dir: Path) -> None:
    """Remove the lock files of a commit of ours that was killed, once its git process must be gone.

    Raises:
        RecordError: the index is locked by somebody else.
    """
    marker = git_dir / _MARKER
    locks = _locks(git_dir)
    if locks and not marker.exists():
        raise RecordError(
            f"{locks[0]}: another git process works in this repository; let it finish, or delete the file if none "
            "runs, and run the same command again"
        )
    while (waiting := _young(locks)) > 0:
        time.sleep(min(waiting, 0.2))
        locks = _locks(git_dir)
    for lock in locks:
        lock.unlink(missing_ok=True)
    marker.unlink(missing_ok=True)


def _locks(git_dir: Path) -> list[Path]:
    here = [git_dir / "index.lock", git_dir / "HEAD.lock", *(git_dir / "refs" / "heads").rglob("*.lock")]
    return [path for path in here if path.exists()]


def _young(locks: list[Path]) -> float:
    """Seconds until the youngest of the lock files is past its grace."""
    ages = []
    for lock in locks:
        try:
            ages.append(time.time() - lock.stat().st_mtime)
        except FileNotFoundError:
            continue
    return _GRACE_S - max(0.0, min(ages)) if ages else 0.0


def _git(workspace: Workspace, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key not in _ELSEWHERE}
    return subprocess.run(
        ["git", "-C", str(workspace.root), *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        env={**environment, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_LITERAL_PATHSPECS": "1"},
    )


def _last_line(result: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in (result.stderr + result.stdout).splitlines() if line.strip()]
    return lines[-1].removeprefix("fatal: ").removeprefix("error: ") if lines else f"exit {result.returncode}"
