"""The stage TRAIN on files."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tasks import files
from tasks.errors import ConfigError, DataError, FrugalError
from tasks.models import stored
from tasks.rounds import Workspace
from tests.model_helpers import digits_workspace, label, outputs, pool_ids, train, write_labeled


@pytest.fixture
def labelled(tmp_path) -> Workspace:
    """Round 0 of a digits loop with 20 labels."""
    return digits_workspace(tmp_path)


def test_outputs_are_the_same_bytes_each_time(labelled) -> None:
    train(labelled)
    first = outputs(labelled)
    train(labelled)
    assert outputs(labelled) == first


def test_order_of_the_labels_plays_no_part(tmp_path) -> None:
    labelled = digits_workspace(tmp_path, train={"model": "linear", "epochs": 2, "validation": 0.3, "batch_size": 4})
    train(labelled)
    first = outputs(labelled)
    path = labelled.round_dir(0) / "labeled.parquet"
    table = files.read_table(path)
    files.write_table(path, table.take(np.random.default_rng(0).permutation(len(table))))
    train(labelled)
    assert outputs(labelled) == first


def test_usage_counts_records_passes_and_device_seconds(labelled) -> None:
    usage = train(labelled)
    held_out = files.read_table(labelled.pool / "test.parquet").num_rows
    assert usage.record_epochs == 40
    assert usage.forward_passes == 40 + held_out
    assert list(usage.device_s) == ["cpu"]


def test_metrics_speak_of_all_held_out_items(labelled) -> None:
    train(labelled)
    metrics = files.read_json(labelled.round_dir(0) / "metrics.json")
    assert (metrics["round"], metrics["labels"], metrics["train_items"], metrics["epochs"]) == (0, 20, 20, 2)
    table = np.array(metrics["confusion"])
    assert table.sum() == files.read_table(labelled.pool / "test.parquet").num_rows
    assert metrics["accuracy"] == pytest.approx(table.trace() / table.sum())


def test_validation_items_are_paid_for_but_not_trained_on(tmp_path) -> None:
    settings = {"model": "linear", "epochs": 3, "validation": 0.3}
    usage = train(workspace := digits_workspace(tmp_path, train=settings))
    metrics = files.read_json(workspace.round_dir(0) / "metrics.json")
    assert metrics["validation_items"] > 0
    assert metrics["labels"] == metrics["train_items"] + metrics["validation_items"] == 20
    assert usage.record_epochs == metrics["train_items"] * 3
    assert "validation_loss" in files.read_json(workspace.round_dir(0) / "history.json")[0]


def test_stored_model_is_read_back_with_its_buffers(tmp_path) -> None:
    workspace = digits_workspace(tmp_path, train={"model": "resnet18", "epochs": 1})
    label(workspace, 0, 4)
    train(workspace)
    [model], view, card = stored.read(workspace.round_dir(0), torch.device("cpu"))
    weights = load_file(workspace.round_dir(0) / "model.safetensors")
    assert weights.keys() == model.state_dict().keys()
    assert weights["bn1.num_batches_tracked"] == 1
    assert card["digest"] == files.digest(workspace.round_dir(0) / "model.safetensors")
    assert card["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert view.mean == tuple(files.read_json(workspace.pool / "pool.json")["mean"])


def test_weights_that_the_card_does_not_speak_of_are_refused(labelled) -> None:
    train(labelled)
    path = labelled.round_dir(0) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match="not the weights"):
        stored.read(labelled.round_dir(0), torch.device("cpu"))


def test_weights_of_another_model_are_refused(labelled) -> None:
    train(labelled)
    card = labelled.round_dir(0) / "model.json"
    files.write_json(card, files.read_json(card) | {"model": "ceal_cnn"})
    with pytest.raises(DataError, match="does not load"):
        stored.read(labelled.round_dir(0), torch.device("cpu"))


def test_unknown_retrain_mode_is_refused(labelled) -> None:
    label(labelled, 0, 20, retrain="lukewarm")
    with pytest.raises(ConfigError, match=r"plan\.json: retrain is 'lukewarm'"):
        train(labelled)


def test_no_labels_are_refused(labelled) -> None:
    write_labeled(labelled, 0, [], [])
    with pytest.raises(DataError, match="nothing to train on"):
        train(labelled)


def test_label_outside_the_classes_is_refused_with_its_id(labelled) -> None:
    ids = pool_ids(labelled)
    write_labeled(labelled, 0, ids[:2], [3, 10])
    with pytest.raises(DataError, match=f"item '{ids[1]}' has the label 10"):
        train(labelled)


def test_weights_that_are_not_finite_are_refused(labelled, monkeypatch) -> None:
    def broken(model, items, view):
        return np.full((len(items), 10), np.nan, dtype=np.float32)

    monkeypatch.setattr("tasks.train.members.predict", broken)
    with pytest.raises(FrugalError, match="not finite; start a new loop with a lower train"):
        train(labelled)
    assert not (labelled.round_dir(0) / "model.json").exists()
