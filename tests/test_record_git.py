"""Rounds as git commits: exactly our files, whoever else works there, and whenever we are killed."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from flows.record import Summary, check, git, subject
from tasks.config import Config, parse
from tasks.errors import RecordError, WorkspaceError
from tasks.rounds import Workspace, find_workspace
from tests.record_helpers import CONFIG, add_round, make_workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = make_workspace(tmp_path / "loop")
    add_round(made, 0)
    return made


def wanted(**record: Any) -> Config:
    """A configuration that asks for such a record."""
    return parse(CONFIG | {"record": record}, "test")


def log(workspace: Workspace) -> list[str]:
    return git.run(workspace, "log", "--format=%s").splitlines()


def tracked(workspace: Workspace) -> set[str]:
    return set(git.run(workspace, "ls-tree", "-r", "--name-only", "HEAD").splitlines())


def test_a_round_is_one_commit_of_its_own_files(workspace: Workspace) -> None:
    git.commit_round(workspace, 0, "round 000: 20 labels")
    assert log(workspace) == ["round 000: 20 labels", "frugal init"]
    changed = git.run(workspace, "show", "--name-only", "--format=", "HEAD").split()
    names = ["plan.json", "metrics.json", "cost.json", "decision.json"]
    assert set(changed) == {f"data/rounds/000/{name}" for name in names} | {"conf/rounds.yaml", "data/loop.json"}
    assert git.run(workspace, "status", "--porcelain") == ""
    assert git.is_committed(workspace, 0)
    assert git.commit_of(workspace, 0) == git.head(workspace)


def test_again_makes_no_second_commit(workspace: Workspace) -> None:
    git.commit_round(workspace, 0, "one")
    git.commit_round(workspace, 0, "two")
    assert log(workspace) == ["one", "frugal init"]


def test_a_changed_round_is_not_committed(workspace: Workspace) -> None:
    assert not git.is_committed(workspace, 0)
    git.commit_round(workspace, 0, "one")
    (workspace.round_dir(0) / "cost.json").write_text("{}")
    assert not git.is_committed(workspace, 0)
    assert not git.is_committed(workspace, 1)


def test_the_users_staged_work_is_left_alone(workspace: Workspace) -> None:
    (workspace.root / "notes.txt").write_text("mine")
    git.run(workspace, "add", "notes.txt")
    git.commit_round(workspace, 0, "one")
    assert "notes.txt" not in tracked(workspace)
    assert git.run(workspace, "diff", "--cached", "--name-only").split() == ["notes.txt"]


def test_a_global_ignore_list_does_not_hide_our_files(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ignore").write_text("*.json\n*.lock\n")
    (tmp_path / "gitconfig").write_text(f"[core]\nexcludesFile = {tmp_path / 'ignore'}\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    git.commit_round(workspace, 0, "one")
    assert "data/rounds/000/plan.json" in tracked(workspace)


@pytest.mark.parametrize("configured", [True, False])
def test_the_configured_identity_is_used_and_else_our_own(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configured: bool
) -> None:
    (tmp_path / "gitconfig").write_text("[user]\nname = Ada\nemail = ada@example.org\n" if configured else "")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "EMAIL"):
        monkeypatch.delenv(name, raising=False)
    git.commit_round(workspace, 0, "one")
    author = git.run(workspace, "log", "-1", "--format=%an <%ae>").strip()
    assert author == ("Ada <ada@example.org>" if configured else "Frugal Loop <frugal-loop@localhost>")


def test_hooks_and_signatures_do_not_interfere(workspace: Workspace) -> None:
    hook = workspace.root / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    git.run(workspace, "config", "commit.gpgsign", "true")
    git.commit_round(workspace, 0, "one")
    assert log(workspace)[0] == "one"


def test_gits_own_words_reach_the_user(workspace: Workspace) -> None:
    git.run(workspace, "checkout", "--quiet", "-b", "other")
    (workspace.root / ".git" / "MERGE_HEAD").write_text(f"{git.head(workspace)}\n")
    with pytest.raises(RecordError, match=r"loop: `git commit` failed: .*partial commit during a merge.*same command"):
        git.commit_round(workspace, 0, "one")


def test_a_foreign_lock_is_named_and_kept(workspace: Workspace) -> None:
    lock = workspace.root / ".git" / "index.lock"
    lock.touch()
    with pytest.raises(RecordError, match=r"index\.lock: another git process"):
        git.commit_round(workspace, 0, "one")
    assert lock.exists()


def test_our_own_stale_locks_are_removed_after_a_while(workspace: Workspace) -> None:
    folder = workspace.root / ".git"
    (folder / "frugal-loop-commit").touch()
    for name in ("index.lock", "HEAD.lock", "refs/heads/main.lock"):
        (folder / name).touch()
        os.utime(folder / name, (time.time() - 4.5, time.time() - 4.5))
    started = time.monotonic()
    git.commit_round(workspace, 0, "one")
    assert time.monotonic() - started > 0.3
    assert log(workspace)[0] == "one"
    assert not (folder / "frugal-loop-commit").exists()


def test_a_kill_at_any_instant_is_made_good_by_the_same_call(workspace: Workspace) -> None:
    script = textwrap.dedent("""
        import sys
        from pathlib import Path
        from flows.record import git
        from tasks.rounds import find_workspace
        git.commit_round(find_workspace(Path(sys.argv[1])), 0, "one")
    """)
    for delay in (0.0, 0.01, 0.02, 0.03, 0.04, 0.06):
        process = subprocess.Popen([sys.executable, "-c", script, str(workspace.root)], start_new_session=True)
        marker = workspace.root / ".git" / "frugal-loop-commit"
        while process.poll() is None and not marker.exists():
            time.sleep(0.001)
        time.sleep(delay)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if log(workspace)[0] == "one":
            git.run(workspace, "reset", "--quiet", "--soft", "HEAD~1")
    git.commit_round(workspace, 0, "one")
    assert log(workspace) == ["one", "frugal init"]
    assert git.run(workspace, "status", "--porcelain") == ""
    git.run(workspace, "fsck", "--strict")


def test_variables_of_a_surrounding_git_are_ignored(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nonexistent/index")
    git.commit_round(workspace, 0, "one")
    assert log(workspace)[0] == "one"


def test_a_repository_without_commits_gets_everything(workspace: Workspace) -> None:
    git.run(workspace, "update-ref", "-d", "HEAD")
    git.commit_round(workspace, 0, "one")
    assert {"dvc.yaml", ".dvc/config", "data/.gitignore", "data/rounds/000/plan.json"} <= tracked(workspace)
    assert git.run(workspace, "status", "--porcelain") == ""


def test_the_workspace_must_be_the_top_of_its_repository(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    inner = tmp_path / "inner"
    (inner / "conf").mkdir(parents=True)
    (inner / "dvc.yaml").touch()
    with pytest.raises(WorkspaceError, match=r"inner: lies inside the git repository .*frugal init DIR"):
        check(find_workspace(inner), wanted(dvc=False))
    check(find_workspace(inner), wanted(git="off", dvc=False))


def test_a_folder_without_git_is_refused_only_if_git_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "dvc.yaml").touch()
    plain = find_workspace(tmp_path)
    with pytest.raises(WorkspaceError, match="not under git"):
        check(plain, wanted())
    with pytest.raises(WorkspaceError, match="not under DVC"):
        check(plain, wanted(git="off"))
    check(plain, wanted(git="off", dvc=False))


def test_a_new_workspace_passes_the_check(workspace: Workspace) -> None:
    check(workspace, wanted())


def test_the_subject_of_a_round() -> None:
    summary = Summary(
        labels=200, money=10.449, currency="USD", device_hours=0.1, metrics={"accuracy": 0.91234}, params={}
    )
    assert subject(3, summary) == "round 003: 200 labels, accuracy 0.9123, 10.45 USD"
