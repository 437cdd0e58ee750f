"""data/calibration.json: how long a unit of compute took on this machine, and for which settings that holds."""

import os
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from tasks import files, registry
from tasks.config import Config
from tasks.cost.rates import Rates
from tasks.rounds import Workspace

#: Of the configuration's blocks, the keys on which no unit's time depends.
_TRAIN_FREE = {"epochs", "lr", "momentum", "weight_decay", "schedule", "step_at", "step_factor", "label_smoothing"}
_TRAIN_COUNTED = {"validation", "patience", "members", "repeats"}
_DATASET_FREE = {"root", "pool", "test", "limit"}
#: Batches of a training by which a record-epoch is timed.
_BATCHES = 8


def load(workspace: Workspace, config: Config) -> Rates | None:
    """The rates that hold for a configuration: its own, or those measured here for the same settings, or None.

    Raises:
        DataError: the file is damaged.
    """
    if config.rates is not None:
        return _own(config)
    path = file(workspace)
    if not path.exists():
        return None
    stored = files.read_object(path, "rates", "settings")
    return Rates(**stored["rates"]) if stored["settings"] == settings(config) else None


def store(workspace: Workspace, config: Config, rates: Rates) -> None:
    """Keep measured rates; they replace those that were measured before."""
    files.write_json(file(workspace), {"rates": asdict(rates), "settings": settings(config)})


def file(workspace: Workspace) -> Path:
    """Where measured rates lie; git does not keep it, as another machine has other rates."""
    return workspace.root / "data" / "calibration.json"


def settings(config: Config) -> dict[str, Any]:
    """All on which the rates depend, as plain JSON values: the items, the model, how it is used, and the machine."""
    infer = config.infer
    scored = config.select.strategy not in registry.BLIND
    return {
        "device": config.device,
        "dataset": config.dataset.model_dump(mode="json", exclude=_DATASET_FREE),
        "train": config.train.model_dump(mode="json", exclude=_TRAIN_FREE | _TRAIN_COUNTED),
        "train_items": train_items(config),
        "infer": {
            "acquisition": infer.acquisition if scored else "entropy",
            "batch_size": infer.batch_size,
            "passes": infer.passes if scored else 1,
            "members": config.train.members if scored else 1,
        },
        "machine": {"threads": _threads(), "torch": metadata.version("torch"), "numpy": metadata.version("numpy")},
    }


def train_items(config: Config) -> int:
    """On how many items a record-epoch is timed: a few full batches, or as many labels as the loop will ever have."""
    loop = config.loop
    labels = loop.initial + (loop.rounds - 1) * loop.query_size
    return max(2, min(_BATCHES * config.train.batch_size, labels))


def _own(config: Config) -> Rates:
    assert config.rates is not None
    return Rates(device=_device(config), **config.rates.model_dump())


def _device(config: Config) -> Literal["cpu", "cuda"]:
    if config.device != "auto":
        return config.device
    from tasks.models import device as devices

    return "cuda" if devices.resolve(config.device).type == "cuda" else "cpu"


def _threads() -> int:
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() else os.cpu_count() or 1
