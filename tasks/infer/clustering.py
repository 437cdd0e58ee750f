"""Clusters of the pool by what a model makes of its items."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from torch import nn

from tasks.errors import FrugalError
from tasks.models.features import feature_batches
from tasks.models.inputs import Inputs
from tasks.models.view import View
from tasks.order import random_keys, smallest

#: Items on which the centres are found; all others only join the nearest one.
_FITTED = 20_000


@dataclass(frozen=True)
class Clustered:
    """Where n items belong."""

    #: int32, (n,).
    cluster: npt.NDArray[np.int32]
    #: float32, (n,); Euclidean, from the centre of the cluster.
    distance: npt.NDArray[np.float32]
    #: How many were made.
    forward_passes: int


def cluster(
    model: nn.Module,
    view: View,
    items: Inputs,
    rows: npt.NDArray[np.int64],
    ids: pa.Array,
    count: int,
    batch_size: int,
    seed: np.random.SeedSequence,
) -> Clustered:
    """Mini-batch k-means on the features of the items at ``rows``; the features of one batch are held at a time.

    Args:
        ids: string (n,), of the items at ``rows``.
        count: of clusters, at most 2,000; cut to the number of items.

    Raises:
        FrugalError: the features are not finite.

    Source: Sculley, Web-Scale K-Means Clustering, WWW 2010.
    """
    from sklearn.cluster import MiniBatchKMeans

    sample = smallest(random_keys(ids, seed), min(_FITTED, len(rows)))
    features = np.concatenate([part for _, part in feature_batches(model, items, rows[sample], view, batch_size)])
    if not np.isfinite(features).all():
        raise FrugalError("the model's features are not finite; start a new loop with a lower train.lr")
    state = int(seed.generate_state(1)[0])
    fitted = MiniBatchKMeans(min(count, len(sample)), n_init=1, batch_size=4096, random_state=state).fit(features)
    nearest = np.empty(len(rows), dtype=np.int32)
    distance = np.empty(len(rows), dtype=np.float32)
    for start, part in feature_batches(model, items, rows, view, batch_size):
        here = slice(start, start + len(part))
        nearest[here] = fitted.predict(part)
        distance[here] = np.linalg.norm(part - fitted.cluster_centers_[nearest[here]], axis=1)
    return Clustered(nearest, distance, len(rows) + len(sample))
