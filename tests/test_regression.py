"""Labels that are numbers: how they are learnt, predicted, measured and scored."""

import json
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics
from torch import nn

from tasks import files
from tasks.config_train import MlpConfig
from tasks.cost.ledger import Usage
from tasks.datasets.store import load_task
from tasks.errors import DataError
from tasks.infer import run as infer_stage
from tasks.infer.sampling import Passes
from tasks.infer.scoring import score_items
from tasks.models import stored
from tasks.models.building import build
from tasks.models.forward import predict
from tasks.models.scaled import Scaled, bounded, measured
from tasks.models.taps import head_of, taps_of
from tasks.models.view import View
from tasks.rounds import Workspace
from tasks.target import run as target_stage
from tasks.task_type import Regression, from_description
from tasks.task_type.number_scores import evaluate, nll, r2
from tasks.train.examples import Examples
from tasks.train.fit import fit
from tasks.train.members import Ensemble
from tasks.train.start import Start
from tests.model_helpers import go_on, numbers_workspace, outputs, quick, train

PRICE = Regression("price")
BOUNDED = Regression("price", (-1.0, 50.0))
VIEW = View(torch.device("cpu"), (0.0,) * 4, (1.0,) * 4, task=PRICE)
SMALL = MlpConfig(hidden=(8,), dropout=0.5)
SURE = MlpConfig(hidden=(8,), dropout=0.0)
#: So many hidden units that no two passes are alike.
WIDE = {"model": "mlp", "mlp": {"hidden": [64], "dropout": 0.5}, "epochs": 3, "validation": 0.2}


def numbers(count: int = 60, offset: float = 0.0, factor: float = 1.0) -> Examples:
    """Rows whose first two columns make up the label, but for some noise."""
    draw = np.random.default_rng(0)
    items = draw.standard_normal((count, 4), dtype=np.float32)
    labels = items[:, 0] - 0.5 * items[:, 1] + 0.1 * draw.standard_normal(count)
    return Examples(items, offset + factor * labels.astype(np.float64))


def network(seed: int = 0, settings: MlpConfig = SMALL, labels: tuple[float, float] = (0.0, 1.0)) -> nn.Module:
    torch.manual_seed(seed)
    return build("mlp", (4,), 2, settings=settings, labels=labels).eval()


# Measures


def test_measures_are_those_of_a_calculation_by_hand() -> None:
    # Means 2 and 5, variances 1 and 4, labels 1 and 7.
    found = evaluate(np.array([[2.0, 0.0], [5.0, math.log(4)]]), np.array([1.0, 7.0]))
    assert found == pytest.approx(
        {
            "r2": 1 - (1 + 4) / (9 + 9),
            "rmse": math.sqrt(2.5),
            "mae": 1.5,
            "nll": 0.5 * (math.log(2 * math.pi) + (0 + 1 + math.log(4) + 1) / 2),
        }
    )
    assert tuple(found) == PRICE.metrics
    assert json.loads(json.dumps(found)) == found


@given(st.integers(0, 10**6), st.integers(2, 30), st.floats(-1e4, 1e4), st.floats(1e-3, 1e3))
def test_measures_are_those_of_scikit_learn(seed: int, count: int, offset: float, factor: float) -> None:
    draw = np.random.default_rng(seed)
    labels = offset + factor * draw.standard_normal(count)
    predictions = np.stack([labels + factor * draw.standard_normal(count), draw.standard_normal(count)], axis=1)
    found, means = evaluate(predictions, labels), predictions[:, 0]
    assert found["r2"] == pytest.approx(sklearn_metrics.r2_score(labels, means), rel=1e-6, abs=1e-6)
    assert found["rmse"] == pytest.approx(sklearn_metrics.root_mean_squared_error(labels, means), rel=1e-9)
    assert found["mae"] == pytest.approx(sklearn_metrics.mean_absolute_error(labels, means), rel=1e-9)
    normal = torch.distributions.Normal(torch.from_numpy(means), torch.from_numpy(np.exp(predictions[:, 1] / 2)))
    assert found["nll"] == pytest.approx(-normal.log_prob(torch.from_numpy(labels)).mean().item(), rel=1e-9)


