"""SELECT: which items are labelled next, and the tasks for those who label them."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks import cache as caches
from tasks import feature_file, files, outside, registry
from tasks.config import Config
from tasks.cost.ledger import Usage
from tasks.datasets.store import load_task
from tasks.errors import ConfigError, DataError
from tasks.rounds import Workspace, begins_attempt, load_config
from tasks.seeds import seed_sequence
from tasks.select import tasks as tasks_file
from tasks.select.choice import Candidates, Chosen
from tasks.select.featured import by_features
from tasks.select.freshness import freshest_first

#: Columns of the cache, besides how sure its model was.
_READ = ("id", "score", "scored_round", "proposal")


def run(workspace: Workspace, round_: int, usage: Usage) -> None:
    """Write selected.parquet (id, rank, score, origin) and tasks.jsonl of a round, as plan.json says.

    Raises:
        DataError: a file is missing or damaged, or the cache holds values of another pool, of another acquisition
            function, or such as are not finite.
    """
    folder, previous, config = workspace.round_dir(round_), workspace.previous_dir(round_), load_config(workspace)
    digest, task = files.read_json(workspace.pool / "pool.json").get("digest"), load_task(workspace)
    columns = (*_READ, task.certainty)
    cache = caches.read(previous / "scores.parquet", config.infer.acquisition, digest, task, columns)
    ids = files.read_table(previous / "unlabeled.parquet", ["id"])["id"].combine_chunks()
    caches.check_pool(previous / "scores.parquet", cache, ids, workspace.pool / "manifest.parquet")
    rows = caches.rows(cache, ids)
    scores = np.asarray(caches.column(cache, rows, "score", np.nan), dtype=np.float64)
    candidates = Candidates(ids, scores, seed_sequence(config.seed, round_, "select"), config.select.beta)
    outside.check(workspace, config.select)
    first = begins_attempt(workspace, round_)
    name, size = _planned(folder / "plan.json", first, len(ids))
    if first:
        chosen = _first(workspace, name, candidates, size, usage)
    elif name in registry.REPEATING:
        chosen = registry.resolve(registry.STRATEGIES, name)(workspace, candidates, size)
    elif name in registry.BLIND:
        chosen = registry.resolve(registry.STRATEGIES, name)(candidates, size)
    elif name in registry.FEATURE_STRATEGIES:
        chosen = _by_features(config, name, candidates, previous / "features.parquet", size, usage)
    else:
        age = _age(previous / "scores.parquet", cache, rows, round_)
        strategy = registry.resolve(registry.STRATEGIES, name)
        chosen = freshest_first(strategy, candidates, age, config.select.max_age, size)
    _write_selected(workspace, round_, candidates, chosen)
    tasks_file.write(workspace, round_, ids.take(chosen.positions), cache.take(rows.take(chosen.positions)))


def _by_features(config: Config, name: str, candidates: Candidates, path: Path, size: int, usage: Usage) -> Chosen:
    from tasks.models import device as devices

    found = feature_file.read(path)
    device = devices.resolve(config.device)
    with devices.timed(device, usage.device_s):
        return by_features(registry.resolve(registry.FEATURE_STRATEGIES, name), candidates, found, size, device)


def _first(workspace: Workspace, name: str, candidates: Candidates, size: int, usage: Usage) -> Chosen:
    pick = registry.resolve(registry.INITIAL_POOLS, name)
    if name not in registry.COLD_STARTS:
        chosen: Chosen = pick(workspace, candidates, size)
        return chosen
    import torch

    from tasks.models import device as devices

    with devices.timed(torch.device("cpu"), usage.device_s):
        chosen = pick(workspace, candidates, size)
    return chosen


def _planned(path: Path, first: bool, unlabeled: int) -> tuple[str, int]:
    """The strategy and the query size of the plan."""
    plan = files.read_object(path, "strategy", "query_size")
    name, size = plan["strategy"]["value"], plan["query_size"]["value"]
    known = registry.INITIAL_POOLS if first else registry.ALL_STRATEGIES
    if name not in known:
        raise ConfigError(f"{path}: strategy is {name!r}; known: {', '.join(known)}")
    if not isinstance(size, int) or not 0 < size <= unlabeled:
        raise ConfigError(f"{path}: query_size is {size!r}; it must be 1 to {unlabeled}, the items without a label")
    return name, size


def _age(path: Path, cache: pa.Table, rows: pa.Array, round_: int) -> npt.NDArray[np.int64]:
    """Rounds since each item was scored last; of no account for one that never was."""
    if not len(cache):
        raise DataError(f"{path}: holds no values to choose by; restore it with `dvc checkout`")
    scored_round = np.asarray(caches.column(cache, rows, "scored_round", -1), dtype=np.int64)
    if scored_round.max(initial=-1) >= round_:
        raise DataError(
            f"{path}: holds values of round {scored_round.max()}, which are not of before round {round_}; restore it "
            "with `dvc checkout`"
        )
    return round_ - 1 - scored_round


def _write_selected(workspace: Workspace, round_: int, candidates: Candidates, chosen: Chosen) -> None:
    table = pa.table(
        {
            "id": candidates.ids.take(chosen.positions),
            "rank": pa.array(range(len(chosen.positions)), pa.int32()),
            "score": pa.array(candidates.scores[chosen.positions], pa.float64(), from_pandas=True),
            "origin": pa.array(chosen.origins, pa.string()),
        }
    )
    files.write_table(workspace.round_dir(round_) / "selected.parquet", table)
