"""The loop as a state machine on files: whatever dies, the next process goes on and pays for nothing twice."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flows import start
from flows.record.catch_up import catch_up
from tasks import config, files, loop, stages
from tasks.errors import ConfigError, WorkspaceError
from tasks.history import history
from tasks.rounds import Workspace, decision, load_config, rounds
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
#: Every kind of policy at work: a false start (the first attempt is not good enough, the second one is), rules of which
#: none ever ends the loop before its time, fitted query sizes, a mode of training that changes, candidates likewise.
#: Forecasts go by rates that are given, so that what is decided by them does not depend on the machine.
POLICIES = (
    "seed=3",
    "train.epochs=10",
    "train.lr=0.03",
    "loop.max_labels=80",
    "policy.metric=accuracy",
    "policy.false_start.rounds=1",
    "policy.false_start.above_chance=0",
    "policy.false_start.loss_falls=0.01",
    "policy.false_start.expected={10: 0.3}",
    "policy.stop_set=50",
    "policy.stop.budget={labels: 1000, money: 1000, device_hours: 1000, wall_hours: 1000}",
    "policy.stop.target.accuracy=1.0",
    "policy.stop.all={rounds: {at_least: 99}, plateau: {}, marginal_value: {value_per_point: 1}, learning_curve: {}}",
    "policy.stop.any.all={rounds: {at_least: 99}, stable_predictions: {}, overall_uncertainty: {}}",
    "policy.query_size=cost_optimal",
    "policy.cost_optimal={smallest: 5, largest: 15}",
    "policy.retrain=auto",
    "policy.auto={then: resume, kappa: 0.3, back: 0.2}",
    "policy.scope=adaptive",
    "infer.scope=[candidates]",
    "infer.candidates={size: 40, explore: 0.3}",
    "rates={record_epoch: 1e-4, forward_pass: 1e-5, stage: 0.01}",
)
#: Keep the record out of what needs none.
UNRECORDED = ("record.git=off", "record.dvc=false", "record.mlflow=false")
CONF = Path("conf/digits.yaml").resolve()


class Killed(BaseException):
    """Stands for SIGKILL in one process: nothing may catch it."""


def begin(root: Path, *overrides: str) -> Workspace:
    (root / "conf").mkdir(parents=True, exist_ok=True)
    (root / "dvc.yaml").touch()
    workspace = Workspace(root)
    start.start(workspace, config.load(CONF, QUICK + UNRECORDED + overrides))
    return workspace


def finish(workspace: Workspace) -> Workspace:
    while (step := loop.next_step(workspace)) is not None:
        loop.run(workspace, step)
    return workspace


def results(workspace: Workspace) -> dict[str, Any]:
    """Everything that must come out the same: all bytes but measured seconds and what they cost, and the counts."""
    found: dict[str, Any] = {
        name: content
        for name, content in snapshot(workspace.root / "data").items()
        if not name.endswith(("cost.json", "decision.json", ".tmp"))
        and not name.startswith(("raw/", ".lock", "loop_id", "curve.csv"))
    }
    found["conf/rounds.yaml"] = workspace.rounds_file.read_bytes()
    for number in rounds(workspace):
        book = files.read_json(workspace.round_dir(number) / "cost.json")["stages"]
        counts = ("labels", "label_price", "record_epochs", "items_scored", "forward_passes")
        made = decision(workspace, number)
        if made is not None:
            # What rules say may speak of money, and so of seconds.
            numbers = {key: value for key, value in made["numbers"].items() if key != "rules"}
            found[f"decision {number}"] = made | {"numbers": numbers}
        found[f"bill {number}"] = {name: [entry["used"][key] for key in counts] for name, entry in book.items()}
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return finish(begin(tmp_path_factory.mktemp("undisturbed") / "w"))


def test_each_round_holds_the_files_of_the_design(undisturbed: Workspace) -> None:
    always = {
        "forecast.json",
        "plan.json",
        "selected.parquet",
        "tasks.jsonl",
        "labels.parquet",
        "answers.parquet",
        "labeled.parquet",
        "unlabeled.parquet",
        "model.safetensors",
        "model.json",
        "predictions.parquet",
        "history.json",
        "metrics.json",
        "cost.json",
        "decision.json",
    }
    for number in rounds(undisturbed):
        present = {path.name for path in undisturbed.round_dir(number).iterdir()}
        # The last, useless scoring pass is not made.
        assert present == (always | {"scores.parquet", "features.parquet"} if number < 2 else always)


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


#: How often a loop with every kind of policy, and a false start, renames a file or folder into place.
RENAMES = 99


@contextmanager
def kills(root: Path, to: Path) -> Iterator[list[Path]]:
    """What a SIGKILL just after each rename within the block would leave of a workspace, in their order."""
    left: list[Path] = []

    def photographed(real: Callable[[Path, Path], Path]) -> Callable[[Path, Path], Path]:
        def moved(path: Path, target: Path) -> Path:
            result = real(path, target)
            left.append(shutil.copytree(root, to / str(len(left))))
            return result

        return moved

    with pytest.MonkeyPatch.context() as patch:
        for name in ("replace", "rename"):
            patch.setattr(Path, name, photographed(getattr(Path, name)))
        yield left


@pytest.fixture(scope="module")
def with_policies(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = finish(begin(tmp_path_factory.mktemp("policies") / "w", *POLICIES))
    actions = [(decision(workspace, number) or {})["action"] for number in rounds(workspace)]
    assert actions == ["restart", "continue", "continue", "stop"]
    return workspace


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What kills have left of such loops."""
    folder = tmp_path_factory.mktemp("killed")
    with kills(folder / "w", folder) as left:
        finish(begin(folder / "w", *POLICIES))
    return left


