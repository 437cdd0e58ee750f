"""Several models a round: the members of an ensemble, and trainings repeated from other seeds."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from flows.record.tracking_run import epochs
from tasks import files
from tasks.errors import FrugalError
from tasks.models import stored
from tasks.models.forward import predict
from tasks.rounds import Workspace, load_config
from tasks.seeds import torch_seed
from tasks.task_type.class_scores import evaluate
from tasks.train import round as stage
from tasks.train import trainings
from tasks.train.examples import Examples
from tasks.train.sets import Sets
from tests.model_helpers import digits_workspace, train

LINEAR = {"model": "linear", "epochs": 2}
CPU = torch.device("cpu")
MEASURES = ("accuracy", "nll", "ece")


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Workspace]:
    """Makes a digits loop with 20 labels in round 0, by settings of its training."""
    return lambda **settings: digits_workspace(tmp_path / str(len(list(tmp_path.iterdir()))), train=LINEAR | settings)


def written(workspace: Workspace, name: str) -> Any:
    return files.read_json(workspace.round_dir(0) / f"{name}.json")


def held_out(workspace: Workspace) -> Examples:
    return stage._held_out(workspace, load_config(workspace).selecting)


@pytest.fixture
def fits(monkeypatch) -> list[dict[str, Any]]:
    """Every call of ``fit`` from now on: validation, seed, weights, history."""
    calls: list[dict[str, Any]] = []
    fit = trainings.fit

    def spy(build, training, validation, settings, view, seed, *more):
        model, history = fit(build, training, validation, settings, view, seed, *more)
        weights = copy.deepcopy(model.state_dict())
        calls.append({"validation": validation, "seed": seed, "weights": weights, "history": history})
        return model, history

    monkeypatch.setattr(trainings, "fit", spy)
    return calls


def remeasure(monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Have each look at the held-out set come to what ``change`` makes of it."""
    measure = Sets.measure

    def changed(self, ensemble):
        measures, scores = measure(self, ensemble)
        return change(measures), scores

    monkeypatch.setattr(Sets, "measure", changed)


@pytest.fixture
def accuracies(monkeypatch) -> list[float]:
    """What the repeats' accuracies shall be on the held-out set, to be filled in."""
    values: list[float] = []
    calls = iter(range(100))
    remeasure(monkeypatch, lambda measures: measures | {"accuracy": values[next(calls)]})
    return values


@pytest.fixture
def losses(monkeypatch) -> list[float]:
    """What the models' best validation losses shall be, in the order of their training, to be filled in."""
    values: list[float] = []
    fit, calls = trainings.fit, iter(range(100))

    def scripted(*arguments):
        model, history = fit(*arguments)
        loss = values[next(calls)]
        # The lowest is not the last.
        for epoch, more in zip(history, (0.0, 5.0), strict=True):
            epoch["validation_loss"] = loss + more
        return model, history

    monkeypatch.setattr(trainings, "fit", scripted)
    return values


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_metrics_are_those_of_the_members_mean_probabilities(made) -> None:
    train(workspace := made(members=3))
    models, view, card = stored.read(workspace.round_dir(0), CPU)
    test = held_out(workspace)
    each = [np.exp(predict(model, test.items, view).astype(np.float64)) for model in models]
    expected = evaluate(np.log(sum(each) / 3), test.labels, card["classes"])
    metrics = written(workspace, "metrics")
    for name in MEASURES:
        assert metrics[name] == pytest.approx(expected[name], abs=1e-12)
    assert metrics["confusion"] == expected["confusion"]
    alone = [evaluate(np.log(member), test.labels, card["classes"])["nll"] for member in each]
    # Jensen's inequality.
    assert metrics["nll"] < np.mean(alone)
    assert len({metrics["nll"], *alone}) == 4


def test_first_member_is_the_single_model_and_the_others_differ(made, fits) -> None:
    train(made())
    train(made(members=3))
    single, *members = fits
    assert same(single["weights"], members[0]["weights"])
    assert len({member["weights"]["1.weight"].numpy().tobytes() for member in members}) == 3


def test_members_hold_the_same_items_back(made, fits) -> None:
    train(made(members=2, repeats=2, validation=0.3))
    assert len(fits) == 4
    assert len({call["seed"] for call in fits}) == 4
    assert len({call["validation"].items.tobytes() for call in fits}) == 1


def test_history_names_the_member(made, fits) -> None:
    train(workspace := made(members=2))
    expected = [{"member": member, **epoch} for member in (0, 1) for epoch in fits[member]["history"]]
    assert written(workspace, "history") == expected


def test_usage_counts_every_member_and_repeat(made) -> None:
    usage = train(workspace := made(members=2, repeats=3, validation=0.3))
    metrics, count = written(workspace, "metrics"), len(held_out(workspace))
    assert usage.record_epochs == metrics["train_items"] * 2 * 2 * 3
    # In training and validation; on the held-out set; and the kept members' on the validation items.
    assert usage.forward_passes == 20 * 2 * 2 * 3 + count * 2 * 3 + metrics["validation_items"] * 2
    assert metrics["epochs"] == 2


def test_epochs_are_the_mean_where_trainings_stop_early(made, fits) -> None:
    usage = train(workspace := made(members=3, epochs=12, validation=0.3, patience=1, lr=0.3, batch_size=4))
    lengths = [len(call["history"]) for call in fits]
    assert len(set(lengths)) > 1
    metrics = written(workspace, "metrics")
    assert metrics["epochs"] == sum(lengths) / 3
    assert usage.record_epochs == metrics["train_items"] * sum(lengths)


