"""INFER: what the model knows about the items that are still unlabelled."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks import cache as caches
from tasks import feature_file, files, registry
from tasks.config import Config, scope_settings
from tasks.cost.ledger import Usage
from tasks.datasets.store import load_info
from tasks.errors import ConfigError, FrugalError
from tasks.feature_file import Features
from tasks.infer.clustering import cluster
from tasks.infer.entries import Entries
from tasks.infer.narrowing import known, narrow
from tasks.infer.scopes.scope import Positions
from tasks.infer.scoring import score_items
from tasks.models import device as devices
from tasks.models import encoded, stored
from tasks.rounds import Workspace, load_config
from tasks.seeds import seed_sequence, torch_seed

#: What the cache says of an item that a round without INFER passed over.
_CARRIED = "carried on"


def run(workspace: Workspace, round_: int, usage: Usage) -> None:
    """Write the round's scores.parquet: unlabelled items that were ever scored, in the order of unlabeled.parquet.

    The plan's infer_scope says what is scored: `none`, `full`, or a list of scopes with their settings, each of which
    narrows what the one before left. The others keep what the previous round's cache says of them.

    Where the plan's infer_features asks for them, features.parquet holds the features of the items scored in this round
    and of all labelled ones, by their ids; else it holds no rows.

    Raises:
        ConfigError: the device is not there, the plan asks for an unknown scope, or the model has no dropout to leave
            on.
        DataError: a file is missing or damaged, or the cache is of another pool or acquisition function.
        FrugalError: a score is infinite or undefined; the item is named.
    """
    folder, config, info = workspace.round_dir(round_), load_config(workspace), load_info(workspace)
    digest, task = info.digest, info.task
    ids = files.read_table(folder / "unlabeled.parquet", ["id"])["id"].combine_chunks()
    before = caches.read(workspace.previous_dir(round_) / "scores.parquet", config.infer.acquisition, digest, task)
    caches.check_pool(
        workspace.previous_dir(round_) / "scores.parquet", before, ids, workspace.pool / "manifest.parquet"
    )
    pool = known(ids, before, round_)
    entries = Entries.carried_on(pool, before, task)
    planned, features = _planned(workspace, round_, config), None
    if planned.scopes is None:
        entries.explain([_CARRIED], np.zeros(len(ids), dtype=np.int32))
    else:
        chosen, reasons, why = narrow(pool, planned.scopes, seed_sequence(config.seed, round_, "infer"))
        entries.explain(reasons, why)
        if len(chosen):
            features = _score(workspace, round_, config, entries, chosen, planned, usage)
    feature_file.write(folder / "features.parquet", features)
    caches.write(folder / "scores.parquet", entries.table(), config.infer.acquisition, digest)


@dataclass(frozen=True)
class _Planned:
    """What the plan asks of INFER."""

    #: None for none.
    scopes: list[dict[str, Any]] | None
    #: Of each model.
    passes: int
    #: Whether the next SELECT goes by features.
    features: bool


def _planned(workspace: Workspace, round_: int, config: Config) -> _Planned:
    path = workspace.round_dir(round_) / "plan.json"
    plan = files.read_object(path, "infer_scope")
    # A plan of an earlier release does not speak of these.
    passes = int(plan.get("infer_passes", {"value": config.infer.passes})["value"])
    features = bool(plan.get("infer_features", {"value": False})["value"])
    return _Planned(_scopes(path, plan["infer_scope"]["value"]), passes, features)


def _scopes(path: Path, value: Any) -> list[dict[str, Any]] | None:
    if value == "none":
        return None
    if value == "full":
        return [{"name": "full"}]
    if not isinstance(value, list) or not value:
        raise ConfigError(f"{path}: infer_scope is {value!r}; known: full, none, or a list of scopes")
    return [scope_settings(str(path), scope) for scope in value]


def _score(
    workspace: Workspace,
    round_: int,
    config: Config,
    entries: Entries,
    chosen: Positions,
    planned: _Planned,
    usage: Usage,
) -> Features | None:
    # In the order of their ids: an item's dropout masks must not depend on how the rows of a file are ordered.
    chosen = chosen[pc.sort_indices(entries.ids.take(chosen)).to_numpy()]
    ids, pool = entries.ids.take(chosen), encoded.load(workspace, "pool", config.selecting).items
    rows, device, infer = pool.rows(ids), devices.resolve(config.device), config.infer
    with (
        devices.timed(device, usage.device_s),
        devices.reproducible(device, torch_seed(config.seed, round_, "infer")),
    ):
        models, view, card = stored.read(workspace.round_dir(round_), device)
        scored = score_items(
            models, view, pool.array, rows, infer.acquisition, infer.batch_size, planned.passes, planned.features
        )
        _check_finite(ids, scored.score, config.block)
        entries.renew(chosen, scored, round_, card["digest"])
        usage.items_scored = len(ids)
        usage.forward_passes = len(ids) * len(models) * planned.passes
        # Found in the first, full pass, for the scopes of later rounds, so the plan of this one does not speak of them.
        if "clusters" in infer.scope and not entries.clustered:
            seed = seed_sequence(config.seed, round_, "infer")
            found = cluster(models[0], view, pool.array, rows, ids, infer.clusters.count, infer.batch_size, seed)
            entries.join_clusters(chosen, found.cluster, found.distance)
            usage.forward_passes += found.forward_passes
        if scored.seen is None:
            return None
        # In the order of their ids, as the pool is kept.
        labeled = np.flatnonzero(pc.invert(pc.is_in(pool.ids, value_set=entries.ids)))
        plain = next(iter(registry.ACQUISITIONS_OF[view.task.name]))
        beside = score_items(models[:1], view, pool.array, labeled, plain, infer.batch_size, features=True).seen
        assert beside is not None
        usage.forward_passes += len(labeled) + (len(ids) if len(models) * planned.passes > 1 else 0)
        return Features(
            pa.concat_arrays([ids, pool.ids.take(labeled)]),
            np.repeat([False, True], [len(ids), len(labeled)]),
            np.concatenate([scored.seen.features, beside.features]),
            np.concatenate([scored.seen.probabilities, beside.probabilities]),
        )


def _check_finite(ids: pa.Array, scores: npt.NDArray[np.float64], block: str) -> None:
    wrong = np.flatnonzero(~np.isfinite(scores))
    if len(wrong):
        raise FrugalError(
            f"item {ids[int(wrong[0])].as_py()!r} has the score {scores[wrong[0]]} ({len(wrong)} such items): "
            f"the model's outputs are not finite; start a new loop with a lower {block}.lr, or {block}.precision=fp32"
        )
