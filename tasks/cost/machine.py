"""What of a machine decides how long a unit of compute takes on it."""

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any, Literal


def machine(device: Literal["cpu", "cuda"]) -> dict[str, Any]:
    """The host, its processor and threads, the GPU if ``device`` is one, and the libraries, as plain JSON values."""
    return {
        "host": platform.node(),
        "processor": _processor(),
        "gpu": _gpu() if device == "cuda" else None,
        "threads": _threads(),
        "torch": metadata.version("torch"),
        "numpy": metadata.version("numpy"),
    }


def _processor() -> str:
    """Its model's name, which Python itself does not tell on Linux."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _gpu() -> str | None:
    """None where cuda is configured, and this machine has none."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def _threads() -> int:
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() else os.cpu_count() or 1
