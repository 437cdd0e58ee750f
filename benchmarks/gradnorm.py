"""What the norm of each item's gradient costs beside a forward pass, and beside one backward pass per item.

    python benchmarks/gradnorm.py [--quick] [--device cpu] [--out benchmarks/results]

ResNet-18 for 32x32 images (11.2 million parameters), fp32, channels_last, random weights and items; all sides take the
same batch of normalised floats. The sides take turns; each turn gives one ratio, and the median is published with its
extremes. On a CPU ratios are of the process's CPU seconds, so that neighbours on the machine do not count; on a GPU
they are of synchronised wall seconds, which stand beside them in any case. `exact_vs_forward` is how many times as
long the exact norm takes as a plain forward pass in inference mode, `last_layer_vs_forward` likewise; `…_vs_loop` is
how many times faster than the loop. `peak_mb` is what a side takes above what was held before it. The last line
printed is one JSON object.
"""

import ctypes
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import harness
from benchmarks.throughput import Seconds, seconds
from tasks.infer import gradnorm
from tasks.models import device, resnet18
from tasks.models.view import View

TARGETS = {"exact_vs_forward": 3.0, "exact_vs_loop": 1.8, "last_layer_vs_loop": 4.0, "last_layer_vs_forward": 1.1}
SHAPE, CLASSES = (3, 32, 32), 10
#: Where Linux tells of memory, and its unit in one MB.
_STATUS, _KIB = Path("/proc/self/status"), 1024

Side = Callable[[nn.Module, Tensor], Any]


def main() -> None:
    """Measure, print, and keep the result if asked to."""
    parser = harness.parser(__doc__, "a quarter of the batch and three turns, under a minute")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    options = parser.parse_args()
    on = device.resolve(options.device)
    items, turns = (16, 3) if options.quick else (64, 9)
    began = time.process_time()
    torch.manual_seed(0)
    view = View(on, (0.5,) * 3, (0.25,) * 3)
    model = view.placed(resnet18.build(SHAPE, CLASSES)).eval()
    batch = view.laid_out(torch.randn(items, *SHAPE).to(on))
    with view.autocast():
        difference = (gradnorm.global_norm(model, batch)[0] / loop(model, batch) - 1).abs().max().item()
        peaks = {name: peak_mb(side, model, batch) for name, side in SIDES.items()}
        taken = [{name: timed(side, model, batch, on) for name, side in SIDES.items()} for _ in range(turns)]
    kind = "cpu" if on.type == "cpu" else "wall"
    ratios = {name: ratio(taken, *sides, kind) for name, sides in RATIOS.items()}
    figures = {
        **{name: figure["median"] for name, figure in ratios.items()},
        "targets": TARGETS,
        "ratios": ratios,
        "wall_ratios": {name: ratio(taken, *sides, "wall") for name, sides in RATIOS.items()},
        "ms_per_item": {name: milliseconds(taken, name, kind, items) for name in SIDES},
        "peak_mb": peaks,
        "largest_relative_difference": float(f"{difference:.3g}"),
        "n": turns,
        "batch": items,
        "device": torch.cuda.get_device_name() if on.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "cpu_s": round(time.process_time() - began, 1),
    }
    harness.publish("gradnorm" if on.type == "cpu" else "gradnorm-cuda", figures, options, ("torch", "torchvision"))


def forward(model: nn.Module, batch: Tensor) -> Tensor:
    """Logits, as cheaply as there are any."""
    with torch.inference_mode():
        logits: Tensor = model(batch)
    return logits


def loop(model: nn.Module, batch: Tensor) -> Tensor:
    """The global norm as published code has it: one item at a time, and all gradients of weights."""
    parameters = list(model.parameters())
    norms = []
    for item in batch.split(1):
        logarithms = torch.log_softmax(model(item).float(), dim=1)
        gradients = torch.autograd.grad(-(logarithms.exp() * logarithms).sum(), parameters)
        norms.append(torch.stack([gradient.norm() for gradient in gradients]).norm())
    return torch.stack(norms)


SIDES: dict[str, Side] = {
    "forward": forward,
    "exact": gradnorm.global_norm,
    "sum": gradnorm.sum_of_norms,
    "last_layer": gradnorm.last_layer_norm,
    "loop": loop,
}
#: What is divided by what.
RATIOS = {
    "exact_vs_forward": ("exact", "forward"),
    "exact_vs_loop": ("loop", "exact"),
    "sum_vs_forward": ("sum", "forward"),
    "last_layer_vs_loop": ("loop", "last_layer"),
    "last_layer_vs_forward": ("last_layer", "forward"),
}


def timed(side: Side, model: nn.Module, batch: Tensor, on: torch.device) -> Seconds:
    """What one call takes."""
    return seconds(lambda: side(model, batch), on)


def ratio(taken: list[dict[str, Seconds]], above: str, below: str, kind: str) -> dict[str, Any]:
    """Median and extremes over the turns of one side's seconds over another's."""
    values = [getattr(turn[above], kind) / getattr(turn[below], kind) for turn in taken]
    return {"median": round(statistics.median(values), 3), "spread": [round(min(values), 3), round(max(values), 3)]}


def milliseconds(taken: list[dict[str, Seconds]], name: str, kind: str, items: int) -> float:
    """Median over the turns, per item."""
    return round(statistics.median(getattr(turn[name], kind) for turn in taken) / items * 1000, 3)


def peak_mb(side: Side, model: nn.Module, batch: Tensor) -> float | None:
    """Memory that one call takes above what was held before, in MB of 2^20 bytes; None where it cannot be told."""
    if batch.is_cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        side(model, batch)
        return round((torch.cuda.max_memory_allocated() - before) / 2**20, 1)
    try:
        # What earlier calls have left in the allocator would hide what this one takes.
        ctypes.CDLL(None).malloc_trim(0)
        # Linux: resident memory's high-water mark starts again from what is resident now.
        Path("/proc/self/clear_refs").write_text("5")
    except (OSError, AttributeError):
        return None
    before = resident_kib("VmRSS")
    side(model, batch)
    return round((resident_kib("VmHWM") - before) / _KIB, 1)


def resident_kib(name: str) -> int:
    """A line of the process's own status."""
    lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main()
