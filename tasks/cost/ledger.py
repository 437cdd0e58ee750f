"""cost.json: what each stage of a round used, and what that costs.

A stage's entry is written last, in one rename, and is what makes the stage done: it carries the digests of the
stage's inputs and outputs. A stage that dies before is run again and billed once; a reproduction by DVC finds the
entry and leaves the bill as it is.
"""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks import files
from tasks.config import PricesConfig


@dataclass
class Usage:
    """What one stage used: machine-independent counts, and measured seconds and memory."""

    labels: int = 0
    #: Money already fixed by the labels' own prices.
    label_price: float = 0.0
    record_epochs: int = 0
    items_scored: int = 0
    #: Of one item each; where dropout is left on, a pass may be of what follows the first dropout alone.
    forward_passes: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    #: Seconds per device kind, such as {"cpu": 12.5}.
    device_s: dict[str, float] = field(default_factory=dict)
    #: Highest resident memory of the process so far.
    peak_memory_mb: float = 0.0


@contextmanager
def metered() -> Iterator[Usage]:
    """Measure the block's wall and CPU seconds into the Usage that it gets for its counts."""
    usage = Usage()
    wall, cpu = time.perf_counter(), time.process_time()
    yield usage
    usage.wall_s = round(time.perf_counter() - wall, 4)
    usage.cpu_s = round(time.process_time() - cpu, 4)
    usage.peak_memory_mb = round(_peak_memory_mb(), 1)


def _peak_memory_mb() -> float:
    # Linux reports kilobytes, macOS bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)


def price(usage: Usage, prices: PricesConfig) -> dict[str, float]:
    """Money for labels, for device time, and for the time of the machine besides, in the currency of ``prices``.

    A device kind without a price is free.
    """
    compute = sum(seconds / 3600 * prices.device_hour.get(kind, 0.0) for kind, seconds in usage.device_s.items())  # type: ignore[call-overload]
    besides = max(usage.wall_s - sum(usage.device_s.values()), 0.0)
    overhead = besides / 3600 * prices.device_hour.get("cpu", 0.0)
    return {"labels": round(usage.label_price, 6), "compute": round(compute, 6), "overhead": round(overhead, 6)}


def all_used(stages: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What each of the stages used, also in earlier runs on other inputs."""
    for made in stages.values():
        yield made["used"]
        yield from made.get("discarded", [])


def entry(round_dir: Path, stage: str) -> dict[str, Any] | None:
    """The ledger's entry of a stage, or None if it has never finished."""
    found: dict[str, Any] | None = ledger(round_dir)["stages"].get(stage)
    return found


def ledger(round_dir: Path) -> dict[str, Any]:
    """The round's whole cost.json; empty before its first stage is done."""
    path = round_dir / "cost.json"
    return files.read_object(path, "stages") if path.exists() else {"stages": {}}


def write_entry(
    round_dir: Path, stage: str, usage: Usage, prices: PricesConfig, inputs: dict[str, str], outputs: dict[str, str]
) -> None:
    """Bill a finished stage, and say when it ended: one atomic rename, after all of its outputs are in place.

    What an earlier run of the stage used, on other inputs, stays on the bill as `discarded`.
    """
    book = ledger(round_dir)
    made: dict[str, Any] = {"used": {**asdict(usage), "money": price(usage, prices)}}
    if (before := book["stages"].get(stage)) is not None:
        made["discarded"] = [*before.get("discarded", []), before["used"]]
    made |= {"at": datetime.now(UTC).isoformat(timespec="seconds"), "inputs": inputs, "outputs": outputs}
    stages = {**book["stages"], stage: made}
    files.write_json(round_dir / "cost.json", {"currency": prices.currency, "stages": stages})
