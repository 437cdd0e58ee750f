"""Which device computes, how reproducibly, and for how long."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch

from tasks.errors import ConfigError

Precision = Literal["fp32", "bf16", "fp16"]


def resolve(name: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """The device that ``name`` stands for; auto is the first GPU if there is one.

    Raises:
        ConfigError: cuda was asked for and PyTorch sees none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device: cuda was asked for, but PyTorch sees no GPU; set device=auto or device=cpu")
    kind = "cuda" if name != "cpu" and torch.cuda.is_available() else "cpu"
    return torch.device(kind)


@contextmanager
def reproducible(device: torch.device, seed: int) -> Iterator[None]:
    """Seed PyTorch and forbid nondeterministic kernels in the block; put everything back as it was afterwards."""
    if device.type == "cuda":
        # cuBLAS reads it when it is first used; without it the deterministic mode refuses matrix products.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic
    fills = memory.fill_uninitialized_memory
    benchmark = torch.backends.cudnn.benchmark
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if device.type == "cuda" else []):
        try:
            torch.use_deterministic_algorithms(True)
            # Writing over memory that is about to be written anyway only costs time.
            memory.fill_uninitialized_memory = False
            torch.backends.cudnn.benchmark = False
            torch.manual_seed(seed)
            yield
        finally:
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
            memory.fill_uninitialized_memory = fills
            torch.backends.cudnn.benchmark = benchmark


@contextmanager
def timed(device: torch.device, seconds: dict[str, float]) -> Iterator[None]:
    """Add the block's wall seconds to ``seconds`` under the device's kind, queued work on it included."""
    began = time.perf_counter()
    yield
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    kind = device.type
    seconds[kind] = round(seconds.get(kind, 0.0) + time.perf_counter() - began, 4)
