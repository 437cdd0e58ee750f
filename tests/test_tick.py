"""What a start of one half of a round finds to do, and what it loads to find out."""

import subprocess
import sys
from pathlib import Path

from flows import tick
from tasks import loop
from tasks.label.journal import take_in
from tasks.rounds import Workspace
from tests.people_helpers import asking, said, selected


def test_flows_are_imported_without_what_a_start_with_nothing_to_do_needs_not() -> None:
    heavy = "torch mlflow dvc sklearn matplotlib scipy"
    code = f"import sys, flows.loop; print([name for name in '{heavy}'.split() if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_empty_workspace_can_be_opened(tmp_path: Path) -> None:
    assert tick.nothing_to_open(Workspace(tmp_path)) is None


def test_begun_loop_has_a_round_to_open_and_none_to_close(workspace: Workspace) -> None:
    assert tick.nothing_to_open(workspace) is None
    idle = tick.nothing_to_close(workspace)
    assert idle == tick.Idle("NothingToClose", "no round is open; open one with `frugal open`")


def test_open_round_waits_for_people_in_either_half(tmp_path: Path) -> None:
    workspace = asking(tmp_path / "w")
    opening, closing = tick.nothing_to_open(workspace), tick.nothing_to_close(workspace)
    assert opening is not None
    assert closing is not None
    assert (opening.state, closing.state) == ("NothingToOpen", "AwaitingLabels")
    assert opening.reason == closing.reason
    assert closing.reason.startswith("round 000 waits for 9 labels")


def test_answered_round_is_closed_and_not_opened(tmp_path: Path) -> None:
    workspace = asking(tmp_path / "w")
    take_in(workspace, 0, [said(id_, 1) for id_ in selected(workspace)])
    assert tick.nothing_to_close(workspace) is None
    assert tick.nothing_to_open(workspace) == tick.Idle("NothingToOpen", "round 000 can be closed")
    loop.run(workspace, loop.Step("label", 0))
    assert tick.nothing_to_close(workspace) is None
    idle = tick.nothing_to_open(workspace)
    assert idle == tick.Idle("NothingToOpen", "round 000 is not closed yet: train comes next")
