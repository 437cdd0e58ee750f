"""California housing: 20,640 districts of the census of 1990, and the median value of the houses there, in dollars.

Source: Pace & Barry, Sparse Spatial Autoregressions, Statistics & Probability Letters 33, 1997; the column
ocean_proximity, and the values that are missing in total_bedrooms, were added by Géron in 2017.
"""

from pathlib import Path

from tasks.config import DatasetConfig
from tasks.datasets import columns, labelled, rows, table_rows
from tasks.datasets.holdout import plain
from tasks.datasets.source import Source
from tasks.errors import ConfigError

_FILE = "california-housing/housing.csv.gz"
_TARGET = "median_house_value"
_HELD_OUT = 0.2


def load(config: DatasetConfig, places: list[Path]) -> Source:
    """All but 20 % for the pool, a fixed choice; a regression on median_house_value; float32 (columns,).

    Raises:
        DataError: it is not found, or damaged.
        ConfigError: dataset.features names the target.
    """
    root = rows.published(config, places, _FILE)
    districts = columns.read(root / _FILE, [_TARGET], None)
    features = config.features or tuple(name for name in districts.header if name != _TARGET)
    if _TARGET in features:
        raise ConfigError(f"dataset.features: {_TARGET!r} holds the labels; leave it out")
    for name in features:
        districts.require(name, "; correct dataset.features")
    ids = rows.numbered("california_housing", len(districts))
    pool, test = plain(ids, round(_HELD_OUT * len(ids)))
    parts = districts.take(pool), districts.take(test)
    known = labelled.numbers(config, *parts, _TARGET)
    named = [ids[row] for row in pool], [ids[row] for row in test]
    return table_rows.source(root, parts, features, known, named)
