"""What is refused before anything is decoded or spent."""

import math
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from tasks import registry
from tasks.check import feasible
from tasks.config import parse
from tasks.datasets.opening import open_source
from tasks.errors import ConfigError, DataError
from tasks.models.taps import Taps, tapped
from tasks.rounds import Workspace
from tests.datasets_helpers import table
from tests.pools import PRICES


def check(root: Path = Path(), **settings: Any) -> None:
    """The check on scikit-learn's digits, 60 of them in the pool."""
    values = {"name": "test", "device": "cpu", "dataset": {"name": "digits", "limit": 60}, "prices": PRICES}
    config = parse(values | {"loop": {"initial": 10, "query_size": 5, "rounds": 3}} | settings, "test")
    feasible(config, open_source(Workspace(Path()), config), root)


def scope(name: str, **settings: Any) -> dict[str, Any]:
    return {"scope": [name], name: settings}


def test_a_loop_that_fits_is_accepted() -> None:
    check(infer={"passes": 4, "acquisition": "bald", **scope("candidates", size=50)})


@pytest.mark.parametrize(
    ("infer", "message"),
    [
        (scope("candidates", size=2000), r"infer\.candidates\.size: 2000 is more than"),
        (scope("top", size=2000), r"infer\.top\.size: 2000 is more than"),
        (scope("clusters", count=2000), r"infer\.clusters\.count: 2000 is more than"),
    ],
)
def test_more_candidates_than_items_are_refused(infer: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check(infer=infer)


def test_fewer_candidates_than_labels_are_refused_unless_older_values_choose_too() -> None:
    with pytest.raises(ConfigError, match=r"infer\.candidates\.size: 4 candidates are fewer than the 5 labels"):
        check(infer=scope("candidates", size=4))
    check(infer=scope("candidates", size=4), select={"max_age": None})
    check(infer=scope("candidates", size=4), select={"strategy": "random"})


def test_passes_of_a_model_without_dropout_are_refused() -> None:
    with pytest.raises(ConfigError, match="linear has no dropout"):
        check(infer={"passes": 4}, train={"model": "linear"})


def test_more_labels_than_items_are_refused_where_they_were_asked_for() -> None:
    with pytest.raises(ConfigError, match="30 rounds ask for 155 labels, more than the pool's 60 items"):
        check(loop={"initial": 10, "query_size": 5, "rounds": 30})
    with pytest.raises(ConfigError, match=r"loop\.initial: 61 is more than the pool's 60 items"):
        check(loop={"initial": 61, "max_labels": 61}, policy={"query_size": "geometric"})


@pytest.mark.parametrize("policy", ["schedule", "geometric", "cost_optimal"])
def test_queries_that_are_cut_to_the_pool_may_have_any_number_of_rounds(policy: str) -> None:
    settings = {"query_size": policy, "metric": "accuracy", "cost_optimal": {"target": 0.9}}
    check(loop={"initial": 10, "query_size": 5, "rounds": 30}, policy=settings)


def test_a_schedule_asks_for_no_initial_labels_besides_its_own() -> None:
    check(loop={"initial": 500, "max_labels": 30}, policy={"query_size": "schedule"})


def test_candidates_have_to_suffice_for_the_largest_query_that_they_choose() -> None:
    loop: dict[str, Any] = {"initial": 10, "query_size": 5, "rounds": 4}
    schedule = {"query_size": "schedule", "schedule": {"shares": [0.1, 0.5, 0.2]}}
    # 6 labels, then 30 by the full pass, then 12 twice.
    with pytest.raises(ConfigError, match=r"size: 11 candidates are fewer than the 12 labels of a round \(policy\.sch"):
        check(loop=loop, policy=schedule, infer=scope("candidates", size=11))
    check(loop=loop, policy=schedule, infer=scope("candidates", size=12))
    # 10 labels, then 10 by the full pass, then 20 twice; or 15 at most.
    geometric: dict[str, Any] = {"query_size": "geometric"}
    with pytest.raises(ConfigError, match=r"size: 19 candidates are fewer than the 20 labels of a round \(policy\.geo"):
        check(loop=loop, policy=geometric, infer=scope("top", size=19))
    check(loop=loop, policy=geometric, infer=scope("top", size=20))
    check(loop=loop, policy=geometric | {"geometric": {"largest": 15}}, infer=scope("top", size=15))


@pytest.mark.parametrize("budget", [{"labels": 11}, {"money": 0.59}])
def test_a_budget_below_a_schedule_s_first_round_is_refused(budget: dict[str, Any]) -> None:
    def scheduled(budget: dict[str, Any]) -> None:
        stop = {"any": {"budget": budget}}
        check(policy={"query_size": "schedule", "schedule": {"shares": [0.2, 0.1]}, "stop": stop})

    with pytest.raises(ConfigError, match=r"is less than .*policy\.schedule\.shares: 12|12 labels: 0\.6 USD"):
        scheduled(budget)
    scheduled({name: amount * 1.1 for name, amount in budget.items() if name == "money"} or {"labels": 12})


def test_a_schedule_whose_first_labels_may_all_be_held_back_is_refused_where_models_go_on() -> None:
    train = {"model": "linear", "validation": 0.5}
    policy = {"query_size": "schedule", "schedule": {"shares": [0.2]}}
    with pytest.raises(ConfigError, match=r"of the first 12 labels .* begin with 20 labels or more \(policy\.schedule"):
        check(train=train, policy=policy | {"retrain": "warm"})
    check(train=train, policy=policy)
    check(train=train, policy=policy | {"retrain": "warm", "schedule": {"shares": [0.4]}})


def proxy(**settings: Any) -> dict[str, Any]:
    return {"train": {"model": "linear"}} | settings


def test_a_loop_with_a_proxy_that_fits_is_accepted() -> None:
    check(proxy=proxy(data={"image_size": 4}, target={"at": [10, 20]}))


@pytest.mark.parametrize(
    ("policy", "budget", "nearest"),
    [
        ({}, 14, "the nearest is 15"),
        ({}, 25, "the nearest is 20"),
        ({}, 61, "the nearest is 20"),
        ({"query_size": "schedule", "schedule": {"shares": [0.5]}}, 20, "the nearest is 30"),
        ({"query_size": "geometric"}, 11, "the nearest is 10"),
        ({"query_size": "cost_optimal", "metric": "accuracy", "cost_optimal": {"target": 0.9}}, 61, "at most 60 are"),
    ],
)
def test_targets_at_labels_with_which_no_round_ends_are_refused(
    policy: dict[str, Any], budget: int, nearest: str
) -> None:
    message = rf"proxy\.target\.at: unknown budget {budget}: no round ends with so many labels; {nearest}"
    with pytest.raises(ConfigError, match=message):
        check(proxy=proxy(target={"at": [budget]}), policy=policy)


@pytest.mark.parametrize(
    ("every", "loop", "rounds"), [(3, {"rounds": 2}, 2), (9, {"rounds": 9, "max_labels": 30}, 3), (99, {}, 2)]
)
def test_a_target_in_a_round_that_never_comes_is_refused(every: int, loop: dict[str, Any], rounds: int) -> None:
    sizes = {"loop": {"rounds": 2, "initial": 10, "query_size": 10} | loop}
    with pytest.raises(ConfigError, match=rf"^proxy\.target\.every: {every} is more than the loop's {rounds} rounds"):
        check(proxy=proxy(target={"every": every, "end": False}), **sizes)
    check(proxy=proxy(target={"every": every}), **sizes)
    check(proxy=proxy(target={"every": every, "end": False, "at": [20]}), **sizes)
    check(proxy=proxy(target={"every": rounds, "end": False}), **sizes)


def test_a_query_size_that_nobody_knows_yet_may_meet_any_budget() -> None:
    policy = {"query_size": "cost_optimal", "metric": "accuracy", "cost_optimal": {"target": 0.9}}
    check(proxy=proxy(target={"at": [33]}), policy=policy)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": {"image_size": 9}}, r"^proxy\.data\.image_size: 9 is more than the 8 pixels"),
        ({"train": {"model": "ceal_cnn"}, "data": {"image_size": 3}}, r"^proxy\.train\.model: ceal_cnn takes images"),
        (
            {"train": {"model": "resnet18", "batch_size": 1}},
            r"^proxy\.train: the model .* set proxy\.train\.batch_size",
        ),
        ({"train": {"augment": {"crop": 4}}, "data": {"image_size": 4}}, r"^proxy\.train\.augment\.crop: 4 pixels"),
        ({"train": {"model": "linear", "loss_prediction": {}}}, r"^proxy\.train\.loss_prediction: the model linear"),
    ],
)
def test_a_proxy_that_does_not_take_the_items_is_refused_by_its_own_key(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check(proxy=proxy(**settings))


def test_an_inherited_loss_prediction_is_to_be_unset_in_the_proxy() -> None:
    with pytest.raises(
        ConfigError, match=r"^proxy\.train\.loss_prediction: .* set proxy\.train\.loss_prediction=null$"
    ):
        check(train={"model": "ceal_cnn", "loss_prediction": {}}, proxy=proxy())
    check(
        train={"model": "ceal_cnn", "loss_prediction": {}},
        proxy={"train": {"model": "linear", "loss_prediction": None}},
    )


def test_the_target_has_to_take_the_items_too() -> None:
    with pytest.raises(ConfigError, match=r"^train: the model has batch normalisation"):
        check(train={"model": "resnet18", "batch_size": 1}, proxy={"train": {"model": "linear", "batch_size": 8}})
    with pytest.raises(ConfigError, match=r"^train\.augment\.crop: 8 pixels"):
        check(train={"augment": {"crop": 8}}, proxy=proxy())


def test_it_is_the_proxy_that_needs_dropout() -> None:
    check(infer={"passes": 4}, train={"model": "linear"}, proxy={"train": {"model": "ceal_cnn"}})
    with pytest.raises(ConfigError, match=r"linear has no dropout.*proxy\.train\.members"):
        check(infer={"passes": 4}, proxy=proxy())


@pytest.mark.parametrize("size", [51, 4])
def test_a_subset_of_more_items_than_there_are_or_of_fewer_than_are_asked_for_is_refused(size: int) -> None:
    with pytest.raises(ConfigError, match=rf"infer\.subset\.size: {size} "):
        check(infer=scope("subset", size=size))


def test_features_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"select\.features: .*nowhere\.parquet: no such file"):
        check(tmp_path, select={"initial": "typiclust", "features": "nowhere.parquet"})


