"""The loop as a state machine on files: whatever dies, the next process goes on and pays for nothing twice."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from flows import start
from tasks import config, files, loop
from tasks.errors import ConfigError
from tasks.history import history
from tasks.rounds import Workspace, decision, rounds
from tasks.status import status
from tests.pools import snapshot

#: Seconds for three rounds: a linear model on a few digits.
QUICK = (
    "dataset.limit=120",
    "loop.rounds=3",
    "loop.initial=10",
    "loop.query_size=10",
    "train.model=linear",
    "train.epochs=2",
    "label.noise=0.1",
)
CONF = Path("conf/digits.yaml").resolve()


class Killed(BaseException):
    """Stands for SIGKILL: nothing may catch it."""


def begin(root: Path, *overrides: str) -> Workspace:
    (root / "conf").mkdir(parents=True, exist_ok=True)
    (root / "dvc.yaml").touch()
    workspace = Workspace(root)
    start.start(workspace, config.load(CONF, QUICK + overrides))
    return workspace


def finish(workspace: Workspace) -> Workspace:
    while (step := loop.next_step(workspace)) is not None:
        loop.run(workspace, step)
    return workspace


def results(workspace: Workspace) -> dict[str, Any]:
    """Everything that must come out the same: all bytes but the bills' measured seconds, and the bills' counts."""
    found: dict[str, Any] = {
        name: content
        for name, content in snapshot(workspace.root / "data").items()
        if not name.endswith(("cost.json", ".tmp")) and not name.startswith(("raw/", ".lock", "loop_id"))
    }
    for number in rounds(workspace):
        stages = files.read_json(workspace.round_dir(number) / "cost.json")["stages"]
        counts = ("labels", "label_price", "record_epochs", "items_scored", "forward_passes")
        found[f"bill {number}"] = {name: [entry["used"][key] for key in counts] for name, entry in stages.items()}
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return finish(begin(tmp_path_factory.mktemp("undisturbed") / "w"))


def test_each_round_holds_the_files_of_the_design(undisturbed: Workspace) -> None:
    always = {
        "plan.json",
        "selected.parquet",
        "tasks.jsonl",
        "labels.parquet",
        "labeled.parquet",
        "unlabeled.parquet",
        "model.safetensors",
        "model.json",
        "history.json",
        "metrics.json",
        "cost.json",
        "decision.json",
    }
    for number in rounds(undisturbed):
        present = {path.name for path in undisturbed.round_dir(number).iterdir()}
        # The last, useless scoring pass is not made.
        assert present == (always | {"scores.parquet"} if number < 2 else always)


def test_bill_counts_what_was_done(undisturbed: Workspace) -> None:
    last = history(undisturbed)[-1]
    assert last.labels == 30
    assert last.record_epochs == 2 * (10 + 20 + 30)
    assert last.items_scored == 110 + 100
    assert last.money_labels == 1.5


def test_decisions_go_on_and_then_stop(undisturbed: Workspace) -> None:
    actions = [made["action"] for number in rounds(undisturbed) if (made := decision(undisturbed, number))]
    assert actions == ["continue", "continue", "stop"]
    assert loop.next_step(undisturbed) is None
    assert loop.finished_rounds(undisturbed) == [0, 1, 2]
    assert status(undisturbed)["state"] == "finished"


def test_two_workspaces_get_the_same_bytes(undisturbed: Workspace, tmp_path: Path) -> None:
    assert results(finish(begin(tmp_path / "again"))) == results(undisturbed)


def test_another_seed_gives_another_loop(undisturbed: Workspace, tmp_path: Path) -> None:
    other = finish(begin(tmp_path / "other", "seed=1"))
    assert results(other)["rounds/000/selected.parquet"] != results(undisturbed)["rounds/000/selected.parquet"]


def renames_of_a_loop() -> int:
    """Upper bound of the renames in the quick loop; the last ones test that no crash is no trouble."""
    return 52


def crashing_replace(at: int, after: bool) -> Callable[[Path, Path], Path]:
    """Path.replace that dies just before or just after its rename number ``at``."""
    real, seen = Path.replace, iter(range(10**6))

    def replace(self: Path, target: Path) -> Path:
        number = next(seen)
        if number == at and not after:
            raise Killed
        moved = real(self, target)
        if number == at and after:
            raise Killed
        return moved

    return replace


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(0, renames_of_a_loop(), 2))
def test_crash_at_any_rename_changes_nothing_in_the_end(
    undisturbed: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int, after: bool
) -> None:
    root = tmp_path / "w"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", crashing_replace(at, after))
        with suppress(Killed):
            finish(begin(root))
    assert results(finish(begin(root))) == results(undisturbed)


def test_more_labels_than_pool_is_refused_and_nothing_written(tmp_path: Path) -> None:
    (tmp_path / "w" / "conf").mkdir(parents=True)
    with pytest.raises(ConfigError, match="3 rounds ask for 410 labels, more than the pool's 120 items"):
        begin(tmp_path / "w", "loop.query_size=200")
    assert [name for name in snapshot(tmp_path / "w") if name != "dvc.yaml"] == []


def test_budget_below_the_initial_pool_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"loop\.max_labels: 5 is less than loop\.initial"):
        begin(tmp_path / "w", "loop.max_labels=5")


def test_random_loop_scores_nothing(tmp_path: Path) -> None:
    workspace = finish(begin(tmp_path / "w", "select.strategy=random"))
    assert history(workspace)[-1].items_scored == 0


def test_loop_may_label_its_whole_pool(tmp_path: Path) -> None:
    workspace = finish(begin(tmp_path / "w", "loop.rounds=12", "dataset.limit=120"))
    made = decision(workspace, 11)
    assert made is not None
    assert made["action"] == "stop"
    assert history(workspace)[-1].labels == 120
