"""Trainings that diverge: an error, or, where the plan watches them, a round with the model that they began with."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from flows.record.tracking_run import epochs
from tasks import files
from tasks.cost.ledger import Usage
from tasks.datasets.store import load_items
from tasks.errors import Diverged, FrugalError
from tasks.models import stored
from tasks.models.forward import predict
from tasks.rounds import Workspace
from tasks.target import run as target_stage
from tasks.train import fit as fitting
from tasks.train import members
from tasks.train import run as train_stage
from tests.model_helpers import digits_workspace, go_on, label, outputs, train

#: A rate at which the first steps end in numbers that are none.
WILD = {"optimizer": "sgd", "lr": 1e6, "model": "ceal_cnn", "epochs": 3, "batch_size": 4}
CPU = torch.device("cpu")


def made(root: Path, watch: bool = True, **settings: Any) -> Workspace:
    """A digits loop with 20 labels in round 0."""
    workspace = digits_workspace(root, train=WILD | settings)
    label(workspace, 0, 20, watch=watch, stop_set=9)
    return workspace


def written(workspace: Workspace, name: str, round_: int = 0) -> Any:
    return files.read_json(workspace.round_dir(round_) / f"{name}.json")


def weights(workspace: Workspace, round_: int = 0) -> dict[str, torch.Tensor]:
    return load_file(workspace.round_dir(round_) / "model.safetensors")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.fixture
def losses(monkeypatch) -> list[float]:
    """What the training losses of coming steps shall be multiplied by, to be filled in; 1 afterwards."""
    factors: list[float] = []
    loss = functional.cross_entropy
    monkeypatch.setattr(
        functional,
        "cross_entropy",
        lambda *arguments, **keywords: loss(*arguments, **keywords) * (factors.pop(0) if factors else 1.0),
    )
    return factors


def test_unwatched_training_fails_as_it_always_did_and_writes_nothing(tmp_path) -> None:
    workspace = made(tmp_path, watch=False)
    with pytest.raises(
        FrugalError, match=r"diverged in epoch \d+ at a learning rate of 1e\+06; start .* lower train\.lr$"
    ):
        train(workspace)
    assert not (workspace.round_dir(0) / "metrics.json").exists()


def test_a_proxy_and_its_target_are_mended_by_their_own_keys(tmp_path) -> None:
    network = {"epochs": 3, "batch_size": 4, "optimizer": "sgd", "model": "ceal_cnn", "lr": 1e-3}
    for block, run, overrides in (
        ("proxy.train", train_stage.run, {"proxy": {"train": {"lr": 1e6}}}),
        ("train", target_stage.run, {"proxy": {"train": {"lr": 1e-3}}, "train": network | {"lr": 1e6}}),
    ):
        workspace = digits_workspace(tmp_path / block, **({"train": network} | overrides))
        label(workspace, 0, 20)
        with pytest.raises(Diverged, match=rf" lower {re.escape(block)}\.lr$"):
            run(workspace, 0, Usage())


def test_watched_training_leaves_the_model_that_it_began_with_measured_as_such(tmp_path) -> None:
    workspace = made(tmp_path)
    train(workspace)
    metrics = written(workspace, "metrics")
    assert metrics["diverged"] is True
    [model], view, _ = stored.read(workspace.round_dir(0), CPU)
    test = load_items(workspace, "test")
    truth = files.read_table(workspace.pool / "test.parquet")
    labels = dict(zip(truth["id"].to_pylist(), truth["label"].to_pylist(), strict=True))
    told = predict(model, test.array, view).argmax(axis=1)
    right = [labels[id_] == one for id_, one in zip(test.ids.to_pylist(), told, strict=True)]
    assert metrics["accuracy"] == pytest.approx(np.mean(right))
    assert files.read_table(workspace.round_dir(0) / "predictions.parquet")["label"][: len(told)].to_pylist() == list(
        told
    )
    calm = made(tmp_path / "calm", lr=1e-30)
    train(calm)
    assert same(weights(workspace), weights(calm))


def test_watched_training_is_reproducible_and_its_files_are_finite(tmp_path) -> None:
    workspace = made(tmp_path, members=2)
    train(workspace)
    first = outputs(workspace)
    train(workspace)
    assert outputs(workspace) == first
    json.loads(first["history.json"], parse_constant=pytest.fail)
    json.loads(first["metrics.json"], parse_constant=pytest.fail)


def test_watched_training_that_converges_is_as_any_other(tmp_path) -> None:
    watched, unwatched = made(tmp_path / "a", lr=0.01), made(tmp_path / "b", watch=False, lr=0.01)
    train(watched)
    train(unwatched)
    assert outputs(watched) == outputs(unwatched)


def test_history_holds_the_epochs_until_then(tmp_path, losses) -> None:
    workspace = made(tmp_path, model="linear", lr=0.01, batch_size=20)
    losses += [1.0, 1.0, np.inf]
    usage = train(workspace)
    history = written(workspace, "history")
    assert [epoch["epoch"] for epoch in history] == [1, 2]
    assert [metrics for _, _, metrics in epochs(history)] == history
    metrics = written(workspace, "metrics")
    assert metrics["losses"] == {"first": history[0]["loss"], "last": history[1]["loss"]}
    assert (metrics["epochs"], usage.record_epochs) == (3, 60)


def test_usage_of_an_ensemble_is_what_was_spent_until_a_member_diverged(tmp_path, losses) -> None:
    workspace = made(tmp_path, model="linear", lr=0.01, batch_size=20, members=3, validation=0.3)
    losses += [1.0, 1.0, 1.0, 1.0, np.nan]
    usage = train(workspace)
    metrics = written(workspace, "metrics")
    trained, held = metrics["train_items"], metrics["validation_items"]
    # Three epochs of the first member, two of the second; the last was not validated.
    assert usage.record_epochs == trained * 5
    held_out = files.count_rows(workspace.pool / "test.parquet")
    assert usage.forward_passes == trained * 5 + held * 4 + (held_out + held + 9) * 3
    assert [(epoch["member"], epoch["epoch"]) for epoch in written(workspace, "history")] == [
        (0, 1),
        (0, 2),
        (0, 3),
        (1, 1),
    ]
    assert metrics["epochs"] == 2.5
    assert metrics["losses"] is None


def test_model_that_diverged_on_the_validation_items_counts_their_pass(tmp_path, monkeypatch) -> None:
    workspace = made(tmp_path, model="linear", lr=0.01, batch_size=20, validation=0.3)
    monkeypatch.setattr(fitting, "predict", lambda model, items, view: np.full((len(items), 10), np.nan))
    usage = train(workspace)
    metrics = written(workspace, "metrics")
    held_out = files.count_rows(workspace.pool / "test.parquet")
    assert written(workspace, "history") == []
    assert metrics["losses"] is None
    assert usage.forward_passes == metrics["train_items"] + 2 * metrics["validation_items"] + held_out + 9


def test_outputs_that_are_not_finite_in_the_last_steps_are_a_divergence(tmp_path, monkeypatch) -> None:
    workspace = made(tmp_path, model="linear", lr=0.01)
    look, calls = members.predict, iter(range(100))

    def broken(model, items, view):
        return look(model, items, view) * (np.float32(np.nan) if next(calls) == 0 else 1)

    monkeypatch.setattr(members, "predict", broken)
    usage = train(workspace)
    assert written(workspace, "metrics")["diverged"] is True
    assert [epoch["epoch"] for epoch in written(workspace, "history")] == [1, 2, 3]
    held_out = files.count_rows(workspace.pool / "test.parquet")
    assert usage.forward_passes == 20 * 3 + held_out * 2 + 9
    still = made(tmp_path / "still", model="linear", lr=1e-30)
    train(still)
    assert same(weights(workspace), weights(still))


def test_training_from_former_weights_falls_back_to_them(tmp_path) -> None:
    workspace = made(tmp_path, model="linear", lr=1e-30)
    train(workspace)
    go_on(workspace, plan={"watch": True})
    settings = files.read_json(workspace.loop_file)
    settings["config"]["train"] |= {"lr": 1e38}
    files.write_json(workspace.loop_file, settings)
    train(workspace, 1)
    assert written(workspace, "metrics", 1)["diverged"] is True
    assert same(weights(workspace, 1), weights(workspace))


def test_second_repeat_that_diverges_leaves_what_it_began_with(tmp_path, losses) -> None:
    workspace = made(tmp_path, model="linear", lr=0.01, batch_size=20, repeats=2)
    losses += [1.0, 1.0, 1.0, np.inf]
    usage = train(workspace)
    metrics = written(workspace, "metrics")
    assert "repeats" not in metrics
    assert (metrics["epochs"], usage.record_epochs) == (2, 80)
    assert written(workspace, "history") == []
    still = made(tmp_path / "still", model="linear", lr=1e-30, members=2)
    train(still)
    second = {name.removeprefix("member.1."): tensor for name, tensor in weights(still).items() if "member.1" in name}
    assert same(weights(workspace), second)


def test_model_whose_beginning_is_not_finite_either_is_an_error(tmp_path, monkeypatch) -> None:
    workspace = made(tmp_path, model="linear", lr=0.01)
    monkeypatch.setattr(members, "predict", lambda model, items, view: np.full((len(items), 10), np.nan))
    with pytest.raises(Diverged, match="not finite"):
        train(workspace)
    assert not (workspace.round_dir(0) / "model.json").exists()
