"""What passes with dropout left on cost when only what is random is repeated.

    python benchmarks/mc_dropout.py [--quick] [--baal PYTHON] [--out benchmarks/results]

Beside repeats of the whole network (VGG-11-BN, whose dropout is in its head), and beside Baal's `predict_on_dataset`
and `BALD` (a small network with dropout in its head, and CEAL's with dropout throughout). All sides take the same
weights, fp32, channels_last, one thread; Baal gets normalised floats, our side uint8 items that it normalises itself,
and CEAL's network with `nn.Dropout(0.5)`, the only kind that Baal knows. Baal is measured as documented (the passes
replicated in memory, our batch size) and once more with the fastest settings that were found for it. Each measurement
is a process of its own; the sides take turns, each turn gives one ratio of images per CPU second, and the median is
published. The peak is that of resident memory above what the process held before its first prediction. Baal needs an
environment of its own with the same torch:

    uv venv E && uv pip install --python E torch==2.14.1 torchvision==0.29.1 scipy scikit-learn matplotlib tqdm \
        torchmetrics "structlog<23" && uv pip install --python E --no-deps baal==2.1.0

and --baal E/bin/python. The last line printed is one JSON object.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

# What only our side needs is imported where it is used: Baal's environment does not have it.
from tasks.infer.disagreement import bald
from tasks.infer.dropout import evaluating
from tasks.infer.samples import Accumulator
from tasks.models import ceal_cnn, vgg11_bn
from tasks.models.half_dropout import HalfDropout

ROOT = Path(__file__).resolve().parent.parent
TARGETS = {"vgg_speedup": 40, "head_cnn_vs_baal": 12, "ceal_cnn_vs_baal": 1}
BATCH = 256
#: Of the whole network, and of Baal at its fastest.
WHOLE_BATCH, TUNED_BATCH = 32, 32
CLASSES = 10


def head_cnn(shape: tuple[int, ...], classes: int) -> nn.Module:
    """Two convolutions and two linear layers with dropout between these."""
    return nn.Sequential(
        nn.Conv2d(shape[0], 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * (shape[1] // 4) * (shape[2] // 4), 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, classes),
    )


@dataclass(frozen=True)
class Case:
    """A network, its items, and who is measured on it."""

    build: Callable[[tuple[int, ...], int], nn.Module]
    shape: tuple[int, int, int]
    passes: int
    items: int
    quick_items: int
    repeats: int
    others: tuple[str, ...]


CASES = {
    "vgg": Case(vgg11_bn.build, (3, 32, 32), 64, 128, 16, 3, ("whole",)),
    "head_cnn": Case(head_cnn, (1, 28, 28), 20, 10_000, 500, 3, ("baal", "baal_tuned")),
    "ceal_cnn": Case(ceal_cnn.build, (1, 28, 28), 20, 1_000, 256, 3, ("baal", "baal_tuned")),
}


def main() -> None:
    """Measure, print, and keep the result if asked to."""
    if "--worker" in sys.argv:
        print(json.dumps(work(*sys.argv[sys.argv.index("--worker") + 1 :])))
        return
    from benchmarks import harness

    parser = harness.parser(__doc__, "one turn, fewer items, Baal as documented only; under a minute")
    parser.add_argument("--baal", metavar="PYTHON", default=sys.executable, help="interpreter that has Baal")
    options = parser.parse_args()
    began = time.perf_counter()
    baal = versions_of(options.baal)
    cases = {name: compare(name, options, has_baal=baal is not None) for name in CASES}
    figures = {
        "vgg_speedup": cases["vgg"]["whole"]["ratio"],
        "head_cnn_vs_baal": cases["head_cnn"].get("baal", {}).get("ratio"),
        "ceal_cnn_vs_baal": cases["ceal_cnn"].get("baal", {}).get("ratio"),
        "peak_mb": cases["head_cnn"]["ours"]["peak_mb"],
        "baal_peak_mb": cases["head_cnn"].get("baal", {}).get("peak_mb"),
        "targets": TARGETS,
        "bald_max_difference": cases["head_cnn"].get("baal", {}).get("bald_difference"),
        "cases": cases,
        "threads": 1,
        "baal": baal,
        "wall_s": round(time.perf_counter() - began, 1),
    }
    harness.publish("mc_dropout", figures, options, ("torch", "torchvision", "numpy"))


def versions_of(python: str) -> dict[str, str] | None:
    """Of Baal and torch in its environment; None, and a line about it, where Baal is missing."""
    code = "import json; from importlib.metadata import version; "
    code += "print(json.dumps({name: version(name) for name in ('baal', 'torch')}))"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True)
    if found.returncode:
        print(f"{python} has no Baal, so it is left out; --help says how to make an environment", file=sys.stderr)
        return None
    return json.loads(found.stdout.splitlines()[-1])


def compare(name: str, options: argparse.Namespace, has_baal: bool) -> dict[str, Any]:
    """Let the sides take turns; figures of each, and the median and spread of our rate over theirs."""
    case = CASES[name]
    others = [side for side in case.others if side == "whole" or has_baal]
    if options.quick:
        others = others[:1]
    items = str(case.quick_items if options.quick else case.items)
    turns: list[dict[str, Any]] = []
    for _ in range(1 if options.quick else case.repeats):
        python = {side: options.baal if side.startswith("baal") else sys.executable for side in ("ours", *others)}
        turns.append({side: run(python[side], name, side, items) for side in python})
    return {side: summary(side, turns) for side in ("ours", *others)} | {"passes": case.passes, "items": int(items)}


def summary(side: str, turns: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the turns of one side; of its ratio also the extremes."""
    mine = [turn[side] for turn in turns]
    figures = {key: float(f"{statistics.median(one[key] for one in mine):.5g}") for key in mine[0]}
    figures["n"] = len(turns)
    if side != "ours":
        ratios = [turn["ours"]["images_per_cpu_s"] / turn[side]["images_per_cpu_s"] for turn in turns]
        figures["ratio"] = round(statistics.median(ratios), 2)
        figures["spread"] = [round(min(ratios), 2), round(max(ratios), 2)]
    return figures