def test_a_recording_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"select\.recorded: .*nowhere is neither the folder of a loop nor"):
        check(tmp_path, select={"initial": "recorded", "strategy": "recorded", "recorded": "nowhere"})


@pytest.mark.parametrize(
    "settings", [{"infer": {"acquisition": "entropy_gradnorm_last"}}, {"select": {"strategy": "badge"}}]
)
def test_a_model_without_the_needed_taps_is_refused(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.MODELS, "own", "tests.test_check:own")
    with pytest.raises(ConfigError, match="does not say where its features are"):
        check(train={"model": "own"}, **settings)


def test_a_layer_whose_gradients_nobody_knows_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.MODELS, "own", "tests.test_check:normalised")
    with pytest.raises(ConfigError, match=r"layer '1' \(LayerNorm\)"):
        check(train={"model": "own"}, infer={"acquisition": "entropy_gradnorm"})


def of_texts(root: Path, **settings: Any) -> None:
    """The check on texts of two classes."""
    rows = [
        (f"{word} day, number {number}", label) for number in range(20) for word, label in (("fine", 1), ("bad", 0))
    ]
    for name in ("train", "test"):
        table(root / f"{name}.csv", ("text", "label"), *rows)
    check(root, **{"dataset": {"name": "texts", "root": str(root)}} | settings)


