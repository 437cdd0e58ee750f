"""What a configuration may ask for depends on what a label is."""

from typing import Any

import pytest

from tasks.config import Config, dump, parse
from tasks.errors import ConfigError
from tests.pools import PRICES


def configured(**values: Any) -> Config:
    return parse({"name": "test", "prices": PRICES} | values, "test")


def numbers(**values: Any) -> Config:
    return configured(task="regression", **values)


def test_labels_are_classes_unless_told_otherwise() -> None:
    assert (configured().task, configured().infer.acquisition) == ("classification", "entropy")


def test_numbers_are_scored_by_their_spread_unless_told_otherwise() -> None:
    assert numbers().infer.acquisition == "total_std"
    assert numbers(infer={"passes": 5, "acquisition": "predictive_std"}).infer.acquisition == "predictive_std"


def test_what_was_filled_in_is_kept_as_it_is() -> None:
    assert parse(dump(numbers()), "loop.json") == numbers()


@pytest.mark.parametrize("acquisition", ["total_std", "predictive_std"])
def test_spreads_are_refused_for_classes(acquisition: str) -> None:
    with pytest.raises(ConfigError, match=rf"infer.acquisition: {acquisition} is not for task=classification; choose"):
        configured(infer={"acquisition": acquisition, "passes": 5})


@pytest.mark.parametrize("acquisition", ["entropy", "bald", "lplgrad"])
def test_what_goes_by_classes_is_refused_for_numbers(acquisition: str) -> None:
    with pytest.raises(ConfigError, match=rf"{acquisition} is not for task=regression; choose one of total_std"):
        numbers(infer={"acquisition": acquisition, "passes": 1})


def test_the_spread_of_one_prediction_is_refused() -> None:
    with pytest.raises(ConfigError, match="predictive_std compares several predictions"):
        numbers(infer={"acquisition": "predictive_std"})


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"select": {"strategy": "badge"}}, "select.strategy"),
        ({"select": {"initial": "class_balanced"}}, "select.initial"),
        ({"label": {"noise": 0.1}}, "label.noise"),
        ({"label": {"confusion": [[1.0]]}}, "label.confusion"),
        ({"dataset": {"classes": ["a", "b"]}}, "dataset.classes"),
        ({"train": {"label_smoothing": 0.1}}, "train.label_smoothing"),
        ({"train": {"loss_prediction": {}}}, "train.loss_prediction"),
        ({"proxy": {"train": {"label_smoothing": 0.1}}}, "proxy.train.label_smoothing"),
    ],
)
def test_what_only_classes_have_is_refused_for_numbers_by_its_key(values: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=rf"{key}: is for classes, and with task=regression labels are numbers"):
        numbers(**values)


def test_bounds_are_refused_for_classes() -> None:
    with pytest.raises(ConfigError, match=r"dataset.bounds: classes have none; leave it out"):
        configured(dataset={"bounds": [0, 1]})


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(ConfigError, match="task"):
        configured(task="ranking")
