"""Small workspaces in the true format, without a stage having run: what the record in git, DVC and MLflow needs."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
import yaml

from flows.init import init
from tasks import config, files, stages
from tasks.cost import ledger
from tasks.models import stored
from tasks.models.building import build
from tasks.rounds import Workspace, begin, find_workspace, sync_rounds_file

#: pool.json of images that have four pixels.
POOL: dict[str, Any] = {
    "dataset": "fake",
    "classes": ["ant", "bee"],
    "shape": [1, 2, 2],
    "dtype": "uint8",
    "mean": [0.5],
    "std": [0.25],
    "items": 2,
    "held_out": 2,
    "known_labels": 2,
    "digest": "0" * 64,
}
CONFIG: dict[str, Any] = {
    "name": "fake",
    "seed": 7,
    "prices": {"currency": "USD", "label": 0.05, "device_hour": {"cpu": 0.1}},
}


def make_workspace(directory: Path, **settings: Any) -> Workspace:
    """A workspace as `frugal init` makes it, with a loop begun and the pool there."""
    init(directory)
    workspace = find_workspace(directory)
    begin(workspace, config.parse(CONFIG | settings, "test"))
    _write_outputs(workspace, stages.POOL, 0)
    sync_rounds_file(workspace)
    return workspace


def add_round(workspace: Workspace, round_: int, last: bool = False, target: bool = False, **plan: Any) -> None:
    """Write every file of a finished round; a last round has neither scores nor a successor."""
    folder = workspace.round_dir(round_)
    decision = {"action": "stop" if last else "continue", "reason": "test", "policy": "test", "numbers": {}}
    if target:
        decision["target"] = {"value": True, "reason": "test"}
    files.write_json(folder / "decision.json", decision)
    files.write_json(folder / "plan.json", {"round": round_, "query_size": 20, "strategy": "top_k"} | plan)
    for stage in stages.wanted(workspace, round_):
        _write_outputs(workspace, stage, round_)
        inputs = stages.input_digests(workspace, stage, round_)
        ledger.write_entry(folder, stage.name, ledger.Usage(), config.parse(CONFIG, "test").prices, inputs, {})
    files.write_json(folder / "metrics.json", {"accuracy": 0.5 + round_ / 10, "nll": 1.0})
    sync_rounds_file(workspace)


def _write_outputs(workspace: Workspace, stage: stages.Stage, round_: int) -> None:
    for name, path in stage.paths(workspace, round_, stage.outs + stage.metrics).items():
        if path.name == "pool.json":
            files.write_json(path, POOL)
        elif path.name in stored.FILES:
            _write_model(path.parent, round_)
        elif path.suffix == ".parquet":
            files.write_table(path, pa.table({"id": ["a", "b"], "from": [stage.name + name] * 2}))
        elif path.suffix in {".json", ".jsonl"}:
            files.write_json(path, {"of": stage.name, "round": round_})
        else:
            files.write_bytes(path, f"{name}\n".encode())


def _write_model(folder: Path, round_: int) -> None:
    """A linear model whose weights depend on where it lies."""
    model = build("linear", tuple(POOL["shape"]), len(POOL["classes"]))
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter.fill_(round_ + number + len(folder.name))
    card = {"model": "linear", "mean": [0.5], "std": [0.25], "precision": "fp32", "channels_last": True}
    stored.write(folder, [model], {**card, "shape": POOL["shape"], "classes": POOL["classes"]})


def rounds_mapping(workspace: Workspace) -> dict[str, Any]:
    """conf/rounds.yaml as DVC reads it."""
    mapping: dict[str, Any] = yaml.safe_load(workspace.rounds_file.read_text(encoding="utf-8"))
    return mapping
