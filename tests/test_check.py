"""What is refused before anything is decoded or spent."""

from pathlib import Path
from typing import Any

import pytest

from tasks.check import feasible
from tasks.config import parse
from tasks.datasets import digits
from tasks.errors import ConfigError
from tests.pools import PRICES


def check(**settings: Any) -> None:
    """The check on scikit-learn's digits, 60 of them in the pool."""
    values = {"name": "test", "device": "cpu", "dataset": {"name": "digits", "limit": 60}, "prices": PRICES}
    config = parse(values | {"loop": {"initial": 10, "query_size": 5, "rounds": 3}} | settings, "test")
    feasible(config, digits.load(config.dataset, [Path()]))


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
