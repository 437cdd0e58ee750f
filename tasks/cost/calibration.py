"""data/calibration.json: how long units of compute took, for which settings and on which machine."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from tasks import files, registry
from tasks.config import Config
from tasks.config_train import TrainConfig
from tasks.cost.machine import machine
from tasks.cost.rates import Rates
from tasks.rounds import Workspace, stored_config

#: Of the configuration's blocks, the keys on which no unit's time depends.
_TRAIN_FREE = {"epochs", "lr", "momentum", "weight_decay", "schedule", "step_at", "step_factor", "label_smoothing"}
_TRAIN_COUNTED = {"validation", "patience", "members", "repeats"}
_DATASET_FREE = {"root", "pool", "test", "limit"}
#: Keys that former releases did not have, and what stands for nothing behind them.
_NOTHING = {"loss_prediction": None, "text": ["text"], "features": None, "header": None, "bounds": None}
#: Of one prediction, where nothing is scored.
_PLAIN = {"classification": "entropy", "regression": "total_std"}
#: Batches of a training by which a record-epoch is timed.
_BATCHES = 8
#: Settings of former measurements of which the rates are kept.
_KEPT = 15


def load(workspace: Workspace, config: Config, pool: int) -> Rates | None:
    """The rates that hold for a configuration: its own, or those measured here for the same settings, or None.

    Args:
        pool: items of the pool.

    Raises:
        DataError: the file is damaged.
    """
    if config.rates is not None:
        return _own(config)
    measured = _measured(workspace)
    wanted = settings(config, pool) if measured else None
    return next((Rates(**entry["rates"]) for entry in measured if entry["settings"] == wanted), None)


def store(workspace: Workspace, config: Config, pool: int, rates: Rates) -> None:
    """Keep measured rates, in the place of those for the same settings.

    Of all others the newest are kept, and those of the workspace's own loop: however much is planned beside it, its
    policies go on by the rates with which they began.
    """
    wanted, loops = settings(config, pool), _of_loop(workspace)
    others = [entry for entry in _measured(workspace) if entry["settings"] != wanted]
    own = [entry for entry in others if entry["settings"] == loops]
    newest = [entry for entry in others if entry["settings"] != loops][-_KEPT:]
    files.write_json(file(workspace), {"measured": [*own, *newest, {"rates": asdict(rates), "settings": wanted}]})


def _measured(workspace: Workspace) -> list[dict[str, Any]]:
    """What the file holds, the newest last: rates and settings; a former release's file holds nothing of use."""
    path = file(workspace)
    entries: list[dict[str, Any]] = files.read_object(path).get("measured", []) if path.exists() else []
    return entries


def _of_loop(workspace: Workspace) -> dict[str, Any] | None:
    """The settings of the loop that has begun here, or None."""
    config, path = stored_config(workspace), workspace.pool / "pool.json"
    if config is None or not path.exists():
        return None
    return settings(config, files.read_object(path, "items")["items"])


def file(workspace: Workspace) -> Path:
    """Where measured rates lie; git does not keep it, as another machine has other rates."""
    return workspace.root / "data" / "calibration.json"


def settings(config: Config, pool: int) -> dict[str, Any]:
    """All on which the rates depend, as plain JSON values: the items, the model, how it is used, and the machine."""
    device = _device(config)
    found = {
        "device": device,
        "dataset": _without(_NOTHING, config.dataset.model_dump(mode="json", exclude=_DATASET_FREE)),
        "train": _trained(config.selecting),
        "train_items": train_items(config, config.selecting),
        "pool": pool,
        "infer": scoring(config),
        "machine": machine(device),
    } | _without({"task": "classification"}, {"task": config.task})
    if config.proxy is None:
        return found
    target = {
        "train": _trained(config.train),
        "train_items": train_items(config, config.train),
    }
    return found | {**config.proxy.data.model_dump(mode="json"), "target": target}


def _trained(settings: TrainConfig) -> dict[str, Any]:
    others = set(registry.SETTINGS.values()) - {registry.SETTINGS.get(settings.model)}
    return _without(_NOTHING, settings.model_dump(mode="json", exclude=_TRAIN_FREE | _TRAIN_COUNTED | others))


def _without(nothing: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """What a former release measured without these keys still holds where there is nothing behind them."""
    return {key: value for key, value in found.items() if key not in nothing or value != nothing[key]}


def scoring(config: Config) -> dict[str, Any]:
    """By what INFER scores, as far as a forward pass depends on it; where nothing is scored, a plain pass."""
    infer = config.infer
    scored = config.select.strategy not in registry.BLIND
    return {
        "acquisition": infer.acquisition if scored else _PLAIN[config.task],
        "batch_size": infer.batch_size,
        "passes": infer.passes if scored else 1,
        "members": config.selecting.members if scored else 1,
    }


def train_items(config: Config, settings: TrainConfig) -> int:
    """On how many items a record-epoch is timed: a few full batches, or as many labels as the loop will ever have."""
    loop = config.loop
    labels = loop.initial + (loop.rounds - 1) * loop.query_size
    return max(2, min(_BATCHES * settings.batch_size, labels))


def _own(config: Config) -> Rates:
    assert config.rates is not None
    return Rates(device=_device(config), **config.rates.model_dump())


def _device(config: Config) -> Literal["cpu", "cuda"]:
    if config.device != "auto":
        return config.device
    from tasks.models import device as devices

    return "cuda" if devices.resolve(config.device).type == "cuda" else "cpu"
