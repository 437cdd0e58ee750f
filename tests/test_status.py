"""At each moment of a loop that people label: what is awaited, from whom, since when, and what to type."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows import start
from flows.console import show_status
from tasks import loop
from tasks.config import parse
from tasks.cost.ledger import Usage
from tasks.label import journal
from tasks.label.run import run as buy
from tasks.report.run import write as report
from tasks.rounds import Workspace
from tasks.select.run import run as select
from tasks.status import status
from tests.people_helpers import RECORD, asking, said, score_round, selected, tasks
from tests.pools import PRICES, write_plan

_HOLD = """
import sys, time
from pathlib import Path
from tasks.rounds import Workspace, held
with held(Workspace(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def held(workspace: Workspace) -> Iterator[int]:
    """Another process that works on the workspace, and its number."""
    with subprocess.Popen([sys.executable, "-c", _HOLD, str(workspace.root)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "conf").mkdir()
    (tmp_path / "dvc.yaml").touch()
    return Workspace(tmp_path)


def begin(workspace: Workspace) -> None:
    settings = {
        "name": "people",
        "prices": PRICES,
        "loop": {"rounds": 2, "initial": 10, "query_size": 5},
        "dataset": {"name": "digits", "limit": 60},
        "train": {"model": "linear", "epochs": 2},
        "label": {"labeler": "files", "annotators": 2, "deadline": 48.0},
        "record": RECORD,
    }
    start.start(workspace, parse(settings, "test"))


def until(workspace: Workspace, name: str) -> None:
    """Do step after step up to one called ``name``."""
    while (step := loop.next_step(workspace)) is not None and step.name != name:
        loop.run(workspace, step)


def told(workspace: Workspace) -> tuple[str, str, str]:
    now = status(workspace)
    json.dumps(now)
    return now["state"], now["waits_for"] or "", now["next"]


def answer(workspace: Workspace, round_: int, *names: str) -> None:
    for name in names:
        journal.take_in(workspace, round_, [said(id_, 3, name) for id_ in selected(workspace, round_)])


def test_each_moment_has_a_state_what_is_awaited_and_a_command(workspace: Workspace) -> None:
    assert told(workspace) == ("empty", "", "frugal run conf/digits.yaml")
    begin(workspace)
    assert told(workspace) == ("ready", "`frugal open`: round 000 can be opened", "frugal open")
    until(workspace, "select")
    assert told(workspace) == ("interrupted", "`frugal open`: select of round 000 is next", "frugal open")
    until(workspace, "label")
    state, awaited, command = told(workspace)
    assert (state, command) == ("waiting", "frugal close --answers FILE")
    assert awaited.startswith("10 labels: 0 of 10 tasks of data/rounds/000/tasks.jsonl are answered; open since 20")
    assert " UTC, closes at 20" in awaited
    answer(workspace, 0, "ann")
    assert "; answers so far: ann 10; " in told(workspace)[1]
    answer(workspace, 0, "bob")
    state, awaited, command = told(workspace)
    assert (state, command) == ("waiting", "frugal close")
    assert awaited.startswith("`frugal close`: 10 of 10 tasks are answered; answers so far: ann 10, bob 10; open since")
    with held(workspace) as number:
        state, awaited, command = told(workspace)
        assert (state, command) == ("running", "frugal status")
        assert awaited.startswith(f"process {number} (`")
        assert "`) since 20" in awaited
    for name in ("train", "decide", "infer"):
        until(workspace, name)
        assert told(workspace) == ("interrupted", f"`frugal close`: {name} of round 000 is next", "frugal close")
    until(workspace, "plan")
    assert told(workspace) == ("ready", "`frugal open`: round 001 can be opened", "frugal open")
    until(workspace, "label")
    assert len(tasks(workspace, 1)) == 5
    answer(workspace, 1, "ann", "bob")
    until(workspace, "")
    assert told(workspace) == ("finished", "", "frugal ui")


def test_answers_that_do_not_fit_are_what_is_waited_for(workspace: Workspace) -> None:
    begin(workspace)
    until(workspace, "label")
    (workspace.round_dir(0) / "labels.csv").write_text("id,label\nnobody,3\n")
    state, awaited, command = told(workspace)
    assert (state, command) == ("waiting", "frugal close")
    assert "labels.csv, row 1: unknown id 'nobody'" in awaited


def test_the_report_tells_of_the_annotators(workspace: Workspace) -> None:
    begin(workspace)
    until(workspace, "label")
    answer(workspace, 0, "ann", "<b>bob</b>")
    until(workspace, "plan")
    page = report(workspace, workspace.root / "report")[0].read_text(encoding="utf-8")
    section = page[page.index('<section id="annotators"') : page.index('<section id="model"')]
    assert "100.0\N{NO-BREAK SPACE}% of the pairs of answers to the same item are the same" in section
    assert '<th scope="row">ann</th><td class="n">10</td>' in section
    assert "&lt;b&gt;bob&lt;/b&gt;" in section
    assert "<b>bob" not in page


def test_the_terminal_tells_errors_on_known_items_as_a_share_of_how_many(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = asking(tmp_path / "w", select={"checks": 0.3})
    skipped, *others = selected(workspace)
    journal.take_in(workspace, 0, [said(skipped, None), *(said(id_, 1) for id_ in others)])
    buy(workspace, 0, Usage())
    score_round(workspace, 0)
    write_plan(workspace, 1, query_size=10)
    select(workspace, 1, Usage())
    journal.take_in(workspace, 1, [said(task["id"], 2) for task in tasks(workspace, 1)])
    buy(workspace, 1, Usage())
    show_status(status(workspace))
    told = "annotators: errors on known items: ann 100.0\N{NO-BREAK SPACE}% of 3; 1 items were skipped"
    assert told in capsys.readouterr().out


def test_answers_of_a_labelling_server_are_fetched_by_the_next_command(tmp_path: Path) -> None:
    workspace = asking(tmp_path / "w", labeler="label_studio")
    state, awaited, command = told(workspace)
    assert (state, command) == ("waiting", "frugal close")
    assert "are answered; asked in label studio, whose answers `frugal close` fetches; open since 20" in awaited