@pytest.mark.parametrize("label", [0.0, 0.1, 1e6 + 1 / 3, -7.7])
@pytest.mark.parametrize("count", [1, 3, 7])
def test_r2_of_labels_that_are_all_equal_is_0(label: float, count: int) -> None:
    # Their mean is not the label itself for some of these, in floats.
    labels = np.full(count, label)
    for error in (0.0, 3.0):
        assert r2(np.stack([labels + error, labels], axis=1), labels) == 0.0


def test_r2_is_1_at_best_and_0_of_the_mean_and_below_of_worse() -> None:
    labels = np.array([1.0, 2.0, 6.0])
    assert r2(np.stack([labels, labels], axis=1), labels) == 1.0
    assert r2(np.full((3, 2), 3.0), labels) == pytest.approx(0.0)
    assert r2(np.full((3, 2), 4.0), labels) < 0


def test_likelihood_is_lowest_for_the_variance_of_the_errors() -> None:
    labels = np.array([-2.0, 2.0, 1.0, -1.0])
    best = math.log(2.5)
    by_variance = [nll(np.array([[0.0, best + step]] * 4), labels) for step in (-0.5, 0.0, 0.5)]
    assert by_variance[1] < min(by_variance[0], by_variance[2])


# Losses


def test_losses_are_the_weighted_likelihood_of_each_item() -> None:
    outputs_ = torch.randn(9, 2, generator=torch.Generator().manual_seed(0))
    labels = torch.randn(9, generator=torch.Generator().manual_seed(1))
    expected = []
    for (mean, logarithm), label in zip(outputs_.tolist(), labels.tolist(), strict=True):
        variance = math.exp(logarithm)
        density = math.exp(-((label - mean) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)
        expected.append(-math.log(density) * math.sqrt(variance))
    assert PRICE.losses(outputs_, labels, 0.0).tolist() == pytest.approx(expected, rel=1e-5)
    assert PRICE.loss(outputs_, labels, 0.0).item() == pytest.approx(np.mean(expected), rel=1e-5)


@pytest.mark.parametrize("logarithm", [-4.0, 0.0, 3.0])
def test_the_weight_of_the_variance_carries_no_gradient(logarithm: float) -> None:
    mean, label = 0.3, 1.1
    leaf = torch.tensor([[mean, logarithm]], requires_grad=True)
    PRICE.loss(leaf, torch.tensor([label], dtype=torch.float64), 0.0).backward()
    variance = math.exp(logarithm)
    by_mean = (mean - label) / variance
    by_logarithm = 0.5 * (1 - (label - mean) ** 2 / variance)
    # Each is the plain likelihood's times the square root of the variance, as that of a constant would be.
    assert leaf.grad is not None
    assert leaf.grad.tolist()[0] == pytest.approx(
        [math.sqrt(variance) * by_mean, math.sqrt(variance) * by_logarithm], rel=1e-5
    )


def test_half_precision_outputs_have_losses_in_single_precision() -> None:
    outputs_ = torch.zeros(3, 2, dtype=torch.bfloat16)
    assert PRICE.losses(outputs_, torch.zeros(3, dtype=torch.float64), 0.0).dtype == torch.float32


# Mixtures


def test_a_mixture_has_the_moments_of_draws_from_it() -> None:
    draw = np.random.default_rng(0)
    each = [np.stack([draw.normal(3, 2, 4), draw.normal(0, 1, 4)], axis=1) for _ in range(3)]
    mixed = PRICE.mixed(each)
    assert mixed.dtype == np.float64
    count = 400_000
    which = draw.integers(0, 3, count)
    for item in range(4):
        means, logarithms = np.array([one[item] for one in each]).T
        samples = draw.normal(means[which], np.exp(logarithms / 2)[which])
        assert mixed[item, 0] == pytest.approx(samples.mean(), abs=4 * samples.std() / math.sqrt(count))
        assert np.exp(mixed[item, 1]) == pytest.approx(samples.var(), rel=0.02)


@given(st.floats(-1e6, 1e6), st.floats(-10, 10), st.integers(1, 6))
def test_a_mixture_of_equals_is_each_of_them(mean: float, logarithm: float, count: int) -> None:
    mixed = PRICE.mixed([np.array([[mean, logarithm]])] * count)
    assert mixed[0].tolist() == pytest.approx([mean, logarithm], rel=1e-9, abs=1e-9)


def test_an_ensemble_predicts_the_mixture_of_its_members() -> None:
    models, items = (network(0), network(1)), numbers(9).items
    expected = PRICE.mixed([predict(model, items, VIEW) for model in models])
    assert np.array_equal(Ensemble(models, ([], [])).predict(items, VIEW), expected)
    assert np.array_equal(Ensemble(models[:1], ([],)).predict(items, VIEW), predict(models[0], items, VIEW))


# Labels as people write them


@pytest.mark.parametrize(("text", "value"), [("12.5", 12.5), ("-1", -1.0), ("5e1", 50.0), ("+3", 3.0)])
def test_numbers_are_parsed(text: str, value: float) -> None:
    assert BOUNDED.parsed(text) == value
    assert BOUNDED.parsed(str(BOUNDED.told(value))) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", r"^no label; price is a number from -1 to 50$"),
        ("much", r"^label 'much' is not a number; price is a number from -1 to 50$"),
        ("1,5", r"^label '1,5' is not a number"),
        ("50.1", r"^label '50\.1' cannot be; price is a number from -1 to 50$"),
        ("nan", r"^label 'nan' cannot be"),
        ("inf", r"^label 'inf' cannot be"),
        ("1_0", r"^label '1_0' cannot be"),
    ],
)
def test_what_is_no_label_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        BOUNDED.parsed(text)


