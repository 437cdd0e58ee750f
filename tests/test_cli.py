"""The command as its users meet it, as far as no server is needed."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flows.cli import main
from tasks import loop
from tasks.rounds import Workspace, held
from tests.pools import column, make_workspace, snapshot, write_plan
from tests.test_loop import QUICK, begin, finish


def frugal(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="frugal")


def check_refused(result: Result, *words: str) -> None:
    """One line that holds the words, exit 2, no traceback."""
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("error: ")
    for word in words:
        assert word in result.stderr


@pytest.fixture
def fresh(made: Path, tmp_path: Path) -> Path:
    """A workspace as `frugal init` leaves it."""
    return shutil.copytree(made, tmp_path / "w", symlinks=True)


def contents(root: Path) -> dict[str, bytes]:
    """All files but the lock, which is no part of the loop."""
    return {name: content for name, content in snapshot(root).items() if name != "data/.lock"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["conf/digits.yaml", "loop.query_siez=1"], ["loop.query_siez", "did you mean 'query_size'"]),
        (["conf/digits.yaml", "loop.query_size=0"], ["loop.query_size", "greater than or equal to 1"]),
        (["conf/digits.yaml", "train.epochs=ten"], ["train.epochs", "integer"]),
        (["conf/digits.yaml", "prices.label=-0.1"], ["prices.label"]),
        (["conf/digits.yaml", "loop.query_size=5000"], ["more than the pool's 1297 items"]),
        (["conf/digitz.yaml"], ["conf/digitz.yaml", "no such configuration file"]),
        (["conf/digits.yaml", "rounds"], ["key=value"]),
        (["conf/digits.yaml", "dataset.name=folder", "dataset.root=/nowhere"], ["nowhere"]),
        (["conf/digits.yaml", "device=cuda"], ["cuda"]),
        (["conf/digits.yaml", "train.precision=fp16", "device=cpu"], ["fp16"]),
        (["conf/digits.yaml", "label.confusion=[[1.0]]"], ["label.confusion", "10 rows of 10"]),
        (["conf/digits.yaml", "train.augment.crop=8"], ["train.augment.crop", "8x8"]),
        (["conf/digits.yaml", "train.model=resnet18", "train.batch_size=1"], ["batch normalisation"]),
        (["conf/digits.yaml", "train.model=resnet18", "loop.initial=1"], ["batch normalisation"]),
        (["conf/digits.yaml", "loop.max_labels=5"], ["loop.max_labels", "less than loop.initial"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_run_refuses_what_cannot_be_and_writes_nothing(fresh: Path, arguments: list[str], words: list[str]) -> None:
    before = contents(fresh)
    check_refused(frugal("run", "--workspace", fresh, *arguments), *words)
    assert contents(fresh) == before


def test_folder_that_is_no_workspace_is_refused(tmp_path: Path) -> None:
    for command in (["run"], ["open"], ["close"], ["status"], ["stage", "train", "--round", "0"]):
        check_refused(frugal(*command, "--workspace", tmp_path), "not a workspace", "frugal init")
    assert list(tmp_path.iterdir()) == []


def test_workspace_without_git_or_dvc_is_refused(fresh: Path) -> None:
    shutil.rmtree(fresh / ".dvc")
    check_refused(frugal("run", "--workspace", fresh), "not under DVC", "frugal init")
    shutil.rmtree(fresh / ".git")
    check_refused(frugal("run", "--workspace", fresh), "not under git", "frugal init")


def test_held_workspace_is_refused(fresh: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom tasks.rounds import Workspace, held\n"
        "with held(Workspace(Path(sys.argv[1]))):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(fresh.resolve())], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        check_refused(frugal("run", "--workspace", fresh), f"held by process {holder.pid}")
        holder.kill()


def test_changed_configuration_of_a_running_loop_is_refused(tmp_path: Path) -> None:
    workspace = begin(tmp_path / "w")
    shutil.copytree("conf", workspace.root / "conf", dirs_exist_ok=True)
    before = contents(workspace.root)
    changed = frugal("run", "--workspace", workspace.root, "conf/digits.yaml", *QUICK, "train.lr=0.5")
    check_refused(changed, "train.lr", "0.5", "frugal init")
    check_refused(frugal("run", "--workspace", workspace.root, "train.lr=0.5"), "train.lr", "0.5", "frugal init")
    assert contents(workspace.root) == before


def test_status_before_and_after_a_loop(tmp_path: Path) -> None:
    root = tmp_path / "w"
    (root / "conf").mkdir(parents=True)
    (root / "dvc.yaml").touch()
    assert json.loads(frugal("status", "--json", "--workspace", root).output)["state"] == "empty"
    finish(begin(root))
    told = json.loads(frugal("status", "--json", "--workspace", root).output)
    assert (told["state"], told["round"], told["labels"]) == ("finished", 2, 30)
    assert [outcome["labels"] for outcome in told["rounds"]] == [10, 20, 30]
    assert "loop.rounds = 3 reached" in frugal("status", "--workspace", root).output


def test_status_says_whom_the_loop_waits_for(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "w", label={"labeler": "files"})
    while (step := loop.next_step(workspace)) is not None and step.name != "label":
        loop.run(workspace, step)
    told = json.loads(frugal("status", "--json", "--workspace", workspace.root).output)
    assert told["state"] == "waiting"
    asked = "9 labels: 0 of 9 tasks of data/rounds/000/tasks.jsonl are answered; open since 20"
    assert told["waits_for"].startswith(asked)
    assert told["next"] == "frugal close --answers FILE"


@pytest.fixture
def asking(tmp_path: Path) -> Workspace:
    """A workspace whose round 000 waits for people."""
    workspace = make_workspace(
        tmp_path / "w", label={"labeler": "files"}, record={"git": "off", "dvc": False, "mlflow": False}
    )
    while (step := loop.next_step(workspace)) is not None and step.name != "label":
        loop.run(workspace, step)
    return workspace


def test_close_without_answers_waits_with_exit_3(asking: Workspace) -> None:
    before = contents(asking.root)
    result = frugal("close", "--workspace", asking.root)
    assert result.exit_code == 3
    assert result.stderr.startswith("waiting: round 000 waits for 9 labels")
    assert contents(asking.root) == before


def test_close_with_wrong_answers_writes_nothing(asking: Workspace, tmp_path: Path) -> None:
    before = contents(asking.root)
    answers = tmp_path / "answers.csv"
    answers.write_text("id,label\nnobody,bee\n")
    check_refused(frugal("close", "--workspace", asking.root, "--answers", answers), "row 1", "unknown id 'nobody'")
    check_refused(frugal("close", "--workspace", asking.root, "--answers", tmp_path / "a.xlsx"), "a.xlsx", ".csv")
    check_refused(frugal("close", "--workspace", asking.root, "--answers", tmp_path / "gone.csv"), "gone.csv")
    assert contents(asking.root) == before


def test_close_without_an_open_round_is_refused(workspace: Workspace) -> None:
    (workspace.root / ".git").mkdir()
    check_refused(frugal("close", "--workspace", workspace.root), "git")
    other = make_workspace(workspace.root.parent / "o", record={"git": "off", "dvc": False, "mlflow": False})
    check_refused(frugal("close", "--workspace", other.root), "no round is open", "frugal open")


def test_stage_runs_once_and_is_then_up_to_date(workspace: Workspace) -> None:
    write_plan(workspace, 0, query_size=9)
    stage = ("stage", "select", "--round", "0", "--workspace", workspace.root)
    assert frugal(*stage).output == "select 000: done\n"
    assert frugal(*stage).output == "select 000: up to date\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["slect", "--round", "0"], ["'slect'", "select"]),
        (["train"], ["--round"]),
        (["train", "--round", "7"], ["007", "missing"]),
    ],
    ids=["unknown", "no round", "no such round"],
)
def test_wrong_stage_is_refused(workspace: Workspace, arguments: list[str], words: list[str]) -> None:
    check_refused(frugal("stage", *arguments, "--workspace", workspace.root), *words)


def test_misspelt_command_line_is_one_line() -> None:
    check_refused(frugal("run", "--worskpace", "x"), "--worskpace", "frugal run --help")
    check_refused(frugal("stage", "train", "--round", "two"), "two")


@pytest.mark.parametrize("name", ["n" * 300, "/proc/nowhere/w"])
def test_folder_that_cannot_be_made_is_one_line(name: str) -> None:
    check_refused(frugal("init", name), name[:10])


def test_answers_that_are_no_use_leave_the_round_open(asking: Workspace, tmp_path: Path) -> None:
    answers = tmp_path / "a.csv"
    ids = column(asking.round_dir(0) / "selected.parquet", "id")
    answers.write_text("id,label,status\n" + "".join(f"{id_},,skipped\n" for id_ in ids))
    result = frugal("close", "--workspace", asking.root, "--answers", answers)
    assert result.exit_code == 3
    assert "9 of 9 tasks of data/rounds/000/tasks.jsonl were skipped; label at least one" in result.stderr
    (asking.round_dir(0) / "labels.jsonl").write_text("mine")
    check_refused(frugal("close", "--workspace", asking.root), "labels.jsonl, row 1: not valid JSON")


def test_answers_that_are_nowhere_are_no_such_file(asking: Workspace) -> None:
    refused = frugal("close", "--workspace", asking.root, "--answers", "missing.csv")
    check_refused(refused, "error: missing.csv: no such file\n")


@pytest.mark.parametrize(("command", "resumes"), [("plan", False), ("replay", False), ("report", False), ("run", True)])
def test_interrupted_command_goes_on_only_where_something_is_kept(
    monkeypatch: pytest.MonkeyPatch, command: str, resumes: bool
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main.commands[command], "callback", interrupted)
    result = frugal(command)
    assert result.exit_code == 130
    assert result.stderr == "interrupted" + "; the same command goes on where it stopped" * resumes + "\n"


def test_oracle_loop_takes_no_answers(tmp_path: Path) -> None:
    place = make_workspace(tmp_path / "o", record={"git": "off", "dvc": False, "mlflow": False})
    while (step := loop.next_step(place)) is not None and step.name != "label":
        loop.run(place, step)
    check_refused(frugal("close", "--workspace", place.root, "--answers", "a.csv"), "a.csv", "takes no files")


@pytest.mark.parametrize(
    "name", ["loop.json", "rounds/000/cost.json", "rounds/000/decision.json", "rounds/000/metrics.json"]
)
def test_damaged_state_is_named(tmp_path: Path, name: str) -> None:
    workspace = finish(begin(tmp_path / "w", "loop.rounds=1"))
    (workspace.root / "data" / name).write_text("{}")
    check_refused(frugal("status", "--workspace", workspace.root), name, "not what the loop writes")


def test_status_tells_who_is_at_work(tmp_path: Path) -> None:
    workspace = finish(begin(tmp_path / "w", "loop.rounds=1"))
    with held(workspace):
        told = json.loads(frugal("status", "--json", "--workspace", workspace.root).output)
    assert told["state"] == "running"
    assert str(os.getpid()) in told["waits_for"]


def test_nothing_is_scored_after_the_last_round(tmp_path: Path) -> None:
    workspace = finish(begin(tmp_path / "w", "loop.rounds=1"))
    refused = frugal("stage", "infer", "--round", "0", "--workspace", workspace.root)
    check_refused(refused, "the loop did not go on")


def test_full_disk_is_one_line(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    from tasks import files

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write_plan(workspace, 0, query_size=9)
    before = contents(workspace.root)
    monkeypatch.setattr(files.pq, "write_table", full)
    result = frugal("stage", "select", "--round", "0", "--workspace", workspace.root)
    check_refused(result, "selected.parquet", "no space left")
    assert contents(workspace.root) == before


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    heavy = "torch mlflow prefect dvc pandas numpy pyarrow pydantic rich sklearn"
    code = f"import sys, flows.cli; print([name for name in '{heavy}'.split() if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    command = [str(Path(sys.executable).parent / "frugal"), "--help"]
    fastest = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        fastest = min(fastest, time.perf_counter() - began)
    assert fastest < 0.5


def test_lock_is_free_after_a_refusal(fresh: Path) -> None:
    frugal("run", "--workspace", fresh, "loop.rounds=0")
    with held(Workspace(fresh.resolve())):
        assert (fresh / "data" / ".lock").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["conf/digits.yaml", "conf/digits.yaml"], ["conf/digits.yaml", "the same settings"]),
        (["conf/digits.yaml", "conf/gone.yaml"], ["conf/gone.yaml", "no such configuration file"]),
        (["conf/digits.yaml", "conf/mnist.yaml"], ["dataset.name", "'digits'", "'mnist'", "same budget"]),
        (["conf/digits.yaml", "loop.roundz=2"], ["loop.roundz", "did you mean 'rounds'"]),
        (["conf/digits.yaml", "label.labeler=files"], ["label.labeler=oracle"]),
        (["conf/digits.yaml", "select.strategy=random"], ["random arm itself"]),
        (["loop.rounds=2"], ["name at least one configuration"]),
        (["conf/digits.yaml", "--seeds", "0"], ["--seeds"]),
        (["conf/digits.yaml", "--out", "{workspace}"], ["holds other files", "--out"]),
    ],
    ids=["twice", "missing", "budget", "key", "people", "random", "none", "seeds", "folder"],
)
def test_compare_refuses_what_cannot_be_and_writes_nothing(fresh: Path, arguments: list[str], words: list[str]) -> None:
    before = contents(fresh)
    given = [argument.format(workspace=fresh) for argument in arguments]
    check_refused(frugal("compare", "--workspace", fresh, *given), *words)
    assert contents(fresh) == before
