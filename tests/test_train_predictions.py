"""predictions.parquet: what the round's model says of the held-out items, the validation items and the stop set."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks import files
from tasks.datasets.store import load_items
from tasks.models import stored
from tasks.models.forward import predict
from tasks.order import random_keys
from tasks.rounds import Workspace
from tasks.seeds import seed_sequence
from tasks.task_type import Classification
from tasks.train.predictions import Prediction, stop_set, table
from tests.model_helpers import digits_workspace, label, train

SCHEMA = pa.schema(
    {"id": pa.string(), "set": pa.string(), "label": pa.int64(), "confidence": pa.float32(), "entropy": pa.float32()}
)


def made(root: Path, stop: int = 0, **settings: Any) -> Workspace:
    """A digits loop whose round 0 is trained, with a stop set of so many items."""
    workspace = digits_workspace(root, train={"model": "linear", "epochs": 2} | settings)
    label(workspace, 0, 20, stop_set=stop)
    train(workspace)
    return workspace


def predictions(workspace: Workspace, round_: int = 0) -> pa.Table:
    return files.read_table(workspace.round_dir(round_) / "predictions.parquet")


def of(found: pa.Table, name: str) -> dict[str, list[Any]]:
    """The columns of one set."""
    columns: dict[str, list[Any]] = found.filter(pa.compute.equal(found["set"], name)).to_pydict()
    return columns


@pytest.mark.parametrize("members", [1, 2])
def test_rows_are_what_the_stored_model_says(tmp_path, members) -> None:
    workspace = made(tmp_path, stop=15, validation=0.3, members=members)
    found = predictions(workspace)
    assert found.schema.equals(SCHEMA)
    models, view, _ = stored.read(workspace.round_dir(0), torch.device("cpu"))
    for name, split in (("held_out", "test"), ("validation", "pool"), ("stop", "pool")):
        rows, items = of(found, name), load_items(workspace, split)
        assert rows["id"] == sorted(rows["id"])
        chosen = items.array[items.rows(rows["id"])]
        p = np.mean([np.exp(predict(model, chosen, view).astype(np.float64)) for model in models], axis=0)
        assert rows["label"] == p.argmax(axis=1).tolist()
        assert rows["confidence"] == pytest.approx(p.max(axis=1), rel=1e-5)
        assert rows["entropy"] == pytest.approx(-(p * np.log(p)).sum(axis=1), rel=1e-5)


def test_sets_come_in_their_order_and_are_whole(tmp_path) -> None:
    workspace = made(tmp_path, stop=15, validation=0.3)
    found = predictions(workspace)
    held = files.read_json(workspace.round_dir(0) / "metrics.json")["validation_items"]
    held_out = files.count_rows(workspace.pool / "test.parquet")
    assert found["set"].to_pylist() == ["held_out"] * held_out + ["validation"] * held + ["stop"] * 15


def test_accuracies_are_those_of_the_predictions(tmp_path) -> None:
    workspace = made(tmp_path, validation=0.3)
    found, metrics = predictions(workspace), files.read_json(workspace.round_dir(0) / "metrics.json")
    for name, path, key in (
        ("held_out", workspace.pool / "test.parquet", "accuracy"),
        ("validation", workspace.round_dir(0) / "labeled.parquet", "validation_accuracy"),
    ):
        truth = files.read_table(path)
        labels = dict(zip(truth["id"].to_pylist(), truth["label"].to_pylist(), strict=True))
        rows = of(found, name)
        right = [labels[id_] == told for id_, told in zip(rows["id"], rows["label"], strict=True)]
        assert metrics[key] == pytest.approx(np.mean(right))


def test_plan_of_a_former_release_has_neither_stop_set_nor_validation_accuracy(tmp_path) -> None:
    workspace = made(tmp_path)
    assert set(predictions(workspace)["set"].to_pylist()) == {"held_out"}
    metrics = files.read_json(workspace.round_dir(0) / "metrics.json")
    assert metrics["validation_accuracy"] is None
    assert metrics["diverged"] is False


def test_losses_are_the_means_of_the_members_first_and_last_epochs(tmp_path) -> None:
    workspace = made(tmp_path, members=2, epochs=3)
    history = files.read_json(workspace.round_dir(0) / "history.json")
    losses = {epoch: np.mean([one["loss"] for one in history if one["epoch"] == epoch]) for epoch in (1, 3)}
    metrics = files.read_json(workspace.round_dir(0) / "metrics.json")
    assert metrics["losses"] == pytest.approx({"first": losses[1], "last": losses[3]})


def test_stop_set_is_the_same_in_every_round_labelled_or_not(tmp_path) -> None:
    workspace = made(tmp_path, stop=40)
    label(workspace, 1, 50, stop_set=40)
    train(workspace, 1)
    first, second = (of(predictions(workspace, round_), "stop")["id"] for round_ in (0, 1))
    assert first == second
    labelled = set(files.read_table(workspace.round_dir(1) / "labeled.parquet")["id"].to_pylist())
    assert 0 < len(labelled & set(first)) < 40


def test_kept_repeat_is_the_one_that_predicts(tmp_path) -> None:
    workspace = made(tmp_path, stop=10, repeats=3, validation=0.3)
    [model], view, _ = stored.read(workspace.round_dir(0), torch.device("cpu"))
    items = load_items(workspace, "test")
    rows = of(predictions(workspace), "held_out")
    assert rows["confidence"] == pytest.approx(np.exp(predict(model, items.array, view)).max(axis=1))


IDS = [f"item/{number:03d}" for number in range(60)]


@given(st.permutations(IDS), st.integers(0, 80), st.integers(0, 2**63 - 1))
def test_stop_set_holds_the_smallest_keys_whatever_the_order(ids: list[str], size: int, seed: int) -> None:
    keys = dict(zip(IDS, random_keys(pa.array(IDS), seed_sequence(seed, 0, "stop")), strict=True))
    chosen = stop_set(pa.array(ids), size, seed)
    assert chosen.tolist() == sorted(chosen.tolist())
    assert {ids[position] for position in chosen} == set(sorted(IDS, key=keys.__getitem__)[:size])


def test_stop_sets_of_other_seeds_differ() -> None:
    assert stop_set(pa.array(IDS), 20, 0).tolist() != stop_set(pa.array(IDS), 20, 1).tolist()


def test_certain_and_even_predictions_have_the_ends_of_the_entropy() -> None:
    scores = np.log(np.array([[1.0, 1e-320, 1e-320], [1 / 3, 1 / 3, 1 / 3]]))
    rows = table([Prediction("stop", pa.array(["a", "b"]), scores)], Classification(("x", "y", "z"))).to_pydict()
    assert rows["entropy"] == pytest.approx([0.0, np.log(3)])
    assert np.copysign(1, rows["entropy"][0]) == 1
    assert rows["label"] == [0, 0]
    assert rows["confidence"] == pytest.approx([1.0, 1 / 3])