def test_without_bounds_any_finite_number_is_a_label() -> None:
    assert PRICE.parsed("-1e30") == -1e30
    # The square of the second is infinite, and that of the third is lost.
    for text in ("-inf", "1e200", "1e-200"):
        with pytest.raises(ValueError, match=r"such as 12\.5, of a size up to 1e\+100, or 0$"):
            PRICE.parsed(text)


def test_labels_that_cannot_be_are_told_from_those_that_nobody_knows() -> None:
    labels = np.array([0.0, np.nan, -1.0, -1.1, 50.0, 51.0, np.inf])
    assert BOUNDED.wrong(labels).tolist() == [False, True, False, True, False, True, True]
    assert PRICE.wrong(labels).tolist() == [False, True, False, False, False, False, True]
    assert BOUNDED.known(labels).tolist() == [True, False] + [True] * 5


@pytest.mark.parametrize("task", [PRICE, BOUNDED])
def test_the_description_of_a_regression_describes_it(task: Regression) -> None:
    assert from_description(json.loads(json.dumps(task.described())), "pool.json") == task


@pytest.mark.parametrize("values", [{"task": "regression"}, {"task": "regression", "target": "y", "bounds": [1]}, {}])
def test_a_description_of_nothing_is_refused(values: dict) -> None:
    with pytest.raises(DataError, match=r"^pool\.json: does not say what a label is"):
        from_description(values, "pool.json")


# The labels' unit


def test_outputs_are_in_the_unit_of_the_labels() -> None:
    plain, scaled = network(settings=SURE), network(settings=SURE, labels=(100.0, 4.0))
    batch = torch.randn(5, 4)
    with torch.inference_mode():
        mean, logarithm = bounded(plain.network(batch)).double().unbind(dim=-1)
        found = scaled(batch)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found[:, 0], 100 + 4 * mean)
    torch.testing.assert_close(found[:, 1].exp(), 16 * logarithm.exp())
    torch.testing.assert_close(scaled.standardised(torch.tensor([100.0, 108.0, 96.0])), torch.tensor([0.0, 2.0, -1.0]))


def test_no_prediction_is_surer_or_less_sure_than_a_hundredth_and_a_hundred_standard_deviations() -> None:
    network_ = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        network_.weight.copy_(torch.tensor([[0.0], [1.0]]))
    found = bounded(network_(torch.tensor([[-1e6], [-1.0], [0.0], [1e6]])))[:, 1]
    assert (found / 2).exp().tolist() == pytest.approx([0.01, math.exp(-0.5), 1.0, 100.0], rel=0.01)


