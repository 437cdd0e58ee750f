"""Initial pools that are chosen by what items look like, before any model can say more.

Features are those of the file that `select.features` names, or else the items as they come, reduced by principal
components. They are put to unit length, as in the publications of both methods.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks import outside
from tasks.config import Config
from tasks.datasets.flat import flat
from tasks.datasets.source import Source
from tasks.datasets.store import by_id, load_info, load_items
from tasks.errors import ConfigError
from tasks.order import random_keys, smallest
from tasks.rounds import Workspace, load_config
from tasks.select.choice import Candidates, Chosen
from tasks.select.max_herding import herded
from tasks.select.typiclust import typical

Positions = npt.NDArray[np.int64]
Singles = npt.NDArray[np.float32]

#: Items among which each method chooses; of larger pools a uniform sample, or as many as are wanted if these are more.
_CLUSTERED, _HERDED = 100_000, 10_000
#: Principal components, and the items on which they are found.
_COMPONENTS, _FITTED = 64, 20_000
#: Items that are held as floats at one time, and rows of the file.
_SLICE = 4096


def typiclust(workspace: Workspace, candidates: Candidates, size: int) -> Chosen:
    """The most typical items of as many clusters; of more than 100,000 items, those of a uniform sample.

    Raises:
        ConfigError: the file of features is not what it has to be.
        DataError: the data set is missing or damaged.
    """
    keys, sample = _sample(candidates, max(_CLUSTERED, size))
    found = typical(_features(workspace, candidates, sample), keys[sample], size, candidates.seed)
    return Chosen(sample[found], ["typiclust"] * len(found))


def max_herding(workspace: Workspace, candidates: Candidates, size: int) -> Chosen:
    """The items that together cover the pool best; of more than 10,000 items, within a uniform sample, and of it.

    Items that add equally much, such as copies when all is covered, follow in random order.

    Raises:
        ConfigError: the file of features is not what it has to be.
        DataError: the data set is missing or damaged.
    """
    keys, sample = _sample(candidates, max(_HERDED, size))
    features = _features(workspace, candidates, sample)
    at_random = np.argsort(keys[sample], kind="stable")
    found = at_random[herded(features[at_random], size)]
    return Chosen(sample[found], ["max-herding"] * len(found))


def check_features(config: Config, root: Path, source: Source) -> None:
    """Refuse a file of features that does not hold every item; a loop that names none is left alone.

    Args:
        root: of the workspace, to which a relative select.features belongs.
        source: the data set of the loop.

    Raises:
        ConfigError: the file is not what it has to be.
    """
    if config.select.features is not None:
        _stored(outside.found(root, config.select.features), pa.array(source.pool.ids, pa.string()))


def _sample(candidates: Candidates, most: int) -> tuple[npt.NDArray[np.uint64], Positions]:
    """A random key of every candidate, and the positions of the ``most`` smallest in the order of their ids."""
    keys = random_keys(candidates.ids, candidates.seed)
    drawn = np.sort(smallest(keys, most))
    return keys, drawn[by_id(candidates.ids.take(drawn))]


def _features(workspace: Workspace, candidates: Candidates, sample: Positions) -> Singles:
    """Of the candidates at ``sample``, in the order of their ids: float32 (n, d) of unit length, or 0."""
    ids, named = candidates.ids.take(sample), load_config(workspace).select.features
    features = (
        _plain(workspace, ids, candidates.seed) if named is None else _stored(outside.found(workspace.root, named), ids)
    )
    norms = np.sqrt(np.einsum("ij,ij->i", features, features, dtype=np.float64))
    norms[norms == 0] = 1
    features /= norms[:, None].astype(np.float32)
    return features


def _plain(workspace: Workspace, ids: pa.Array, seed: np.random.SeedSequence) -> Singles:
    """Principal components of the items as they come, fitted on at most 20,000 of them.

    Source: N. Halko, P. G. Martinsson and J. A. Tropp, Finding Structure with Randomness, SIAM Review 2011.
    """
    from sklearn.utils.extmath import randomized_svd

    items, info = load_items(workspace, "pool"), load_info(workspace)
    rows = items.rows(ids)

    def taken(part: Positions) -> Singles:
        return flat(items.array[part], info.kind, info.mean, info.std)

    fitted = taken(rows[np.sort(smallest(random_keys(ids, seed), _FITTED))])
    mean = fitted.mean(axis=0)
    fitted -= mean
    count = min(_COMPONENTS, *fitted.shape)
    _, _, components = randomized_svd(fitted, count, random_state=int(seed.generate_state(1)[0]))
    features = np.empty((len(rows), count), dtype=np.float32)
    for start in range(0, len(rows), _SLICE):
        features[start : start + _SLICE] = (taken(rows[start : start + _SLICE]) - mean) @ components.T
    return features


def _stored(path: Path, ids: pa.Array) -> Singles:
    """The features of these ids, (n, d), from a Parquet file, of which one slice is held at a time.

    Raises:
        ConfigError: the file is missing or unreadable, lacks a column or an item, names an item twice, or holds
            features that differ in length or are not finite.
    """
    if not path.is_file():
        raise _fault(path, "no such file")
    try:
        with pq.ParquetFile(path) as file:
            return _read(path, file, ids)
    except (pa.ArrowException, OSError) as error:
        raise _fault(path, f"cannot be read ({str(error).splitlines()[0]})") from None


def _read(path: Path, file: pq.ParquetFile, ids: pa.Array) -> Singles:
    rows = _rows(path, file, ids)
    by_row = np.argsort(rows)
    ids, rows = ids.take(by_row), rows[by_row]
    features, done, start = np.empty((0, 0), dtype=np.float32), 0, 0
    for batch in file.iter_batches(_SLICE, columns=["features"]):
        end = done + int(np.searchsorted(rows[done:], start + len(batch)))
        if end == done:
            start += len(batch)
            continue
        lists = batch["features"].take(pa.array(rows[done:end] - start))
        lengths = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
        if not done:
            features = np.empty((len(ids), lengths[0]), dtype=np.float32)
        width = features.shape[1]
        _check(path, ids[done:end], lengths == max(width, 1), f"not of {width} numbers" if width else "empty")
        numbers = pc.list_flatten(lists).cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False)
        features[by_row[done:end]] = part = numbers.reshape(end - done, -1)
        _check(path, ids[done:end], np.isfinite(part).all(axis=1), "not finite")
        done, start = end, start + len(batch)
    return features


def _rows(path: Path, file: pq.ParquetFile, ids: pa.Array) -> Positions:
    """Where in the file each id is."""
    absent = [name for name in ("id", "features") if name not in file.schema_arrow.names]
    if absent:
        raise _fault(path, f"has no column {' and no column '.join(absent)}")
    named = file.read(columns=["id"])["id"].combine_chunks().cast(ids.type)
    if named.null_count:
        raise _fault(path, f"has {named.null_count} rows without an id")
    rows = pc.index_in(ids, value_set=named)
    if rows.null_count:
        first = ids[pc.index(rows.is_null(), True).as_py()].as_py()
        raise _fault(path, f"lacks {rows.null_count} of the {len(ids)} items that are needed, {first!r} for one")
    if pc.count_distinct(named).as_py() < len(named):
        counts = pc.value_counts(named)
        twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1))[0].as_py()
        raise _fault(path, f"names the item {twice!r} more than once")
    positions: Positions = rows.to_numpy().astype(np.int64)
    return positions


def _check(path: Path, ids: pa.Array, good: npt.NDArray[np.bool_], fault: str) -> None:
    if not good.all():
        raise _fault(path, f"the features of {ids[int(np.argmin(good))].as_py()!r} are {fault}")


def _fault(path: Path, fault: str) -> ConfigError:
    return ConfigError(
        f"select.features: {path}: {fault}; name a Parquet file of id (text) and features (a list of numbers, as many "
        "for each) that holds every item of the pool"
    )
