"""INFER: what the model knows about the items that are still unlabelled."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks import files, registry
from tasks.cost.ledger import Usage
from tasks.datasets.store import load_items
from tasks.datasets.tables import SCORES
from tasks.errors import ConfigError, FrugalError
from tasks.infer.scoring import score_items
from tasks.models import device as devices
from tasks.models import stored
from tasks.rounds import Workspace, load_config
from tasks.seeds import torch_seed


def run(workspace: Workspace, round_: int, usage: Usage) -> None:
    """Write the round's scores.parquet: unlabelled items that were ever scored, in the order of unlabeled.parquet.

    The plan's infer_scope says what is scored: `full` all unlabelled items; `none` nothing, and the rows of the
    previous round are carried on.

    Raises:
        ConfigError: the device is not there, or the plan asks for an unknown scope.
        DataError: a file is missing or damaged.
        FrugalError: a score is infinite or undefined; the item is named.
    """
    folder = workspace.round_dir(round_)
    scope = files.read_json(folder / "plan.json")["infer_scope"]["value"]
    ids = files.read_table(folder / "unlabeled.parquet", ["id"])["id"].combine_chunks()
    cache = workspace.previous_dir(round_) / "scores.parquet"
    if scope == "full":
        table = _scored(workspace, round_, ids, _times_scored(cache, ids), usage)
    elif scope == "none":
        table = _carried_on(cache, ids)
    else:
        raise ConfigError(f"{folder / 'plan.json'}: infer_scope is {scope!r}; known: full, none")
    files.write_table(folder / "scores.parquet", table)


def _times_scored(path: Path, ids: pa.Array) -> npt.NDArray[np.int32]:
    cache = files.read_table(path, ["id", "times_scored"])
    before = cache["times_scored"].combine_chunks().take(_rows(cache, ids)).fill_null(0)
    return np.asarray(before, dtype=np.int32)


def _carried_on(path: Path, ids: pa.Array) -> pa.Table:
    cache = files.read_table(path, SCORES.names)
    return cache.take(_rows(cache, ids).drop_null()).cast(SCORES).unify_dictionaries()


def _rows(cache: pa.Table, ids: pa.Array) -> pa.Array:
    return pc.index_in(ids, value_set=cache["id"].combine_chunks())


def _scored(
    workspace: Workspace, round_: int, ids: pa.Array, times_before: npt.NDArray[np.int32], usage: Usage
) -> pa.Table:
    config, pool = load_config(workspace), load_items(workspace, "pool")
    rows, device = pool.rows(ids), devices.resolve(config.device)
    acquisition = registry.resolve(registry.ACQUISITIONS, config.infer.acquisition)
    with (
        devices.timed(device, usage.device_s),
        devices.reproducible(device, torch_seed(config.seed, round_, "infer")),
    ):
        model, view, card = stored.read(workspace.round_dir(round_), device)
        scored = score_items(model, view, pool.array, rows, acquisition, config.infer.batch_size)
    _check_finite(ids, scored.score)
    usage.items_scored = usage.forward_passes = len(ids)
    columns = {
        "id": ids,
        "score": scored.score,
        "scored_round": np.full(len(ids), round_, dtype=np.int32),
        "model": pa.DictionaryArray.from_arrays(np.zeros(len(ids), dtype=np.int32), [card["digest"]]),
        "times_scored": times_before + np.int32(1),
        "proposal": scored.proposal,
        "confidence": scored.confidence,
    }
    return pa.table(columns, SCORES)


def _check_finite(ids: pa.Array, scores: npt.NDArray[np.float64]) -> None:
    wrong = np.flatnonzero(~np.isfinite(scores))
    if len(wrong):
        raise FrugalError(
            f"item {ids[int(wrong[0])].as_py()!r} has the score {scores[wrong[0]]} ({len(wrong)} such items): "
            "the model's outputs are not finite; start a new loop with a lower train.lr, or with train.precision=fp32"
        )
