"""SST-2: 67,349 phrases of film reviews and 872 held-out sentences, positive or negative.

Source: Socher et al., Recursive Deep Models for Semantic Compositionality over a Sentiment Treebank, EMNLP 2013, as
GLUE has it (Wang et al., ICLR 2019); the labels of GLUE's own test set are not published.
"""

from pathlib import Path

from tasks.config import DatasetConfig
from tasks.datasets.source import Source
from tasks.datasets.text_published import Published

_SST2 = Published("sst2/train.parquet", "sst2/dev.parquet", {"0": "negative", "1": "positive"})


def load(config: DatasetConfig, places: list[Path]) -> Source:
    """From sst2/train.parquet and, held out, sst2/dev.parquet, columns text and label.

    Raises:
        DataError: it is not found, or damaged.
    """
    return _SST2.load(config, places)
