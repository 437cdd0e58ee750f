"""SELECT: which items are labelled next, and the tasks for those who label them."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks import cache as caches
from tasks import files, registry
from tasks.cost.ledger import Usage
from tasks.rounds import Workspace, load_config
from tasks.seeds import seed_sequence
from tasks.select.choice import Candidates, Chosen
from tasks.select.freshness import freshest_first

#: Columns of the cache.
_READ = ("id", "score", "scored_round", "proposal", "confidence")


def run(workspace: Workspace, round_: int, usage: Usage) -> None:
    """Write selected.parquet (id, rank, score, origin) and tasks.jsonl of a round, as plan.json says.

    Raises:
        DataError: a file is missing or damaged, or the cache holds values of another pool, of another acquisition
            function, or such as are not finite.
    """
    folder, previous, config = workspace.round_dir(round_), workspace.previous_dir(round_), load_config(workspace)
    plan = files.read_json(folder / "plan.json")
    digest = files.read_json(workspace.pool / "pool.json").get("digest")
    cache = caches.read(previous / "scores.parquet", config.infer.acquisition, digest, _READ)
    ids = files.read_table(previous / "unlabeled.parquet", ["id"])["id"].combine_chunks()
    rows = caches.rows(cache, ids)
    scores = np.asarray(caches.column(cache, rows, "score", np.nan), dtype=np.float64)
    candidates = Candidates(ids, scores, seed_sequence(config.seed, round_, "select"), config.select.beta)
    name, size = plan["strategy"]["value"], plan["query_size"]["value"]
    if round_ == 0:
        chosen: Chosen = registry.resolve(registry.INITIAL_POOLS, name)(workspace, candidates, size)
    elif name in registry.BLIND:
        chosen = registry.resolve(registry.STRATEGIES, name)(candidates, size)
    else:
        age = round_ - 1 - np.asarray(caches.column(cache, rows, "scored_round", -1), dtype=np.int64)
        chosen = freshest_first(
            registry.resolve(registry.STRATEGIES, name), candidates, age, config.select.max_age, size
        )
    _write_selected(workspace, round_, candidates, chosen)
    _write_tasks(workspace, round_, ids.take(chosen.positions), cache, rows.take(chosen.positions))


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


def _write_tasks(workspace: Workspace, round_: int, ids: pa.Array, cache: pa.Table, rows: pa.Array) -> None:
    manifest = files.read_table(workspace.pool / "manifest.parquet", ["id", "uri"])
    # A hash table of the few chosen ids, not of the whole pool.
    manifest = manifest.filter(pc.is_in(manifest["id"], value_set=ids)).combine_chunks()
    uris = manifest["uri"].take(pc.index_in(ids, value_set=manifest["id"]))
    classes = files.read_json(workspace.pool / "pool.json")["classes"]
    proposals = cache["proposal"].combine_chunks().take(rows).to_pylist()
    confidences = cache["confidence"].combine_chunks().take(rows).to_pylist()
    lines = [
        {"id": id_, "uri": uri, "round": round_, "priority": rank, "proposals": _proposals(classes, label, confidence)}
        for rank, (id_, uri, label, confidence) in enumerate(
            zip(ids.to_pylist(), uris.to_pylist(), proposals, confidences, strict=True)
        )
    ]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    files.write_bytes(workspace.round_dir(round_) / "tasks.jsonl", text.encode())


def _proposals(classes: list[str], label: int | None, confidence: float | None) -> list[dict[str, Any]]:
    if label is None or confidence is None:
        return []
    return [{"label": classes[label], "confidence": round(confidence, 6)}]