def test_mean_and_standard_deviation_of_labels_are_measured() -> None:
    labels = numbers(500, 1e6, 1000).labels
    assert measured(labels.tolist()) == pytest.approx((labels.mean(), labels.std()), rel=1e-12)


@pytest.mark.parametrize("label", [0.1, 1e6 + 1 / 3])
@pytest.mark.parametrize("count", [1, 3, 7])
def test_labels_that_are_all_equal_are_learnt_in_their_own_unit(label: float, count: int) -> None:
    unit = measured([label] * count)
    assert unit == (label, 0.0)
    assert network(labels=unit).scale.item() == 1.0


def test_a_scaled_model_says_where_its_network_s_features_are() -> None:
    model = network()
    assert head_of(model) is model.get_submodule("network").get_submodule(taps_of(model.network).head)
    assert [model.get_submodule(stage) for stage in taps_of(model).stages] == [model.network[2]]


@pytest.mark.parametrize("validated", [False, True])
def test_learning_does_not_depend_on_the_unit_of_the_labels(validated: bool) -> None:
    def trained(examples: Examples) -> np.ndarray:
        make = partial(build, "mlp", (4,), 2, settings=SURE, labels=measured(examples.labels.tolist()))
        held = Examples(examples.items[:20], examples.labels[:20]) if validated else None
        model, _ = fit(make, examples, held, quick(model="mlp", epochs=20, lr=0.01), VIEW, 0)
        return predict(model, examples.items, VIEW)

    one, other = trained(numbers()), trained(numbers(offset=1e6, factor=1000.0))
    scale = numbers().labels.std()
    assert one.dtype == np.float64
    assert np.abs((other[:, 0] - 1e6) / 1000 - one[:, 0]).max() < 1e-4 * scale
    assert np.abs(other[:, 1] - 2 * math.log(1000) - one[:, 1]).max() < 1e-4
    assert r2(one, numbers().labels) > 0.9


def test_validation_records_the_headline_and_the_best_likelihood_is_kept() -> None:
    make = partial(build, "mlp", (4,), 2, settings=SURE, labels=measured(numbers().labels.tolist()))
    model, history = fit(make, numbers(), numbers(20), quick(model="mlp", epochs=5, lr=0.1), VIEW, 0)
    assert [list(epoch) for epoch in history] == [["epoch", "loss", "lr", "validation_loss", "validation_r2"]] * 5
    found = evaluate(predict(model, numbers(20).items, VIEW), numbers(20).labels)
    assert found["nll"] == min(epoch["validation_loss"] for epoch in history)


def test_a_warm_start_says_in_its_own_unit_what_the_former_model_said() -> None:
    before = network(3, SURE, (7.0, 2.0))
    fresh = partial(build, "mlp", (4,), 2, settings=SURE, labels=(100.0, 50.0))
    items = numbers(9).items
    warm = Start((before.state_dict(),)).build(fresh, 0)
    assert (warm.location.item(), warm.scale.item()) == (100.0, 50.0)
    said, meant = predict(warm, items, VIEW), predict(before, items, VIEW)
    np.testing.assert_allclose(said[:, 0], meant[:, 0], atol=50 * 1e-5)
    # But for the curve of their bounds, which is steepest far from the labels' own variance.
    np.testing.assert_allclose(said[:, 1], meant[:, 1], atol=1.5)
    same = Start((before.state_dict(),)).build(partial(fresh, labels=(7.0, 2.0)), 0)
    assert np.array_equal(predict(same, items, VIEW), meant)
    shrunk = Start((before.state_dict(),), shrink=0.5, perturb=0.1).build(fresh, 0)
    assert (shrunk.location.item(), shrunk.scale.item()) == (100.0, 50.0)
    assert not np.array_equal(predict(shrunk, items, VIEW), predict(before, items, VIEW))


# Scores


def test_one_prediction_is_scored_by_its_own_standard_deviation() -> None:
    model, items = network(labels=(5.0, 3.0)), numbers(11).items
    scored = score_items([model], VIEW, items, np.arange(11), "total_std", 4)
    predictions = predict(model, items, VIEW)
    np.testing.assert_allclose(scored.score, np.exp(predictions[:, 1] / 2), rtol=1e-6)
    np.testing.assert_allclose(scored.proposal, predictions[:, 0], rtol=1e-6)
    assert scored.proposal.dtype == np.float64
    assert np.array_equal(scored.certainty, scored.score)


