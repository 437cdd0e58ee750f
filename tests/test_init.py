"""A new workspace: complete, committed, and never half made."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from flows.init import init, is_workspace
from flows.record import git
from tasks.errors import WorkspaceError
from tasks.rounds import find_workspace


def status(directory: Path) -> str:
    return git.run(find_workspace(directory), "status", "--porcelain", "--ignored")


def test_a_workspace_is_committed_and_clean(tmp_path: Path) -> None:
    init(tmp_path / "new" / "loop")
    workspace = find_workspace(tmp_path / "new" / "loop")
    assert git.run(workspace, "log", "--format=%s").split("\n")[0] == "frugal init"
    assert git.run(workspace, "branch", "--show-current").strip() == "main"
    assert status(workspace.root) == ""
    assert {
        "conf/digits.yaml",
        "conf/prices.yaml",
        "conf/rounds.yaml",
        "dvc.yaml",
        ".dvc/config",
        "data/.gitignore",
    } <= set(git.run(workspace, "ls-files").split())
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["loop"]


def test_a_new_workspace_has_no_rounds_and_dvc_says_so(tmp_path: Path) -> None:
    init(tmp_path)
    for arguments in (["status"], ["stage", "list"], ["metrics", "show"]):
        result = subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=tmp_path, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        assert "select" not in result.stdout


def test_again_changes_nothing(tmp_path: Path) -> None:
    init(tmp_path)
    (tmp_path / "conf" / "digits.yaml").write_text("name: mine\n")
    before = git.head(find_workspace(tmp_path))
    init(tmp_path)
    assert (tmp_path / "conf" / "digits.yaml").read_text() == "name: mine\n"
    assert git.head(find_workspace(tmp_path)) == before


def test_a_folder_with_other_files_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(WorkspaceError, match="holds other files"):
        init(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WorkspaceError, match="is a file"):
        init(tmp_path / "file")


def test_the_current_folder_can_be_made_a_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    init(Path())
    assert is_workspace(Path())
    assert Path.cwd() == tmp_path


def test_what_a_round_leaves_is_ignored_or_tracked_as_meant(tmp_path: Path) -> None:
    init(tmp_path)
    ignored = [
        "data/raw/digits.npz",
        "data/.lock",
        "data/.pool-x/a",
        "data/pool/pool.json",
        "data/pool/start/scores.parquet",
        "data/rounds/000/model.json",
        "data/rounds/000/scores.parquet",
        "data/rounds/000/shards/0.parquet",
        "data/rounds/000/.plan.json.x.tmp",
        "mlflow.db",
        "mlartifacts/1/a",
    ]
    kept = [f"data/rounds/000/{name}.json" for name in ("plan", "metrics", "cost", "decision")]
    kept += ["data/loop.json", "data/loop_id", "dvc.lock"]
    result = subprocess.run(["git", "check-ignore", *ignored, *kept], cwd=tmp_path, capture_output=True, text=True)
    assert result.stdout.split() == ignored


def test_streams_and_working_directory_are_as_before(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import logging, os, sys
        from pathlib import Path
        from flows.init import init
        root = logging.getLogger()
        state = lambda: (sys.stdout, sys.stderr, os.getcwd(), root.handlers[:], root.level)
        before = state()
        init(Path(sys.argv[1]))
        assert state() == before
    """)
    command = [sys.executable, "-W", "error", "-c", script, str(tmp_path / "loop")]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_a_kill_leaves_no_workspace_or_a_whole_one(tmp_path: Path) -> None:
    directory = tmp_path / "loop"
    script = "import sys\nfrom pathlib import Path\nfrom flows.init import init\ninit(Path(sys.argv[1]))"
    for delay in (0.0, 0.05, 0.1, 0.3, 0.6):
        process = subprocess.Popen([sys.executable, "-c", script, str(directory)], start_new_session=True)
        while process.poll() is None and not directory.exists():
            time.sleep(0.002)
        time.sleep(delay)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    init(directory)
    assert status(directory) == ""
    assert not [path for path in directory.iterdir() if path.name.startswith(".frugal")]