def test_the_loop_makes_as_many_renames_as_are_tried_below(killed: list[Path]) -> None:
    assert len(killed) == RENAMES


@pytest.mark.parametrize("fatal", range(RENAMES))
def test_kill_after_any_rename_changes_nothing_in_the_end(
    with_policies: Workspace, killed: list[Path], tmp_path: Path, fatal: int
) -> None:
    workspace = begin(shutil.copytree(killed[fatal], tmp_path / "w"), *POLICIES)
    # What a start records first must not need more than what is there.
    catch_up(workspace, load_config(workspace))
    assert results(finish(workspace)) == results(with_policies)


#: A proxy whose target is trained in every round, on top of QUICK.
PROXY = ("loop.rounds=2", "proxy={train: {model: linear, lr: 0.1}, agreement: 20, target: {every: 1}}")
#: How often the decision after the first round and its TARGET rename a file into place, with what goes with them.
TARGET_RENAMES = 10


@pytest.fixture(scope="module")
def undecided(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A loop with a proxy whose first round is trained."""
    workspace = begin(tmp_path_factory.mktemp("undecided") / "w", *PROXY)
    while (step := loop.next_step(workspace)) is not None and step.name != "decide":
        loop.run(workspace, step)
    return workspace


@pytest.fixture(scope="module")
def with_target(undecided: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return finish(Workspace(shutil.copytree(undecided.root, tmp_path_factory.mktemp("target") / "w")))


def through_target(workspace: Workspace) -> None:
    """The decision after the first round and its TARGET."""
    for name in ("decide", "target"):
        step = loop.next_step(workspace)
        assert step is not None
        assert (step.name, step.round) == (name, 0)
        loop.run(workspace, step)


@pytest.fixture(scope="module")
def killed_at_target(undecided: Workspace, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What kills have left around a TARGET."""
    folder = tmp_path_factory.mktemp("killed")
    root = shutil.copytree(undecided.root, folder / "w")
    with kills(root, folder) as left:
        through_target(Workspace(root))
    return left


def test_decision_and_target_make_as_many_renames_as_are_tried_below(killed_at_target: list[Path]) -> None:
    assert len(killed_at_target) == TARGET_RENAMES


@pytest.mark.parametrize("fatal", range(TARGET_RENAMES))
def test_kill_around_a_target_changes_nothing_in_the_end(
    with_target: Workspace, killed_at_target: list[Path], tmp_path: Path, fatal: int
) -> None:
    workspace = begin(shutil.copytree(killed_at_target[fatal], tmp_path / "w"), *PROXY)
    catch_up(workspace, load_config(workspace))
    assert results(finish(workspace)) == results(with_target)


def test_key_added_by_a_later_release_does_not_reopen_a_loop(undisturbed: Workspace, tmp_path: Path) -> None:
    workspace = Workspace(shutil.copytree(undisturbed.root, tmp_path / "w"))
    stored = files.read_json(workspace.loop_file)
    for stage in ("train", "label", "select", "infer"):
        # As a configuration looked before the release that brought this key.
        stored["config"][stage].popitem()
    digests = [stages.input_digests(undisturbed, stages.TRAIN, 1)]
    files.write_json(workspace.loop_file, stored)
    digests.append(stages.input_digests(workspace, stages.TRAIN, 1))
    assert digests[0]["config"] != digests[1]["config"]
    assert digests[1]["config"] == files.digest_value({key: stored["config"][key] for key in stages.TRAIN.params})


def test_missing_labels_are_named_and_never_asked_for_again(undisturbed: Workspace, tmp_path: Path) -> None:
    workspace = Workspace(shutil.copytree(undisturbed.root, tmp_path / "w"))
    (workspace.round_dir(2) / "labels.parquet").unlink()
    with pytest.raises(WorkspaceError, match=r"labels\.parquet: missing, and labels are never asked for twice"):
        loop.next_step(workspace)


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