def of_numbers(root: Path, **settings: Any) -> None:
    """The check on rows of two numbers whose labels are numbers."""
    for name in ("train", "test"):
        table(root / f"{name}.csv", ("a", "b", "label"), *((n, n % 7, n / 2) for n in range(40)))
    check(root, **{"task": "regression", "dataset": {"name": "table", "root": str(root)}} | settings)


FASTTEXT = {"model": "fasttext", "optimizer": "sgd", "momentum": 0.0, "lr": 0.1}


def test_loops_on_texts_and_numbers_that_fit_are_accepted(tmp_path: Path) -> None:
    of_texts(tmp_path, train=FASTTEXT)
    of_texts(tmp_path, train={"model": "vdcnn9"}, infer={"acquisition": "entropy_gradnorm_last"})
    of_texts(tmp_path, train={"model": "vdcnn9"}, proxy={"train": FASTTEXT}, select={"strategy": "badge"})
    of_numbers(tmp_path, train={"model": "linear"})
    of_numbers(tmp_path, train={"model": "mlp"}, infer={"passes": 4, "acquisition": "predictive_std"})
    of_numbers(tmp_path, train={"model": "mlp"}, proxy={"train": {"model": "linear"}})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train": {"model": "ceal_cnn"}}, r"^train\.model: ceal_cnn takes images, and the items are numbers"),
        ({"proxy": {"train": {"model": "fasttext"}}}, r"^proxy\.train\.model: fasttext takes texts"),
        ({"proxy": {"train": {"model": "mlp"}, "data": {"image_size": 2}}}, r"^proxy\.data\.image_size: only square"),
        ({"train": {"model": "mlp", "augment": {"flip": True}}}, r"^train\.augment: only images are changed"),
        ({"infer": {"passes": 3}, "train": {"model": "mlp", "mlp": {"dropout": 0.0}}}, "mlp has no dropout"),
    ],
)
def test_what_numbers_cannot_be_is_refused(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        of_numbers(tmp_path, **{"train": {"model": "linear"}} | settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train": {"model": "mlp"}}, r"^train\.model: mlp takes images or numbers, and the items are texts"),
        ({"train": {"model": "fasttext"}}, r"^train\.optimizer: fasttext learns only the rows"),
        (
            {"proxy": {"train": {"model": "fasttext"}}},
            r"^proxy\.train\.optimizer: fasttext learns .* proxy\.train\.momentum",
        ),
        ({"train": {"model": "vdcnn9", "vdcnn": {"length": 50}}}, r"train\.vdcnn\.length: .* 57, not 50"),
        ({"infer": {"acquisition": "entropy_gradnorm"}}, r"gradients of layer 'embedding' \(EmbeddingBag\)"),
        (
            {"train": {"model": "vdcnn9"}, "infer": {"acquisition": "entropy_gradnorm"}},
            r"gradients of layer '0\.embedding' \(Embedding\)",
        ),
        ({"infer": {"passes": 3}}, "fasttext has no dropout"),
    ],
)
def test_what_texts_cannot_be_is_refused(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    train = FASTTEXT if "proxy" not in settings else {"model": "vdcnn9"}
    with pytest.raises(ConfigError, match=message):
        of_texts(tmp_path, **{"train": train} | settings)


def test_texts_of_which_nothing_would_be_left_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^train\.fasttext\.min_count: no word stands in the pool's texts 99 times"):
        of_texts(tmp_path, train=FASTTEXT | {"fasttext": {"min_count": 99}})


def test_labels_that_are_not_what_the_task_says_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^task: regression is not what digits is for; set task=classification"):
        check(task="regression", train={"model": "linear"})


def own(shape: tuple[int, ...], classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), classes))


def normalised(shape: tuple[int, ...], classes: int) -> nn.Module:
    width = math.prod(shape)
    model = nn.Sequential(nn.Flatten(), nn.LayerNorm(width), nn.Linear(width, classes))
    return tapped(model, Taps("2"))
