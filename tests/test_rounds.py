import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from tasks import files, rounds
from tasks.config import Config, parse
from tasks.errors import ConfigError, WorkspaceError
from tasks.rounds import Workspace
from tests.pools import PRICES, write_plan


def test_changed_configuration_is_refused_with_its_key(workspace: Workspace) -> None:
    changed = parse({"name": "test", "prices": PRICES, "loop": {"initial": 9, "query_size": 7, "rounds": 3}}, "test")
    before = workspace.loop_file.read_bytes()
    with pytest.raises(ConfigError, match=r"loop\.query_size: 6 → 7"):
        rounds.begin(workspace, changed)
    assert workspace.loop_file.read_bytes() == before


def test_same_configuration_continues(workspace: Workspace) -> None:
    rounds.begin(workspace, rounds.load_config(workspace))
    assert rounds.rounds(workspace) == []


def test_damaged_loop_file_is_named(workspace: Workspace) -> None:
    workspace.loop_file.write_text('{"config": {"name": 3}}')
    with pytest.raises(ConfigError, match=r"loop\.json: name"):
        rounds.load_config(workspace)


def test_gap_in_rounds_is_refused(workspace: Workspace) -> None:
    write_plan(workspace, 0)
    write_plan(workspace, 2)
    with pytest.raises(WorkspaceError, match="001: round missing"):
        rounds.rounds(workspace)


def test_rounds_file_lists_rounds_those_that_were_scored_and_those_with_a_target(workspace: Workspace) -> None:
    for number, action in enumerate(["continue", "stop"]):
        write_plan(workspace, number)
        made = {"action": action, "reason": "", "policy": "", "numbers": {}}
        target = {} if action == "continue" else {"target": {"value": True, "reason": ""}}
        files.write_json(workspace.round_dir(number) / "decision.json", made | target)
    rounds.sync_rounds_file(workspace)
    first = {"prev": "data/pool/start", "start": "data/pool/pool.json", "features": "data/pool/pool.json"}
    second = first | {"prev": "data/rounds/000"}
    assert yaml.safe_load(workspace.rounds_file.read_text()) == {
        "rounds": {"000": first, "001": second},
        "scored": {"000": first},
        "targets": {"001": second},
        "headline": "accuracy",
    }


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir(), lambda path: path.write_text("")])
def test_folder_that_is_no_workspace_is_refused(tmp_path: Path, make: object) -> None:
    target = tmp_path / "x"
    make(target)  # type: ignore[operator]
    with pytest.raises(WorkspaceError, match=r"frugal init"):
        rounds.find_workspace(target)


_HOLD = """
import sys, time
from pathlib import Path
from tasks.rounds import Workspace, held
with held(Workspace(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(60)
"""


def test_held_workspace_is_refused_and_freed_by_a_kill(workspace: Workspace) -> None:
    holder = subprocess.Popen([sys.executable, "-c", _HOLD, str(workspace.root)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(WorkspaceError, match=f"held by process {holder.pid}"), rounds.held(workspace):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with rounds.held(workspace):
        assert (workspace.root / "data" / ".lock").exists()


def test_another_thread_is_refused(workspace: Workspace) -> None:
    def hold() -> str:
        with pytest.raises(WorkspaceError) as refused, rounds.held(workspace):
            pass
        return str(refused.value)

    with rounds.held(workspace), ThreadPoolExecutor(1) as pool:
        assert "held by process" in pool.submit(hold).result()


def test_one_process_may_hold_twice(workspace: Workspace) -> None:
    with rounds.held(workspace), rounds.held(workspace):
        assert (workspace.root / "data" / ".lock").exists()


def test_no_loop_yet_says_how_to_begin(tmp_path: Path, config: Config) -> None:
    with pytest.raises(WorkspaceError, match="frugal run"):
        rounds.load_config(Workspace(tmp_path))
