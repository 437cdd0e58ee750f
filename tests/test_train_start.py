"""Trainings that go on from the weights of an earlier round."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from tasks import files, registry, stages
from tasks.errors import ConfigError, DataError
from tasks.models import forward
from tasks.rounds import Workspace
from tasks.train.replay import Replay, replay
from tasks.train.start import Start
from tests.model_helpers import digits_workspace, go_on, label, outputs, train

LINEAR = {"model": "linear", "epochs": 2, "batch_size": 4}
#: Steps so small that a model stays what it began as.
STILL = LINEAR | {"optimizer": "sgd", "lr": 1e-30}


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Workspace]:
    """Makes a digits loop whose round 0 is trained on 20 labels, by settings of its training."""

    def make(**settings: Any) -> Workspace:
        workspace = digits_workspace(tmp_path / str(len(list(tmp_path.iterdir()))), train=LINEAR | settings)
        train(workspace)
        return workspace

    return make


def weights(workspace: Workspace, round_: int) -> dict[str, torch.Tensor]:
    return load_file(workspace.round_dir(round_) / "model.safetensors")


def trained(workspace: Workspace, **retrain: Any) -> dict[str, bytes]:
    """The outputs of round 1."""
    go_on(workspace, **retrain)
    train(workspace, 1)
    return outputs(workspace, 1)


def metrics(workspace: Workspace, round_: int = 1) -> dict[str, Any]:
    found: dict[str, Any] = files.read_json(workspace.round_dir(round_) / "metrics.json")
    return found


@pytest.mark.parametrize("mode", ["warm", "resume"])
def test_training_begins_with_the_former_weights(made, mode) -> None:
    workspace = made(**STILL)
    trained(workspace, mode=mode)
    before, after = weights(workspace, 0), weights(workspace, 1)
    assert all(torch.equal(before[name], after[name]) for name in before)
    label(workspace, 1, 30)
    train(workspace, 1)
    assert not torch.equal(before["1.weight"], weights(workspace, 1)["1.weight"])


def test_every_member_goes_on_from_its_own_former_self(made) -> None:
    workspace = made(**STILL, members=3)
    trained(workspace)
    before, after = weights(workspace, 0), weights(workspace, 1)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not torch.equal(before["member.0.1.weight"], before["member.1.1.weight"])


def test_shrink_and_perturb_mixes_parameters_and_keeps_statistics() -> None:
    def fresh() -> nn.Module:
        return nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4))

    before = {name: tensor + 1 for name, tensor in fresh().state_dict().items()}
    torch.manual_seed(0)
    drawn = dict(fresh().named_parameters())
    torch.manual_seed(0)
    mixed = Start((before,), shrink=0.4, perturb=0.1).build(fresh, 0)
    for name, parameter in mixed.named_parameters():
        torch.testing.assert_close(parameter, 0.4 * before[name] + 0.1 * drawn[name])
    for name, buffer in mixed.named_buffers():
        assert torch.equal(buffer, before[name])
    assert dict(mixed.named_buffers()).keys() == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}


def test_shrink_1_and_perturb_0_is_a_warm_start(made) -> None:
    workspace = made()
    warm = trained(workspace)
    assert trained(workspace, mode="shrink_perturb", shrink=1.0, perturb=0.0) == warm
    assert trained(workspace, mode="shrink_perturb") != warm


def test_resuming_with_all_older_labels_is_a_warm_start(made) -> None:
    workspace = made()
    assert trained(workspace, mode="resume", replay=1.0) == trained(workspace)


@pytest.mark.parametrize("mode", ["warm", "resume", "shrink_perturb"])
def test_outputs_depend_on_nothing_but_labels_and_weights(made, mode) -> None:
    workspace = made(validation=0.3)
    first = trained(workspace, mode=mode)
    assert trained(workspace, mode=mode) == first
    path = workspace.round_dir(1) / "labeled.parquet"
    table = files.read_table(path)
    files.write_table(path, table.take(np.random.default_rng(0).permutation(len(table))))
    train(workspace, 1)
    assert outputs(workspace, 1) == first


def test_epochs_of_the_plan_replace_the_configured_ones_in_the_schedule_too(made) -> None:
    workspace = made(schedule="step", step_at=[0.5], step_factor=0.1, lr=0.01)
    trained(workspace, epochs=4)
    history = files.read_json(workspace.round_dir(1) / "history.json")
    assert [epoch["lr"] for epoch in history] == pytest.approx([0.01, 0.01, 0.001, 0.001])
    assert metrics(workspace)["epochs"] == 4


@pytest.fixture
def counted(monkeypatch) -> dict[str, int]:
    """Items that are trained on, and looked at without training, from now on."""
    seen = {"trained": 0, "looked": 0}
    loss, batches = functional.cross_entropy, forward.predict_batches

    def spy(logits, *arguments, **keywords):
        seen["trained"] += len(logits)
        return loss(logits, *arguments, **keywords)

    def look(model, items, rows, *more):
        seen["looked"] += len(rows)
        return batches(model, items, rows, *more)

    monkeypatch.setattr(functional, "cross_entropy", spy)
    monkeypatch.setattr(forward, "predict_batches", look)
    return seen


@pytest.mark.parametrize(
    ("settings", "retrain"),
    [
        ({}, {}),
        ({"validation": 0.3}, {}),
        ({"validation": 0.3, "patience": 1, "epochs": 12, "lr": 0.3}, {"epochs": 9}),
        ({"members": 2, "validation": 0.3}, {"mode": "resume", "replay": 0.25}),
        ({}, {"mode": "resume", "replay": 0.0, "epochs": 3}),
        ({}, {"mode": "shrink_perturb"}),
        ({"members": 2, "repeats": 2, "validation": 0.3}, None),
    ],
)
def test_usage_is_what_was_really_spent(made, counted, settings, retrain) -> None:
    workspace = made(**settings)
    counted |= {"trained": 0, "looked": 0}
    if retrain is None:
        label(workspace, 1, 30, stop_set=7)
    else:
        go_on(workspace, plan={"stop_set": 7}, **retrain)
    usage = train(workspace, 1)
    assert usage.record_epochs == counted["trained"] > 0
    assert usage.forward_passes == counted["trained"] + counted["looked"]


def test_resume_counts_new_and_replayed_records(made) -> None:
    workspace = made()
    go_on(workspace, mode="resume", replay=0.13, epochs=3)
    # 10 new ones and 0.13 of 20, rounded.
    assert train(workspace, 1).record_epochs == (10 + 3) * 3
    go_on(workspace, mode="resume", replay=1.0)
    assert train(workspace, 1).record_epochs == 30 * 2


def test_validation_items_are_never_replayed(made, monkeypatch) -> None:
    workspace = made(validation=0.3)
    found: list[Replay] = []
    monkeypatch.setattr("tasks.train.round.replay", lambda *arguments: found.append(replay(*arguments)) or found[-1])
    usage = (go_on(workspace, mode="resume", replay=0.5), train(workspace, 1))[1]
    old = metrics(workspace, 0)["train_items"]
    new = metrics(workspace)["train_items"] - old
    assert (int(found[0].older.sum()), len(found[0])) == (old, new + round(0.5 * old))
    assert usage.record_epochs == len(found[0]) * 2


def test_one_new_label_without_replay_is_enough(made) -> None:
    workspace = made()
    go_on(workspace, count=21, mode="resume", replay=0.0)
    assert train(workspace, 1).record_epochs == 2


def test_older_labels_fill_up_where_batch_normalisation_needs_two_items(made, monkeypatch) -> None:
    workspace = made()
    build = registry.resolve(registry.MODELS, "linear")
    monkeypatch.setattr(
        "tasks.models.linear.build", lambda *shape: nn.Sequential(*build(*shape), nn.BatchNorm1d(shape[1]))
    )
    label(workspace, 0, 20)
    train(workspace)
    go_on(workspace, count=21, mode="resume", replay=0.0)
    assert train(workspace, 1).record_epochs == 2 * 2


def test_older_labels_fill_up_where_all_new_ones_are_held_back(made, monkeypatch) -> None:
    workspace = made()
    monkeypatch.setattr("tasks.train.round.held_back", lambda ids, *_: np.arange(len(ids)) >= 20)
    go_on(workspace, mode="resume", replay=0.0)
    assert train(workspace, 1).record_epochs == 2
    assert metrics(workspace)["train_items"] == 20


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.floats(0, 1), st.integers(1, 2))
def test_an_epoch_meets_all_new_items_and_so_many_older_ones(older: list[bool], share: float, fewest: int) -> None:
    is_old = np.array(older)
    chosen = replay(is_old, share, fewest)
    old, new = int(is_old.sum()), int((~is_old).sum())
    order = chosen.order().tolist()
    assert len(order) == len(set(order)) == len(chosen)
    assert set(np.flatnonzero(~is_old)) <= set(order)
    wanted = new + round(share * old)
    assert len(order) == wanted if wanted >= fewest else len(order) == min(fewest, len(older))


def test_every_older_item_is_replayed_equally_often_and_anywhere() -> None:
    chosen = Replay(np.arange(12) < 8, 2)
    torch.manual_seed(0)
    orders = np.array([chosen.order().numpy() for _ in range(4000)])
    # Each of 8 with probability 1/4; each new one at each of 6 places with 1/6.
    assert np.bincount(orders.ravel())[:8] / 4000 == pytest.approx([0.25] * 8, abs=0.03)
    assert [(orders[:, place] == 11).mean() for place in range(6)] == pytest.approx([1 / 6] * 6, abs=0.03)


def test_other_items_are_replayed_in_each_epoch(monkeypatch, made) -> None:
    workspace = made(epochs=4)
    orders: list[list[int]] = []
    order = Replay.order

    def spy(self):
        found = order(self)
        orders.append(sorted(found.tolist()))
        return found

    monkeypatch.setattr(Replay, "order", spy)
    go_on(workspace, mode="resume", replay=0.25)
    train(workspace, 1)
    assert len({tuple(one) for one in orders}) == 4


def test_weights_with_another_digest_are_refused(made) -> None:
    workspace = made()
    go_on(workspace, digest="0" * 64)
    with pytest.raises(DataError, match=r"000/model\.safetensors: not the weights that are asked for"):
        train(workspace, 1)
    assert not (workspace.round_dir(1) / "model.json").exists()


def test_missing_weights_are_refused(made) -> None:
    workspace = made()
    go_on(workspace)
    (workspace.round_dir(0) / "model.safetensors").unlink()
    with pytest.raises(DataError, match="missing; restore it with `dvc checkout`"):
        train(workspace, 1)


@pytest.mark.parametrize("damage", [lambda state: {}, lambda state: state | {"1.bias": torch.zeros(11)}])
def test_weights_of_another_architecture_are_refused(made, damage) -> None:
    workspace = made()
    path = workspace.round_dir(0) / "model.safetensors"
    save_file(damage(load_file(path)), path)
    go_on(workspace)
    with pytest.raises(ConfigError, match=r"plan\.json: retrain goes on from the weights of another model"):
        train(workspace, 1)


def test_weights_of_another_number_of_members_are_refused(made, tmp_path) -> None:
    single, several = made(), made(members=2)
    path = several.round_dir(0) / "model.safetensors"
    path.write_bytes((single.round_dir(0) / "model.safetensors").read_bytes())
    go_on(several)
    with pytest.raises(DataError, match="does not load"):
        train(several, 1)


@pytest.mark.parametrize(
    ("retrain", "message"),
    [
        ({"mode": "lukewarm"}, "retrain is 'lukewarm'; known: scratch, warm, resume, shrink_perturb"),
        ({"from_round": 1}, "from_round, an earlier round"),
        ({"from_round": None}, "from_round, an earlier round"),
        ({"digest": None}, "the digest of its model's weights"),
        ({"replay": 0.5}, "retrain.replay: Extra inputs are not permitted"),
        ({"mode": "resume", "replay": 1.5}, "retrain.replay: Input should be less than or equal to 1"),
        ({"epochs": 0}, "retrain.epochs: Input should be greater than or equal to 1"),
    ],
)
def test_impossible_plans_are_refused(made, retrain, message) -> None:
    workspace = made()
    go_on(workspace, **retrain)
    with pytest.raises(ConfigError, match=message):
        train(workspace, 1)


def test_training_from_scratch_has_the_inputs_that_it_always_had(made) -> None:
    workspace = made()
    label(workspace, 1, 30)
    assert list(stages.input_digests(workspace, stages.TRAIN, 1)) == [
        "data/rounds/001/plan.json",
        "data/rounds/001/labeled.parquet",
        "data/pool/pool.json",
        "data/pool/manifest.parquet",
        "data/pool/test.parquet",
        "config",
    ]


def test_former_weights_are_an_input_of_a_training_that_goes_on_from_them(made) -> None:
    workspace = made()
    go_on(workspace)
    former = workspace.round_dir(0) / "model.safetensors"
    assert stages.input_digests(workspace, stages.TRAIN, 1)["data/rounds/000/model.safetensors"] == files.digest(former)
    assert stages.run(workspace, stages.TRAIN, 1)
    assert stages.is_done(workspace, stages.TRAIN, 1)
    former.write_bytes(b"")
    assert not stages.is_done(workspace, stages.TRAIN, 1)


def test_reproduced_warm_round_has_the_same_bytes_and_the_same_bill(made) -> None:
    workspace = made()
    go_on(workspace, plan={"stop_set": 5}, mode="resume")
    stages.run(workspace, stages.TRAIN, 1)
    before = outputs(workspace, 1), (workspace.round_dir(1) / "cost.json").read_bytes()
    for name in before[0]:
        (workspace.round_dir(1) / name).unlink()
    assert stages.run(workspace, stages.TRAIN, 1)
    assert (outputs(workspace, 1), (workspace.round_dir(1) / "cost.json").read_bytes()) == before
    assert stages.differing(workspace, stages.TRAIN, 1) == []


def test_round_that_a_former_release_trained_is_not_run_again(made) -> None:
    workspace = made()
    stages.run(workspace, stages.TRAIN, 0)
    book = workspace.round_dir(0) / "cost.json"
    written = files.read_json(book)
    del written["stages"]["train"]["outputs"]["data/rounds/000/predictions.parquet"]
    files.write_json(book, written)
    (workspace.round_dir(0) / "predictions.parquet").unlink()
    assert stages.is_done(workspace, stages.TRAIN, 0)
    assert stages.differing(workspace, stages.TRAIN, 0) == []