def test_metrics_are_the_repeats_means(made, monkeypatch) -> None:
    seen: list[dict[str, Any]] = []

    def spy(measures):
        seen.append(measures)
        return measures

    remeasure(monkeypatch, spy)
    train(workspace := made(repeats=3))
    metrics = written(workspace, "metrics")
    assert len(seen) == 3
    for name in MEASURES:
        values = [one[name] for one in seen]
        assert metrics[name] == pytest.approx(np.mean(values))
        assert metrics["repeats"][name] == {"values": values, "std": pytest.approx(np.std(values, ddof=1))}
    assert metrics["confusion"] == np.mean([one["confusion"] for one in seen], axis=0).tolist()
    assert metrics["accuracy"] == pytest.approx(np.trace(metrics["confusion"]) / np.sum(metrics["confusion"]))
    assert metrics["per_class"] == pytest.approx(
        {name: np.mean([one["per_class"][name] for one in seen]) for name in seen[0]["per_class"]}
    )
    assert len({one["nll"] for one in seen}) == 3


def test_class_without_held_out_items_stays_without_a_mean(made, monkeypatch) -> None:
    remeasure(monkeypatch, lambda measures: measures | {"per_class": measures["per_class"] | {"7": None}})
    train(workspace := made(repeats=2))
    assert written(workspace, "metrics")["per_class"]["7"] is None


def test_repeat_with_the_lowest_validation_loss_is_kept_whatever_the_held_out_set_says(
    made, fits, losses, accuracies
) -> None:
    losses += [0.5, 0.2, 0.2]
    accuracies += [0.9, 0.1, 0.8]
    train(workspace := made(repeats=3, validation=0.3))
    metrics = written(workspace, "metrics")
    assert metrics["kept"] == 1
    assert metrics["repeats"]["validation_loss"]["values"] == [0.5, 0.2, 0.2]
    assert metrics["accuracy"] == pytest.approx(0.6)
    [model], _, _ = stored.read(workspace.round_dir(0), CPU)
    assert same(model.state_dict(), fits[1]["weights"])
    assert written(workspace, "history") == fits[1]["history"]


def test_whole_ensemble_with_the_lowest_mean_validation_loss_is_kept(made, fits, losses) -> None:
    losses += [0.1, 0.9, 0.4, 0.4]
    train(workspace := made(members=2, repeats=2, validation=0.3))
    assert written(workspace, "metrics")["kept"] == 1
    models, _, _ = stored.read(workspace.round_dir(0), CPU)
    assert [same(model.state_dict(), call["weights"]) for model, call in zip(models, fits[2:], strict=True)] == [
        True
    ] * 2


def test_first_repeat_is_kept_without_validation(made, fits, accuracies) -> None:
    accuracies += [0.1, 0.9]
    train(workspace := made(repeats=2))
    metrics = written(workspace, "metrics")
    assert metrics["kept"] == 0
    assert "validation_loss" not in metrics["repeats"]
    [model], _, _ = stored.read(workspace.round_dir(0), CPU)
    assert same(model.state_dict(), fits[0]["weights"])


def test_single_training_writes_nothing_of_members_and_repeats(made) -> None:
    train(workspace := made())
    assert "members" not in written(workspace, "model")
    assert not written(workspace, "metrics").keys() & {"kept", "repeats"}
    assert [entry.keys() for entry in written(workspace, "history")] == [{"epoch", "loss", "lr"}] * 2
    assert written(workspace, "metrics")["epochs"].__class__ is int


def test_member_whose_outputs_are_not_finite_is_refused(made, monkeypatch) -> None:
    calls = iter(range(2))

    def broken(model, items, view):
        return np.full((len(items), 10), [np.log(0.1), np.nan][next(calls)], dtype=np.float32)

    monkeypatch.setattr("tasks.train.members.predict", broken)
    workspace = made(members=2)
    with pytest.raises(FrugalError, match="not finite"):
        train(workspace)
    assert not (workspace.round_dir(0) / "model.json").exists()


def test_seeds_of_all_indices_rounds_and_stages_differ() -> None:
    drawn = {
        torch_seed(0, round_, stage_, index)
        for round_ in range(5)
        for stage_ in ("select", "train", "infer")
        for index in range(20)
    }
    assert len(drawn) == 5 * 3 * 20


def test_index_0_has_the_stages_own_seed() -> None:
    own = np.random.SeedSequence(7, spawn_key=(2, 3)).generate_state(1, np.uint64)[0]
    assert torch_seed(7, 2, "train") == torch_seed(7, 2, "train", 0) == own >> np.uint64(1)


def test_mlflow_gets_a_curve_of_each_member() -> None:
    history = [{"member": 0, "loss": 3.0}, {"member": 0, "loss": 2.0}, {"member": 1, "loss": 1.0}]
    assert list(epochs(history)) == [
        ("epoch/member_0/", 0, {"loss": 3.0}),
        ("epoch/member_0/", 1, {"loss": 2.0}),
        ("epoch/member_1/", 0, {"loss": 1.0}),
    ]
    assert list(epochs([{"loss": 3.0}, {"loss": 2.0}])) == [("epoch/", 0, {"loss": 3.0}), ("epoch/", 1, {"loss": 2.0})]