def run(python: str, case: str, side: str, items: str) -> dict[str, float]:
    """What a process of its own measures."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    command = [python, str(Path(__file__).resolve()), "--worker", case, side, items]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{case}, {side}: {done.stderr.strip()}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(case, side, result, file=sys.stderr, flush=True)
    return result


def work(name: str, side: str, count: str) -> dict[str, float]:
    """Measure one side of one case in this process."""
    torch.set_num_threads(1)
    case = CASES[name]
    torch.manual_seed(0)
    model = case.build(case.shape, CLASSES).to(memory_format=torch.channels_last).eval()
    items = np.random.default_rng(0).integers(0, 256, (int(count), *case.shape), dtype=np.uint8)
    predict = {"ours": ours, "whole": whole, "baal": baal, "baal_tuned": partial(baal, tuned=True)}[side]
    scores = predict(model, case.passes, items)
    start = resident_from_here()
    scores(slice(0, BATCH))
    cpu, wall = time.process_time(), time.perf_counter()
    values = scores(slice(None))
    seconds = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}
    result = seconds | {
        "images_per_cpu_s": len(items) / seconds["cpu_s"],
        "images_per_s": len(items) / seconds["wall_s"],
        "peak_mb": (peak() - start) / 2**20,
        "mean_score": float(values.mean()),
    }
    return result | ({"bald_difference": score_difference()} if side == "baal" else {})


Scores = Callable[[slice], np.ndarray]


def ours(model: nn.Module, passes: int, items: np.ndarray) -> Scores:
    """BALD of a slice of the items by the product."""
    from tasks.infer.sampling import sample_batches

    view = a_view(items)

    def scores(part: slice) -> np.ndarray:
        rows = np.arange(len(items))[part]
        batches = sample_batches([model], items, rows, view, passes, BATCH)
        return np.concatenate([bald(samples) for _, samples in batches])

    return scores


def whole(model: nn.Module, passes: int, items: np.ndarray) -> Scores:
    """BALD by as many passes of the whole network."""
    view = a_view(items)

    @torch.inference_mode()
    def scores(part: slice) -> np.ndarray:
        found = []
        for batch in torch.from_numpy(items[part]).split(WHOLE_BATCH):
            shown, accumulator = view.laid_out(view.normalised(batch)), Accumulator(len(batch), CLASSES, view.device)
            with evaluating(model, drawing=True):
                for _ in range(passes):
                    accumulator.add(torch.log_softmax(model(shown), dim=1).unsqueeze(0))
            found.append(bald(accumulator.samples()))
        return np.concatenate(found)

    return scores


def a_view(items: np.ndarray) -> Any:
    """Half black, half white."""
    from tasks.models.view import View

    channels = items.shape[1]
    return View(torch.device("cpu"), (0.5,) * channels, (0.25,) * channels, "fp32")


def baal(model: nn.Module, passes: int, items: np.ndarray, tuned: bool = False) -> Scores:
    """BALD by Baal, from all predictions at once."""
    import logging

    import structlog
    from baal.active.heuristics import BALD
    from baal.bayesian.dropout import patch_module
    from baal.modelwrapper import ModelWrapper, TrainingArgs
    from torch.utils.data import TensorDataset

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    layers = [nn.Dropout(0.5) if isinstance(layer, HalfDropout) else layer for layer in model]
    settings = {"batch_size": TUNED_BATCH, "replicate_in_memory": False} if tuned else {"batch_size": BATCH}
    wrapper = ModelWrapper(patch_module(nn.Sequential(*layers)), TrainingArgs(use_cuda=False, workers=0, **settings))
    pool = (torch.from_numpy(items).float() / 255 - 0.5) / 0.25

    def scores(part: slice) -> np.ndarray:
        data = TensorDataset(pool[part], torch.zeros(len(pool[part])))
        predictions = wrapper.predict_on_dataset(data, iterations=passes, verbose=False)
        return BALD().get_ranks(predictions)[1]

    return scores


def score_difference(count: int = 1000) -> float:
    """The largest difference between our BALD and Baal's of the same 20 predictions."""
    from baal.active.heuristics import BALD

    logits = torch.randn(20, count, CLASSES, generator=torch.Generator().manual_seed(0)) * 3
    accumulator = Accumulator(count, CLASSES, torch.device("cpu"))
    accumulator.add(torch.log_softmax(logits, dim=2))
    theirs = BALD().get_ranks(logits.permute(1, 2, 0).numpy())[1]
    return float(np.abs(bald(accumulator.samples()) - theirs).max())


def resident_from_here() -> int:
    """Bytes resident now; the peak is counted from here on."""
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS")


def peak() -> int:
    """The most bytes that were resident since."""
    return status("VmHWM")


def status(field: str) -> int:
    """A size from what Linux says about this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


if __name__ == "__main__":
    main()
