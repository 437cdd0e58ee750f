"""Items as they come, as rows of numbers, for whatever compares them before there is a model."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.datasets.source import Kind
from tasks.datasets.texts import Texts

Singles = npt.NDArray[np.float32]

#: Pixels a side to which larger images are averaged, and places for the hashes of a text's words.
_SIDE, _PLACES = 32, 1024


def flat(items: Any, kind: Kind, mean: Sequence[float], std: Sequence[float]) -> Singles:
    """Float32 (n, d): pixels at each channel's standard deviation, columns as a model has them, or words by hashes.

    Args:
        items: of the kind as they are kept, all in memory.
        mean: of each channel or column, as pool.json has it; likewise ``std``.
    """
    if kind == "texts":
        return _hashed(items)
    if kind == "images":
        return _pixels(items, std)
    import torch

    from tasks.datasets import numbers

    rows: Singles = numbers.normalise(torch.from_numpy(np.array(items)), mean, std).numpy()
    return rows


def _pixels(images: npt.NDArray[np.uint8], std: Sequence[float]) -> Singles:
    """Images (n, channels, height, width), averaged down to at most 32 pixels a side."""
    import torch

    height, width = (min(side, _SIDE) for side in images.shape[2:])
    pixels = torch.from_numpy(images).float()
    if (height, width) != images.shape[2:]:
        pixels = torch.nn.functional.adaptive_avg_pool2d(pixels, (height, width))
    spread: Singles = np.array(std, dtype=np.float32)
    spread[spread <= 0] = 1
    scaled = np.asarray(pixels.numpy() / (255 * spread)[:, None, None], dtype=np.float32)
    return scaled.reshape(len(images), -1)


def _hashed(texts: Texts) -> Singles:
    """How often each text has the words of each place, with a sign by their hash, at unit length.

    Source: Weinberger et al., Feature Hashing for Large Scale Multitask Learning, ICML 2009, section 2.
    """
    from sklearn.feature_extraction.text import HashingVectorizer

    found: Singles = HashingVectorizer(n_features=_PLACES, dtype=np.float32).transform(texts.tolist()).toarray()
    return found
