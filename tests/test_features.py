"""Features that INFER leaves behind for SELECT, and the strategies that go by them."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from tasks import feature_file, files, registry, stages
from tasks.cost.ledger import Usage
from tasks.datasets.store import load_items
from tasks.errors import ConfigError, DataError
from tasks.feature_file import Features
from tasks.infer import run as infer_stage
from tasks.models import stored
from tasks.models.device import resolve
from tasks.models.forward import predict
from tasks.rounds import Workspace
from tasks.select.choice import Candidates, Chosen, Embedded
from tasks.select.featured import by_features
from tests.model_helpers import POOL_ITEMS, digits_workspace, label, pool_ids, train
from tests.test_loop import begin, finish, results

CPU = resolve("cpu")


@pytest.fixture
def featured(tmp_path: Path) -> Workspace:
    """Round 0 of a digits loop with 20 of 60 items labelled, a model, and a plan that asks for features."""
    workspace = digits_workspace(tmp_path)
    label(workspace, 0, 20, infer_features=True)
    train(workspace)
    return workspace


def infer(workspace: Workspace, round_: int = 0) -> Usage:
    usage = Usage()
    infer_stage.run(workspace, round_, usage)
    return usage


def found(workspace: Workspace, round_: int = 0) -> Features:
    return feature_file.read(workspace.round_dir(round_) / "features.parquet")


def test_features_are_the_inputs_of_the_last_layer_and_its_probabilities(featured: Workspace) -> None:
    usage = infer(featured)
    features = found(featured)
    assert features.ids.to_pylist() == pool_ids(featured)[20:] + pool_ids(featured)[:20]
    assert features.labeled.tolist() == [False] * 40 + [True] * 20
    assert (usage.items_scored, usage.forward_passes) == (40, POOL_ITEMS)
    models, view, _ = stored.read(featured.round_dir(0), resolve("cpu"))
    items = load_items(featured, "pool")
    array = items.array[items.rows(features.ids)]
    assert np.allclose(features.probabilities, np.exp(predict(models[0], array, view)), atol=1e-6)
    weight, bias = (parameter.detach().numpy() for parameter in models[0].parameters())
    logits = features.features @ weight.T + bias
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.allclose(features.probabilities, softmax, atol=1e-5)


def test_without_a_wish_for_features_the_table_is_empty(tmp_path: Path) -> None:
    workspace = digits_workspace(tmp_path)
    train(workspace)
    assert infer(workspace).forward_passes == 40
    assert files.count_rows(workspace.round_dir(0) / "features.parquet") == 0
    with pytest.raises(DataError, match="holds no features"):
        found(workspace)


def test_features_of_an_ensemble_are_its_first_members(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"train": {"model": "linear", "epochs": 1, "members": 2}}
    workspace = digits_workspace(tmp_path, **settings)
    label(workspace, 0, 20, infer_features=True)
    train(workspace)
    assert infer(workspace).forward_passes == 40 * 2 + 40 + 20
    assert len(found(workspace).features) == POOL_ITEMS


def test_a_subset_is_scored_from_the_first_pass_on_and_drawn_anew(featured: Workspace) -> None:
    subset = [{"name": "subset", "size": 10, "ratio": None}]
    label(featured, 0, 20, infer_features=True, infer_scope=subset)
    assert infer(featured).items_scored == 10
    assert int((~found(featured).labeled).sum()) == 10
    label(featured, 1, 20, infer_scope=subset)
    train(featured, 1)
    assert infer(featured, 1).items_scored == 10
    cache = files.read_table(featured.round_dir(1) / "scores.parquet")
    rounds = cache["scored_round"].to_pylist()
    assert rounds.count(1) == 10
    assert rounds.count(0) > 0
    assert set(cache["scope"].to_pylist()) == {"subset", "not drawn"}


def table(**columns: Any) -> Features:
    wanted: dict[str, Any] = {
        "ids": pa.array(["a", "b", "c", "z"]),
        "labeled": np.array([False, False, False, True]),
        "features": np.arange(8, dtype=np.float32).reshape(4, 2),
        "probabilities": np.full((4, 3), 1 / 3, dtype=np.float32),
    }
    return Features(**(wanted | columns))


@pytest.mark.parametrize("name", ["features", "probabilities"])
def test_numbers_that_are_not_finite_are_refused_with_their_item(tmp_path: Path, name: str) -> None:
    values: npt.NDArray[np.float32] = getattr(table(), name).copy()
    values[1, 0] = np.nan
    feature_file.write(tmp_path / "features.parquet", table(**{name: values}))
    with pytest.raises(DataError, match=rf"item 'b' has {name} that are not finite \(1 such"):
        feature_file.read(tmp_path / "features.parquet")


def test_a_file_that_the_loop_did_not_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "features.parquet"
    files.write_table(path, pa.table({"id": ["a"], "labeled": [True], "features": [1.0], "probabilities": [1.0]}))
    with pytest.raises(DataError, match="features is not what the loop writes"):
        feature_file.read(path)


def candidates(*ids: str) -> Candidates:
    return Candidates(pa.array(ids), np.full(len(ids), np.nan), np.random.SeedSequence(1))


def by_first_feature(part: Candidates, seen: Embedded, size: int) -> Chosen:
    assert len(part.ids) == len(seen.unlabeled) == len(seen.probabilities)
    assert seen.labeled.tolist() == [[6, 7]]
    assert seen.device == CPU
    return Chosen(np.argsort(-seen.unlabeled[:, 0])[:size], ["first"] * size)


def test_only_candidates_with_features_are_given_and_others_fill_up() -> None:
    chosen = by_features(by_first_feature, candidates("x", "c", "a", "y"), table(), 3, CPU)
    assert [("x", "c", "a", "y")[place] for place in chosen.positions[:2]] == ["c", "a"]
    assert chosen.positions[2] in (0, 3)
    assert chosen.origins == ["first", "first", "unscored"]


def test_features_of_another_pool_and_doubled_ones_are_refused() -> None:
    with pytest.raises(DataError, match="belongs to another"):
        by_features(by_first_feature, candidates("x", "y"), table(), 1, CPU)
    with pytest.raises(DataError, match="more than once"):
        by_features(by_first_feature, candidates("a"), table(ids=pa.array(["a", "a", "c", "z"])), 1, CPU)


@pytest.mark.parametrize("strategy", registry.FEATURE_STRATEGIES)
def test_loops_that_go_by_features_depend_on_them_and_come_out_the_same(tmp_path: Path, strategy: str) -> None:
    one, other = (finish(begin(tmp_path / name, f"select.strategy={strategy}")) for name in ("a", "b"))
    assert results(one) == results(other)
    inputs = stages.input_digests(one, stages.SELECT, 1)
    assert "data/rounds/000/features.parquet" in inputs
    assert not any("features" in name for name in stages.input_digests(one, stages.SELECT, 0))
    origins = files.read_table(one.round_dir(1) / "selected.parquet", ["origin"])["origin"].to_pylist()
    assert "unscored" not in origins
    # What is forecast of a round is what it uses.
    for round_ in (0, 1, 2):
        forecast = files.read_json(one.round_dir(round_) / "forecast.json")
        book = files.read_json(one.round_dir(round_) / "cost.json")["stages"]
        used = book["infer"]["used"]["forward_passes"] if "infer" in book else 0
        assert forecast["infer_passes"] == used


def test_a_model_that_does_not_say_where_its_features_are_is_refused() -> None:
    from torch import nn

    from tasks.models.taps import taps_of

    with pytest.raises(ConfigError, match="does not say where its features are"):
        taps_of(nn.Linear(2, 2))


@pytest.mark.parametrize("strategy", registry.FEATURE_STRATEGIES)
@pytest.mark.parametrize("acquisition", [*registry.ACQUISITIONS, *registry.MODEL_ACQUISITIONS])
def test_features_come_with_every_acquisition_function(tmp_path: Path, strategy: str, acquisition: str) -> None:
    settings = {
        "train": {"model": "ceal_cnn", "epochs": 1, "loss_prediction": {}},
        "select": {"strategy": strategy},
        "infer": {"acquisition": acquisition},
    }
    workspace = digits_workspace(tmp_path, **settings)
    label(workspace, 0, 20, infer_features=True)
    train(workspace)
    infer(workspace)
    assert found(workspace).features.shape == (POOL_ITEMS, 128)


@pytest.mark.parametrize("scope", ["infer.subset.size=10", "infer.subset.ratio=0.1", "infer.subset.size=3"])
def test_a_loop_goes_on_when_all_that_was_scored_is_labelled(tmp_path: Path, scope: str) -> None:
    workspace = finish(begin(tmp_path / "w", "infer.scope=[subset]", scope, "select.max_age=null"))
    assert files.count_rows(workspace.round_dir(2) / "labeled.parquet") == 30
