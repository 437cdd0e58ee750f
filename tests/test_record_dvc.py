"""Rounds as DVC versions: what DVC itself would have written, quickly, and whenever we are killed."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from flows.record import dvc_lock, git, versions
from tasks import files, stages
from tasks.errors import RecordError, WorkspaceError
from tasks.rounds import Workspace
from tests.record_helpers import add_round, make_workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = make_workspace(tmp_path / "loop")
    add_round(made, 0)
    return made


def dvc(workspace: Workspace, *arguments: str) -> str:
    command = [sys.executable, "-m", "dvc", *arguments]
    result = subprocess.run(command, cwd=workspace.root, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def lock(workspace: Workspace) -> bytes:
    return (workspace.root / "dvc.lock").read_bytes()


def test_dvc_finds_nothing_left_to_do(workspace: Workspace) -> None:
    versions.commit(workspace, 0)
    add_round(workspace, 1, last=True)
    versions.commit(workspace, 1)
    assert dvc(workspace, "status").strip() == "Data and pipelines are up to date."
    assert "up to date" in dvc(workspace, "repro")


def test_dvc_lock_holds_the_bytes_that_dvc_writes(workspace: Workspace) -> None:
    add_round(workspace, 1, last=True)
    versions.commit(workspace, 0)
    versions.commit(workspace, 1)
    ours = lock(workspace)
    names = list(dvc_lock.stages(workspace.root / "dvc.lock"))
    (workspace.root / "dvc.lock").unlink()
    dvc(workspace, "commit", "--force", "--quiet", *names)
    assert lock(workspace) == ours


def test_dvc_lock_is_that_of_dvc_for_a_round_recorded_again(workspace: Workspace) -> None:
    versions.commit(workspace, 0)
    old = lock(workspace)
    for name in ("model.safetensors", "scores.parquet", "metrics.json"):
        files.write_bytes(workspace.round_dir(0) / name, b"{}")
    versions.commit(workspace, 0)
    ours = lock(workspace)
    (workspace.root / "dvc.lock").write_bytes(old)
    dvc(workspace, "commit", "--force", "--quiet", *dvc_lock.stages(workspace.root / "dvc.lock"))
    assert lock(workspace) == ours != old


def test_again_changes_nothing(workspace: Workspace) -> None:
    versions.commit(workspace, 0)
    before = lock(workspace), (workspace.root / "dvc.lock").stat().st_mtime_ns
    versions.commit(workspace, 0)
    assert before == (lock(workspace), (workspace.root / "dvc.lock").stat().st_mtime_ns)


def test_a_changed_output_replaces_its_stage_in_place(workspace: Workspace) -> None:
    versions.commit(workspace, 0)
    names = list(dvc_lock.stages(workspace.root / "dvc.lock"))
    files.write_bytes(workspace.round_dir(0) / "scores.parquet", b"other")
    versions.commit(workspace, 0)
    assert list(dvc_lock.stages(workspace.root / "dvc.lock")) == names
    assert versions.md5s(workspace, 0)["data/rounds/000/scores.parquet"] == "795f3202b17cb6bc3d4b771d8c6c9eaf"
    assert dvc(workspace, "status").strip() == "Data and pipelines are up to date."


def test_a_lock_file_in_another_style_is_kept_as_it_is(workspace: Workspace) -> None:
    path = workspace.root / "dvc.lock"
    path.write_text("# by hand\nschema: '2.0'\nstages:\n    other:\n        cmd: make\ndatasets: []\n")
    versions.commit(workspace, 0)
    assert path.read_text().startswith("# by hand\n")
    assert {"other", "pool", "train@000"} <= dvc_lock.stages(path).keys()


def test_which_rounds_are_recorded(workspace: Workspace) -> None:
    assert not versions.is_recorded(workspace, 0)
    versions.commit(workspace, 0)
    assert versions.is_recorded(workspace, 0)
    add_round(workspace, 1, last=True)
    assert not versions.is_recorded(workspace, 1)
    versions.commit(workspace, 1)
    assert versions.is_recorded(workspace, 1)
    # The policies change their mind: INFER of a last round is not recorded yet.
    add_round(workspace, 1)
    assert not versions.is_recorded(workspace, 1)


def test_digests_are_those_of_every_output(workspace: Workspace) -> None:
    add_round(workspace, 0, target=True)
    versions.commit(workspace, 0)
    wanted = set()
    for stage in (stages.POOL, *stages.ROUND_STAGES):
        wanted |= stage.paths(workspace, 0, stage.outs + stage.metrics).keys()
    assert versions.md5s(workspace, 0).keys() == wanted


def test_outputs_stay_files_of_their_own(workspace: Workspace) -> None:
    path = workspace.round_dir(0) / "model.safetensors"
    before = path.stat()
    versions.commit(workspace, 0)
    after = path.stat()
    assert (before.st_ino, before.st_mode, before.st_mtime_ns) == (after.st_ino, after.st_mode, after.st_mtime_ns)


def test_a_dvc_yaml_without_the_stage_that_a_proxy_needs_is_refused(workspace: Workspace) -> None:
    versions.check(workspace, ["target"])
    path = workspace.root / "dvc.yaml"
    path.write_text(path.read_text().replace("  target:", "  other:"))
    versions.check(workspace)
    with pytest.raises(WorkspaceError, match=r"dvc\.yaml: has no stage target, which a loop with a proxy needs"):
        versions.check(workspace, ["target"])


def test_any_round_comes_back_from_git_and_dvc(workspace: Workspace) -> None:
    add_round(workspace, 0, target=True)
    kept = {path: path.read_bytes() for path in workspace.round_dir(0).rglob("*") if path.is_file()}
    versions.commit(workspace, 0)
    git.commit_round(workspace, 0, "round 000")
    add_round(workspace, 1, last=True)
    versions.commit(workspace, 1)
    git.commit_round(workspace, 1, "round 001")
    assert git.run(workspace, "status", "--porcelain") == ""
    for path in kept:
        path.unlink()
    git.run(workspace, "checkout", "--quiet", "HEAD~1")
    git.run(workspace, "checkout", "--quiet", "--", "data")
    dvc(workspace, "checkout", "--quiet")
    assert {path: path.read_bytes() for path in kept} == kept
    # What comes from the cache may be replaced by our writers without harm to the cache.
    files.write_bytes(workspace.round_dir(0) / "model.json", b"new")
    dvc(workspace, "checkout", "--quiet", "--force")
    assert {path: path.read_bytes() for path in kept} == kept


def test_the_process_is_left_as_it_was(workspace: Workspace, capfd: pytest.CaptureFixture[str]) -> None:
    def state() -> tuple[object, ...]:
        loggers = [logging.getLogger(name) for name in ("", "dvc", "dvc_objects", "dvc_data")]
        return Path.cwd(), sys.stdout, sys.stderr, [(logger.level, list(logger.handlers)) for logger in loggers]

    with versions.quiet_dvc():
        pass
    before = state()
    versions.commit(workspace, 0)
    assert state() == before
    assert capfd.readouterr() == ("", "")


def test_a_missing_output_is_named(workspace: Workspace) -> None:
    (workspace.round_dir(0) / "scores.parquet").unlink()
    with pytest.raises(RecordError, match=r"could not record round 000: .*scores\.parquet.*same command"):
        versions.commit(workspace, 0)


def test_a_damaged_lock_file_is_named(workspace: Workspace) -> None:
    versions.commit(workspace, 0)
    (workspace.root / "dvc.lock").write_bytes(lock(workspace)[:300] + b"\n  - [")
    with pytest.raises(RecordError, match=r"dvc\.lock: damaged; restore it with `git checkout"):
        versions.is_recorded(workspace, 0)
    with pytest.raises(RecordError, match=r"dvc\.lock"):
        versions.commit(workspace, 0)


def test_a_lock_file_that_was_overwritten_inside_is_named(workspace: Workspace) -> None:
    add_round(workspace, 1, last=True)
    for round_ in (0, 1):
        versions.commit(workspace, round_)
    for damage in (b"<<<<<<< HEAD\n", b"  \0\0\0\0\n", b"  garbage\n", b"\xff\n"):
        before, name, after = lock(workspace).partition(b"  select@000:\n")
        (workspace.root / "dvc.lock").write_bytes(before + name + damage + after)
        # Round 1 is asked for, and the damage is in round 0.
        for ask in (versions.is_recorded, versions.md5s, versions.commit):
            with pytest.raises(RecordError, match=r"dvc\.lock: damaged; restore it with `git checkout"):
                ask(workspace, 1)
        (workspace.root / "dvc.lock").write_bytes(before + name + after)
    assert versions.is_recorded(workspace, 1)


def many_rounds(workspace: Workspace, count: int) -> None:
    """Make dvc.lock as long as after so many rounds, and round 000 the first of them."""
    versions.commit(workspace, 0)
    text = lock(workspace).decode()
    round_ = text[text.index("  select@000:") :]
    copies = "".join(round_.replace("@000", f"@{number:03d}") for number in range(1, count))
    (workspace.root / "dvc.lock").write_text(text + copies)


def test_time_does_not_grow_with_the_rounds(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from dvc.utils import strictyaml

    many_rounds(workspace, 100)
    parsed = []
    load = yaml.load
    monkeypatch.setattr(yaml, "load", lambda text, **options: parsed.append(len(text)) or load(text, **options))
    by_dvc = []
    load_by_dvc = strictyaml.load
    monkeypatch.setattr(strictyaml, "load", lambda path, *a, **b: by_dvc.append(path) or load_by_dvc(path, *a, **b))
    assert versions.is_recorded(workspace, 0)
    assert versions.md5s(workspace, 0)
    files.write_bytes(workspace.round_dir(0) / "scores.parquet", b"other")
    versions.commit(workspace, 0)
    assert versions.md5s(workspace, 0)["data/rounds/000/scores.parquet"] == "795f3202b17cb6bc3d4b771d8c6c9eaf"
    assert 0 < max(parsed) < len(lock(workspace)) / 50
    assert not [path for path in by_dvc if "dvc.lock" in str(path)]


def test_folded_text_is_read_the_slow_way(workspace: Workspace) -> None:
    path = workspace.root / "dvc.lock"
    versions.commit(workspace, 0)
    wanted = versions.md5s(workspace, 0)
    path.write_text(path.read_text().replace("cmd: frugal stage pool", "cmd: frugal stage\n      pool"))
    assert dvc_lock.stages(path)["pool"]["cmd"] == "frugal stage pool"
    assert versions.md5s(workspace, 0) == wanted
    assert versions.is_recorded(workspace, 0)


def test_another_dvc_process_is_waited_for_and_then_told(workspace: Workspace) -> None:
    versions.commit(workspace, 0)
    script = "import sys, time\nfrom dvc.repo import Repo\nwith Repo().lock:\n    print(flush=True)\n    time.sleep(60)"
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, cwd=workspace.root, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(RecordError, match="another DVC process") as caught:
            versions.commit(workspace, 0)
        assert "\x1b" not in str(caught.value)
        process.kill()
    versions.commit(workspace, 0)


def test_a_half_written_rwlock_does_not_stop_us(workspace: Workspace) -> None:
    versions.commit(workspace, 0)
    (workspace.root / ".dvc" / "tmp" / "rwlock").write_text('{"write": {"')
    files.write_bytes(workspace.round_dir(0) / "scores.parquet", b"other")
    versions.commit(workspace, 0)
    assert versions.is_recorded(workspace, 0)


def test_a_kill_at_any_instant_is_made_good_by_the_same_call(workspace: Workspace) -> None:
    kept = {path: path.read_bytes() for path in workspace.round_dir(0).iterdir()}
    script = (
        "import sys\nfrom pathlib import Path\nfrom flows.record import versions\n"
        "from tasks.rounds import find_workspace\nversions.commit(find_workspace(Path(sys.argv[1])), 0)"
    )
    for delay in (0.0, 0.05, 0.1, 0.15, 0.2, 0.3):
        process = subprocess.Popen([sys.executable, "-c", script, str(workspace.root)], start_new_session=True)
        tmp = workspace.root / ".dvc" / "tmp" / "lock"
        started = time.time()
        while process.poll() is None and not (tmp.exists() and tmp.stat().st_mtime > started):
            time.sleep(0.001)
        time.sleep(delay)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert {path: path.read_bytes() for path in kept} == kept
    versions.commit(workspace, 0)
    assert versions.is_recorded(workspace, 0)
    assert dvc(workspace, "status").strip() == "Data and pipelines are up to date."
