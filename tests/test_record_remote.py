"""Rounds in DVC's remote: pushed once, later where it was away, and never at the cost of a round."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows import record
from flows.record import remote, versions
from tasks import config, files
from tasks.errors import ConfigError, RecordError, WorkspaceError
from tasks.rounds import Workspace
from tests.record_helpers import CONFIG, add_round, make_workspace


@pytest.fixture(autouse=True)
def _nothing_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_away", {})


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = make_workspace(tmp_path / "loop")
    add_round(made, 0)
    versions.commit(made, 0)
    return made


@pytest.fixture
def store(workspace: Workspace, tmp_path: Path) -> Path:
    """The workspace's default remote, a folder on a disk that can be taken away."""
    folder = tmp_path / "disk" / "store"
    folder.mkdir(parents=True)
    set_remote(workspace, str(folder))
    return folder


def dvc(root: Path, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def set_remote(workspace: Workspace, url: str, **options: str) -> None:
    lines = "".join(f"    {name} = {value}\n" for name, value in {"url": url, **options}.items())
    about = f"[core]\n    analytics = false\n    remote = store\n['remote \"store\"']\n{lines}"
    (workspace.root / ".dvc" / "config").write_text(about)


def kept(store: Path) -> set[str]:
    """The MD5 digests of what a folder holds."""
    return {path.parent.name + path.name for path in store.rglob("*") if path.is_file()}


def wanted(workspace: Workspace, *rounds: int) -> set[str]:
    """Those of everything that DVC's cache keeps of the rounds; metrics are kept by git."""
    return {md5 for number in rounds for path, md5 in versions.md5s(workspace, number).items() if "metrics" not in path}


def add_recorded(workspace: Workspace, round_: int) -> None:
    add_round(workspace, round_)
    versions.commit(workspace, round_)


def test_a_round_is_pushed_once(workspace: Workspace, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert remote.missing(workspace, [0]) == [0]
    remote.push(workspace, [0])
    assert kept(store) == wanted(workspace, 0)
    assert remote.missing(workspace, [0]) == []
    add_recorded(workspace, 1)
    assert remote.missing(workspace, [0, 1]) == [1]
    remote.push(workspace, [1])
    assert kept(store) == wanted(workspace, 0, 1)
    monkeypatch.setattr(subprocess, "run", None)
    remote.push(workspace, remote.missing(workspace, [0, 1]))


def test_another_machine_finds_everything(workspace: Workspace, store: Path) -> None:
    remote.push(workspace, [0])
    model = workspace.round_dir(0) / "model.safetensors"
    before = model.read_bytes()
    shutil.rmtree(workspace.root / ".dvc" / "cache")
    model.unlink()
    dvc(workspace.root, "pull", "--quiet", "train@000")
    assert model.read_bytes() == before


def test_a_disk_that_is_away_is_told_once_and_taken_up_when_it_is_back(
    workspace: Workspace, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = store.parent.rename(store.parent.with_name("elsewhere"))
    store.parent.write_text("no folder")
    with pytest.raises(
        RecordError, match=r"DVC's remote did not take the files: .*the next run pushes them$"
    ) as caught:
        remote.push(workspace, [0])
    assert "\n" not in str(caught.value)
    store.parent.unlink()
    away.rename(store.parent)
    # For a while it is not asked again.
    with pytest.raises(RecordError):
        remote.push(workspace, remote.missing(workspace, [0]))
    monkeypatch.setattr(remote, "_away", {})
    add_recorded(workspace, 1)
    assert remote.missing(workspace, [0, 1]) == [0, 1]
    remote.push(workspace, [0, 1])
    assert kept(store) == wanted(workspace, 0, 1)
    assert remote.missing(workspace, [0, 1]) == []


def test_a_round_that_is_recorded_anew_is_pushed_anew(workspace: Workspace, store: Path) -> None:
    remote.push(workspace, [0])
    files.write_bytes(workspace.round_dir(0) / "scores.parquet", b"other")
    versions.commit(workspace, 0)
    assert remote.missing(workspace, [0]) == [0]
    remote.push(workspace, [0])
    assert wanted(workspace, 0) < kept(store)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"remote": "x"}', '{"rounds": {}}'])
def test_what_is_known_of_the_remote_may_be_lost(workspace: Workspace, store: Path, content: str) -> None:
    remote.push(workspace, [0])
    (path,) = (workspace.root / ".dvc" / "tmp").glob("frugal-pushed.json")
    path.write_text(content)
    assert remote.missing(workspace, [0]) == [0]


def test_another_remote_gets_everything(workspace: Workspace, store: Path, tmp_path: Path) -> None:
    remote.push(workspace, [0])
    set_remote(workspace, str(tmp_path / "second"))
    remote.push(workspace, remote.missing(workspace, [0]))
    assert kept(tmp_path / "second") == wanted(workspace, 0)


def test_a_push_that_hangs_is_given_up(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_remote(workspace, str(tmp_path / "store"))
    monkeypatch.setattr(remote, "_LIMIT_S", 0.0)
    monkeypatch.setattr(remote, "_BYTES_A_SECOND", 1e12)
    with pytest.raises(RecordError, match="no end after 0 s"):
        remote.push(workspace, [0])


def test_a_password_in_an_address_is_told_to_nobody(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    set_remote(workspace, "http://ada:hunter2@127.0.0.1:9/store")
    with pytest.raises(RecordError) as caught:
        remote.push(workspace, [0])
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in "".join(path.read_text() for path in (workspace.root / ".dvc" / "tmp").glob("*.json"))


def test_a_workspace_without_a_remote_is_refused(workspace: Workspace) -> None:
    pushing = config.parse(CONFIG | {"record": {"push": True}}, "test")
    with pytest.raises(WorkspaceError, match=r"needs a default remote of DVC; name one with `dvc remote add -d"):
        record.check(workspace, pushing)


def test_pushing_without_dvc_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"record.*push sends what DVC keeps"):
        config.parse(CONFIG | {"record": {"push": True, "dvc": False}}, "test")


# An S3-compatible store

KEY, SECRET = "planted-key", "planted-secret"


class Store:
    """rclone's S3 server on a folder that holds the bucket `frugal`."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program, self._folder = program, folder
        (folder / "frugal").mkdir(parents=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    @contextmanager
    def serving(self) -> "Iterator[subprocess.Popen[bytes]]":
        """Serve for the length of the block."""
        command = [self._program, "serve", "s3", "--addr", f"127.0.0.1:{self.port}", str(self._folder)]
        environment = {**os.environ, "RCLONE_AUTH_KEY": f'"{KEY},{SECRET}"', "RCLONE_CONFIG": "/dev/null"}
        null = subprocess.DEVNULL
        with subprocess.Popen(command, stdin=null, stdout=null, stderr=null, env=environment) as server:
            try:
                deadline = time.monotonic() + 60
                with socket.socket() as probe:
                    while probe.connect_ex(("127.0.0.1", self.port)):
                        assert server.poll() is None
                        assert time.monotonic() < deadline
                        time.sleep(0.1)
                yield server
            finally:
                server.kill()


@pytest.fixture
def s3(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store that is the workspace's default remote and does not run yet."""
    program = shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone")
    if program is None:
        pytest.skip("needs rclone, as frugal-loop[servers] brings it")
    pytest.importorskip("dvc_s3")
    for name, value in (("ACCESS_KEY_ID", KEY), ("SECRET_ACCESS_KEY", SECRET), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    store = Store(program, tmp_path / "s3")
    set_remote(workspace, "s3://frugal/store", endpointurl=f"http://127.0.0.1:{store.port}")
    return store


@pytest.mark.server
def test_an_s3_store_that_is_gone_or_hangs_is_caught_up_with(
    workspace: Workspace, s3: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RecordError, match="the next run pushes them") as gone:
        remote.push(workspace, [0])
    with s3.serving() as server:
        monkeypatch.setattr(remote, "_away", {})
        remote.push(workspace, remote.missing(workspace, [0]))
        assert kept(tmp_path / "s3") == wanted(workspace, 0)
        add_recorded(workspace, 1)
        server.send_signal(signal.SIGSTOP)
        with monkeypatch.context() as patched:
            patched.setattr(remote, "_LIMIT_S", 8.0)
            with pytest.raises(RecordError, match="no end after 8 s") as hanging:
                remote.push(workspace, [1])
        server.send_signal(signal.SIGCONT)
        monkeypatch.setattr(remote, "_away", {})
        remote.push(workspace, remote.missing(workspace, [0, 1]))
    assert kept(tmp_path / "s3") == wanted(workspace, 0, 1)
    about = (workspace.root / ".dvc" / "tmp" / "frugal-pushed.json").read_text()
    assert list(json.loads(about)["rounds"]) == ["000", "001"]
    assert "planted" not in f"{about}{gone.value}{hanging.value}"
