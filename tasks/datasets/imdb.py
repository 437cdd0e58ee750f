"""IMDB: 25,000 film reviews and as many held out, positive or negative.

Source: Maas et al., Learning Word Vectors for Sentiment Analysis, ACL 2011.
"""

from pathlib import Path

from tasks.config import DatasetConfig
from tasks.datasets.source import Source
from tasks.datasets.text_published import Published

_IMDB = Published("imdb/train.parquet", "imdb/test.parquet", {"0": "negative", "1": "positive"})


def load(config: DatasetConfig, places: list[Path]) -> Source:
    """From imdb/train.parquet and imdb/test.parquet, columns text and label.

    Raises:
        DataError: it is not found, or damaged.
    """
    return _IMDB.load(config, places)
