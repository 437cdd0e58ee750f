"""TypiClust: the most typical item of each of as many clusters as labels are wanted."""

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.order import Keys

Floats = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]
Singles = npt.NDArray[np.float32]

_MOST_CLUSTERS = 500
#: Up to this number clusters are found by all items in every step, beyond it by batches of items.
_FULL_KMEANS = 50
_BATCH = 5000
_NEIGHBOURS = 20
#: Smaller clusters come last.
_SMALL = 5
#: Distances that are held at one time.
_HELD = 1 << 22


def typical(features: Singles, keys: Keys, size: int, seed: np.random.SeedSequence) -> Positions:
    """The ``size`` most typical items, each of another cluster as long as there is one.

    The features fall into min(size, 500) clusters by k-means, from 51 on by mini-batches. Of each, largest first (equal
    ones in the order in which k-means numbers them), the most typical item is taken: that with the least mean distance
    from its 20 nearest neighbours in the cluster, or from all others if there are fewer; of equal ones that of the
    smallest key. Then of each the second, and so on. Clusters of less than 5 items come when the others are used up.

    Args:
        features: (n, d).
        keys: uint64 (n,).

    Returns:
        int64 positions, in the order of choice.

    Source: G. Hacohen, A. Dekel and D. Weinshall, Active Learning on a Budget: Opposite Strategies Suit High and Low
    Budgets, ICML 2022, arXiv 2202.02794, section 3, with nothing labelled yet. Other than in the authors' program,
    typicality is not computed anew without the items that were taken.
    """
    clusters = _clusters(features, min(size, len(features), _MOST_CLUSTERS), seed)
    sizes = np.bincount(clusters)
    spread = np.empty(len(features))
    for cluster in np.flatnonzero(sizes):
        members = np.flatnonzero(clusters == cluster)
        spread[members] = mean_distance(features[members], _NEIGHBOURS)
    inside = np.lexsort((keys, spread, clusters))
    place = np.empty(len(features), dtype=np.int64)
    place[inside] = np.arange(len(features)) - (np.cumsum(sizes) - sizes)[clusters[inside]]
    mine = sizes[clusters]
    return np.lexsort((clusters, -mine, place, mine < _SMALL))[:size].astype(np.int64)


def mean_distance(features: Singles, neighbours: int) -> Floats:
    """Mean Euclidean distance of each item from its nearest others, at most ``neighbours``; 0 for a single item.

    This is one over the typicality. It holds 4 million distances at a time, and no less than n.
    """
    count = len(features)
    nearest = min(neighbours, count - 1)
    if not nearest:
        return np.zeros(count)
    norms = np.einsum("ij,ij->i", features, features)
    means, rows = np.empty(count), max(1, _HELD // count)
    for start in range(0, count, rows):
        squared = norms - 2 * (features[start : start + rows] @ features.T)
        squared += norms[start : start + rows, None]
        own = np.arange(len(squared))
        squared[own, start + own] = np.inf
        squared.partition(nearest - 1, axis=1)
        means[start : start + rows] = np.sqrt(squared[:, :nearest].clip(0)).mean(axis=1, dtype=np.float64)
    return means


def _clusters(features: Singles, count: int, seed: np.random.SeedSequence) -> npt.NDArray[np.int64]:
    """The number of each item's cluster, (n,); some may be empty."""
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    state = int(seed.generate_state(1)[0])
    found: Any
    if count <= _FULL_KMEANS:
        found = KMeans(count, n_init=1, random_state=state)
    else:
        found = MiniBatchKMeans(count, n_init=1, batch_size=_BATCH, random_state=state)
    # Threads would add up the centres in the order in which they end.
    with threadpool_limits(1, user_api="openmp"), warnings.catch_warnings():
        # Fewer different items than clusters: some stay empty.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return np.asarray(found.fit_predict(features), dtype=np.int64)
