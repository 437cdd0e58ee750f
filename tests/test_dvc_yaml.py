"""dvc.yaml and the list of stages are the same pipeline."""

import contextlib
from pathlib import Path
from typing import Any

import pytest

from flows.record import versions
from flows.record.versions import quiet_dvc
from tasks import files, stages
from tasks.rounds import Workspace
from tests.record_helpers import add_round, make_workspace, rounds_mapping


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "loop")


def resolved(workspace: Workspace) -> dict[str, Any]:
    """The stages as DVC makes them from dvc.yaml and conf/rounds.yaml."""
    with quiet_dvc(), contextlib.chdir(workspace.root):
        from dvc.repo import Repo

        with Repo() as repo:
            return {stage.name: describe(workspace, stage) for stage in repo.index.stages}


def changed(workspace: Workspace) -> set[str]:
    """The stages that DVC would run again."""
    with quiet_dvc(), contextlib.chdir(workspace.root):
        from dvc.repo import Repo

        with Repo() as repo:
            return set(repo.status())


def describe(workspace: Workspace, stage: Any) -> dict[str, Any]:
    def inside(item: Any) -> str:
        return workspace.relative(Path(item.fs_path))

    params = [item for item in stage.deps if hasattr(item, "params")]
    return {
        "cmd": stage.cmd,
        "deps": {inside(item) for item in stage.deps if item not in params},
        "outs": {inside(item) for item in stage.outs if item.use_cache},
        "metrics": {inside(item) for item in stage.outs if not item.use_cache and item.metric},
        "params": {inside(item): set(item.params) for item in params},
        "frozen": stage.frozen,
    }


def expected(workspace: Workspace, stage: stages.Stage, round_: int) -> dict[str, Any]:
    suffix = "" if stage is stages.POOL else f" --round {round_:03d}"
    return {
        "cmd": f"frugal stage {stage.name}{suffix}",
        "deps": set(stage.paths(workspace, round_, stage.deps)),
        "outs": set(stage.paths(workspace, round_, stage.outs)),
        "metrics": set(stage.paths(workspace, round_, stage.metrics)),
        "params": {"data/loop.json": {f"config.{key}" for key in stage.params}},
        "frozen": stage.frozen,
    }


def test_two_rounds_of_which_one_was_scored_and_one_had_a_target(workspace: Workspace) -> None:
    add_round(workspace, 0)
    add_round(workspace, 1, last=True, target=True)
    wanted = {"pool": expected(workspace, stages.POOL, 0)}
    for stage in stages.ROUND_STAGES:
        for round_ in {stages.INFER: (0,), stages.TARGET: (1,)}.get(stage, (0, 1)):
            wanted[f"{stage.name}@{round_:03d}"] = expected(workspace, stage, round_)
    assert resolved(workspace) == wanted


def test_round_that_goes_on_from_weights_depends_on_them_and_one_from_scratch_does_not(workspace: Workspace) -> None:
    add_round(workspace, 0)
    warm = {"value": {"mode": "warm", "from_round": 0, "digest": ""}, "reason": "test"}
    add_round(workspace, 1, last=True, retrain=warm)
    found = resolved(workspace)
    assert found["train@001"] == expected(workspace, stages.TRAIN, 1)
    assert "data/rounds/000/model.safetensors" in found["train@001"]["deps"]
    assert not any("model" in name for name in found["train@000"]["deps"])
    assert rounds_mapping(workspace)["rounds"]["001"] == {
        "prev": "data/rounds/000",
        "start": "data/rounds/000/model.safetensors",
        "features": "data/pool/pool.json",
    }


def test_dvc_knows_when_the_weights_that_a_round_went_on_from_are_others(workspace: Workspace) -> None:
    add_round(workspace, 0)
    add_round(workspace, 1, last=True, retrain={"value": {"mode": "warm", "from_round": 0, "digest": ""}})
    versions.commit(workspace, 0)
    versions.commit(workspace, 1)
    assert changed(workspace) == set()
    files.write_bytes(workspace.round_dir(0) / "model.safetensors", b"other")
    assert changed(workspace) >= {"train@000", "train@001"}


def test_no_rounds_yet(workspace: Workspace) -> None:
    assert resolved(workspace) == {"pool": expected(workspace, stages.POOL, 0)}


def test_round_numbers_stay_names_beyond_seven(workspace: Workspace) -> None:
    for round_ in range(10):
        add_round(workspace, round_)
    assert {"select@008", "infer@009"} <= resolved(workspace).keys()