def test_members_are_scored_by_the_spread_of_their_means() -> None:
    models, items = [network(seed, SURE, (5.0, 3.0)) for seed in range(4)], numbers(11).items
    each = np.stack([predict(model, items, VIEW) for model in models])
    total = np.sqrt(np.exp(each[..., 1]).mean(axis=0) + each[..., 0].var(axis=0))
    for acquisition, expected in (("predictive_std", each[..., 0].std(axis=0)), ("total_std", total)):
        scored = score_items(models, VIEW, items, np.arange(11), acquisition, 4)
        np.testing.assert_allclose(scored.score, expected, rtol=1e-5)
        np.testing.assert_allclose(scored.proposal, each[..., 0].mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(scored.certainty, total, rtol=1e-5)


@pytest.mark.parametrize("acquisition", ["predictive_std", "total_std"])
def test_passes_are_scored_by_the_spread_of_the_same_passes(acquisition: str) -> None:
    model, items, rows = network(labels=(5.0, 3.0)), numbers(11).items, np.array([7, 0, 3, 9])
    torch.manual_seed(4)
    scored = score_items([model], VIEW, items, rows, acquisition, 64, passes=6)
    torch.manual_seed(4)
    seen = np.empty((6, 4, 2))
    taken = np.zeros(4, np.int64)
    with torch.inference_mode():
        for first, part in Passes(model, 6).outputs(VIEW.normalised(torch.from_numpy(items[rows]))):
            for place, values in enumerate(part.transpose(0, 1).numpy(), start=first):
                seen[taken[place] : taken[place] + len(values), place] = values
                taken[place] += len(values)
    assert taken.tolist() == [6] * 4
    means, variances = seen[..., 0], np.exp(seen[..., 1])
    total = np.sqrt(variances.mean(axis=0) + means.var(axis=0))
    np.testing.assert_allclose(scored.score, means.std(axis=0) if acquisition == "predictive_std" else total)
    np.testing.assert_allclose(scored.certainty, total)
    np.testing.assert_allclose(scored.proposal, means.mean(axis=0))
    assert (means.std(axis=0) > 0).all()


def test_what_scores_came_from_holds_features_as_though_of_items_of_one_class() -> None:
    model, items = network(), numbers(7).items
    seen = score_items([model], VIEW, items, np.arange(7), "total_std", 4, features=True).seen
    assert seen is not None
    assert seen.features.shape == (7, 8)
    assert seen.probabilities.tolist() == [[1.0]] * 7
    features, head = torch.from_numpy(seen.features), head_of(model)
    with torch.inference_mode():
        said = model.get_submodule("network")(VIEW.normalised(torch.from_numpy(items)))
        torch.testing.assert_close(head(features), said)


# The stages


@pytest.fixture
def trained(tmp_path: Path) -> Workspace:
    """Round 0 of a loop on a table of numbers with a model of 20 labels, 60 items in all."""
    workspace = numbers_workspace(tmp_path, train=WIDE, infer={"acquisition": "predictive_std", "passes": 5})
    train(workspace)
    return workspace


def test_train_measures_and_predicts_in_the_labels_unit(trained: Workspace) -> None:
    metrics = files.read_json(trained.round_dir(0) / "metrics.json")
    table = files.read_table(trained.round_dir(0) / "predictions.parquet")
    assert {"r2", "rmse", "mae", "nll", "validation_r2"} <= metrics.keys()
    assert not {"accuracy", "validation_accuracy", "per_class", "confusion", "ece"} & metrics.keys()
    assert table.schema.names == ["id", "set", "label", "std"]
    held_out = table.filter(np.asarray(table["set"]) == "held_out")
    answers = files.read_table(trained.pool / "test.parquet", ["id", "label"]).to_pylist()
    labels = {row["id"]: row["label"] for row in answers}
    errors = [row["label"] - labels[row["id"]] for row in held_out.to_pylist()]
    assert metrics["rmse"] == pytest.approx(math.sqrt(np.mean(np.square(errors))), rel=1e-9)
    card = files.read_json(trained.round_dir(0) / "model.json")
    assert from_description(card, "model.json") == load_task(trained)


def test_a_stored_model_answers_as_the_trained_one(trained: Workspace) -> None:
    [model], view, _ = stored.read(trained.round_dir(0), torch.device("cpu"))
    assert isinstance(model, Scaled)
    table = files.read_table(trained.round_dir(0) / "predictions.parquet")
    assert view.task == load_task(trained)
    assert model.scale.item() > 100
    assert np.isfinite(np.asarray(table["std"])).all()


def test_two_trainings_write_the_same_bytes(trained: Workspace) -> None:
    before = outputs(trained)
    train(trained)
    assert outputs(trained) == before


def test_a_warm_round_has_the_unit_of_its_own_labels(trained: Workspace) -> None:
    go_on(trained)
    train(trained, 1)
    (first,), _, _ = stored.read(trained.round_dir(0), torch.device("cpu"))
    (second,), _, _ = stored.read(trained.round_dir(1), torch.device("cpu"))
    assert (second.location, second.scale) != (first.location, first.scale)


def test_a_warm_start_recovers_from_a_first_round_of_equal_labels() -> None:
    """A unit that was kept would be that of a single value for ever."""
    former = measured([1000.0] * 5)
    before = network(3, MlpConfig(hidden=(32,), dropout=0.0), former)
    fresh = partial(build, "mlp", (4,), 2, settings=MlpConfig(hidden=(32,), dropout=0.0))
    few = numbers(200)
    spread = few.labels.std()
    many = Examples(few.items, 1000 + 60 * (few.labels - few.labels.mean()) / spread)
    fresh = partial(fresh, labels=measured(many.labels.tolist()))
    warm = partial(Start((before.state_dict(),)).build, fresh, 0)
    model, _ = fit(warm, many, None, quick(model="mlp", epochs=40, lr=0.01), VIEW, 0)
    assert evaluate(predict(model, many.items, VIEW), many.labels)["r2"] > 0.8


def test_infer_writes_std_in_place_of_confidence(trained: Workspace) -> None:
    usage = Usage()
    infer_stage.run(trained, 0, usage)
    table = files.read_table(trained.round_dir(0) / "scores.parquet")
    assert "confidence" not in table.schema.names
    score, std = np.asarray(table["score"]), np.asarray(table["std"])
    # The variance of the means is a part of the mixture's.
    assert (score > 0).all()
    assert (std > score).all()
    assert np.isfinite(np.asarray(table["proposal"])).all()
    assert usage.forward_passes == 5 * len(table)


def test_a_label_out_of_bounds_is_refused_by_its_item(trained: Workspace) -> None:
    path = trained.round_dir(0) / "labeled.parquet"
    table = files.read_table(path)
    labels = np.asarray(table["label"]).copy()
    labels[3] = np.inf
    files.write_table(path, table.set_column(1, "label", [labels]))
    with pytest.raises(DataError, match=r"has the label inf, but y is a finite number"):
        train(trained)


def test_a_proxy_of_numbers_is_compared_with_its_target(tmp_path: Path) -> None:
    proxy = {"train": {"model": "linear"}, "agreement": 25, "ceiling": True}
    workspace = numbers_workspace(tmp_path, train=WIDE, proxy=proxy)
    train(workspace)
    usage = Usage()
    target_stage.run(workspace, 0, usage)
    metrics = files.read_json(workspace.round_dir(0) / "target" / "metrics.json")
    assert set(PRICE.metrics) <= metrics.keys()
    compared = metrics["agreement"]
    assert (compared["items"], compared["acquisition"], compared["reason"]) == (25, "total_std", None)
    for found in (compared, compared["ceiling"]):
        assert -1 <= found["spearman"] <= 1
        assert 0 <= found["overlap"] <= 1
    [target], _, _ = stored.read(workspace.round_dir(0) / "target", torch.device("cpu"))
    [selecting], _, _ = stored.read(workspace.round_dir(0), torch.device("cpu"))
    # Both learn from the same labels.
    assert (target.location, target.scale) == (selecting.location, selecting.scale)
