"""SELECT: which items are labelled next, and the tasks for those who label them."""

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks import files, registry
from tasks.cost.ledger import Usage
from tasks.rounds import Workspace, load_config
from tasks.seeds import seed_sequence
from tasks.select.choice import Candidates, Chosen


def run(workspace: Workspace, round_: int, usage: Usage) -> None:
    """Write selected.parquet (id, rank, score, origin) and tasks.jsonl of a round, as plan.json says."""
    folder, previous = workspace.round_dir(round_), workspace.previous_dir(round_)
    plan = files.read_json(folder / "plan.json")
    cache = files.read_table(previous / "scores.parquet", ["id", "score", "proposal", "confidence"])
    ids = files.read_table(previous / "unlabeled.parquet", ["id"])["id"].combine_chunks()
    rows = pc.index_in(ids, value_set=cache["id"].combine_chunks())
    seed = seed_sequence(load_config(workspace).seed, round_, "select")
    candidates = Candidates(ids, _scores(cache, rows), seed)
    chosen = _choose(workspace, round_, candidates, plan)
    _write_selected(workspace, round_, candidates, chosen)
    _write_tasks(workspace, round_, ids.take(chosen.positions), cache, rows.take(chosen.positions))


def _choose(workspace: Workspace, round_: int, candidates: Candidates, plan: dict[str, Any]) -> Chosen:
    name, size = plan["strategy"]["value"], plan["query_size"]["value"]
    if round_ == 0:
        chosen: Chosen = registry.resolve(registry.INITIAL_POOLS, name)(workspace, candidates, size)
    else:
        chosen = registry.resolve(registry.STRATEGIES, name)(candidates, size)
    return chosen


def _scores(cache: pa.Table, rows: pa.Array) -> npt.NDArray[np.float64]:
    scores = cache["score"].combine_chunks().take(rows).fill_null(np.nan)
    values: npt.NDArray[np.float64] = scores.to_numpy(zero_copy_only=False)
    return values


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
