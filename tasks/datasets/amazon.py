"""Amazon reviews: title and body of each, as negative or positive, or by the stars that came with it.

Source: Zhang, Zhao & LeCun, Character-level Convolutional Networks for Text Classification, NeurIPS 2015.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from tasks.config import DatasetConfig
from tasks.datasets.source import Source
from tasks.datasets.text_published import Published


def _lines(texts: pa.Array) -> pa.Array:
    """The published files have a backslash and an n where a new line begins."""
    return pc.replace_substring(texts, "\\n", "\n")


def _published(folder: str, *classes: str) -> Published:
    codes = {str(number): name for number, name in enumerate(classes, 1)}
    header = ("label", "title", "body")
    return Published(f"{folder}/train.csv", f"{folder}/test.csv", codes, header[1:], header[0], header, _lines)


_POLARITY = _published("amazon_review_polarity_csv", "negative", "positive")
_FULL = _published("amazon_review_full_csv", "1 star", "2 stars", "3 stars", "4 stars", "5 stars")


def polarity(config: DatasetConfig, places: list[Path]) -> Source:
    """From amazon_review_polarity_csv/train.csv and test.csv: 3,600,000 reviews and 400,000 held out.

    Raises:
        DataError: it is not found, or damaged.
    """
    return _POLARITY.load(config, places)


def full(config: DatasetConfig, places: list[Path]) -> Source:
    """From amazon_review_full_csv/train.csv and test.csv: 3,000,000 reviews and 650,000 held out.

    Raises:
        DataError: it is not found, or damaged.
    """
    return _FULL.load(config, places)
