"""How much of a bare PyTorch loop's speed TRAIN and INFER keep.

    python benchmarks/throughput.py [--quick] [--device cpu] [--out benchmarks/results]

The bare loops take the same model, batch size, precision and memory layout, tensors that lie in memory as normalised
floats, the fused optimiser, and no determinism, progress or checks: what a good engineer writes for one experiment.
Product and bare loop alternate; each repetition gives one ratio of images per second, and the median is published. On
a CPU `ratio` is of the process's CPU seconds, so that neighbours on the machine do not count; on a GPU it is of
synchronised wall seconds, which stand beside it in any case (`wall_ratio`). The last line printed is one JSON object.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from benchmarks import harness
from tasks.config_train import TrainConfig
from tasks.infer.scoring import score_items
from tasks.models import ceal_cnn, device, resnet18
from tasks.models.view import View
from tasks.train.examples import Examples
from tasks.train.fit import fit

TARGETS = {"infer_ratio": 0.90, "train_ratio": 0.85}
BUILDERS = {"ceal_cnn": ceal_cnn.build, "resnet18": resnet18.build}
INFER_BATCH = 512


def main() -> None:
    """Measure, print, and keep the result if asked to."""
    parser = harness.parser(__doc__, "one model and few repetitions, under a minute")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    options = parser.parse_args()
    on = device.resolve(options.device)
    # Images to train on and to score, and repetitions; a GPU needs more of them for a measurable time.
    sizes = {"ceal_cnn": (2000, 24000, 9) if options.quick else (6000, 30000, 9)}
    if not options.quick:
        sizes["resnet18"] = (256, 512, 5)
    if on.type == "cuda":
        sizes = {name: (train * 10, infer * 10, repeats) for name, (train, infer, repeats) in sizes.items()}
    began = time.process_time()
    models = {name: measure(name, on, *size) for name, size in sizes.items()}
    first = models["ceal_cnn"]
    figures = {
        "infer_ratio": first["infer"]["ratio"],
        "train_ratio": first["train"]["ratio"],
        "targets": TARGETS,
        "n": first["infer"]["n"],
        "spread": {kind: first[kind]["spread"] for kind in ("infer", "train")},
        "models": models,
        "data": "scikit-learn digits, enlarged to 28x28 (ceal_cnn), and in 3 channels of 32x32 (resnet18)",
        "device": torch.cuda.get_device_name() if on.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "cpu_s": round(time.process_time() - began, 1),
    }
    harness.publish("throughput" if on.type == "cpu" else "throughput-cuda", figures, options, ("torch", "numpy"))


def measure(name: str, on: torch.device, train_images: int, infer_images: int, repeats: int) -> dict[str, Any]:
    """Rates and ratios of one model."""
    items, labels = images(name, max(train_images, infer_images))
    view = View(on, (0.2,) * items.shape[1], (0.3,) * items.shape[1], "bf16")
    build = partial(BUILDERS[name], items.shape[1:], 10)
    train = Examples(items[:train_images], labels[:train_images])
    settings = TrainConfig(epochs=2, precision="bf16", schedule="one_cycle", lr=3e-3)
    floats = view.laid_out(view.normalised(torch.from_numpy(items).to(on)))
    targets = torch.from_numpy(labels).to(on)
    model = view.placed(build()).eval()
    rows = np.arange(infer_images)
    training = compare(
        lambda: fit(build, train, None, settings, view, seed=1),
        lambda: bare_training(view.placed(build()), floats[:train_images], targets[:train_images], settings, view),
        train_images * settings.epochs,
        repeats,
        on,
    )
    scoring = compare(
        lambda: score_items([model], view, items, rows, "entropy", INFER_BATCH),
        lambda: bare_scoring(model, floats[:infer_images], view),
        infer_images,
        repeats,
        on,
    )
    return {"train": training, "infer": scoring}


def images(name: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """``count`` digits as uint8 images of the size that the model is known for, and their labels."""
    digits = load_digits()
    small = (digits.images * 15.9375).astype(np.uint8)
    factor, margin = (3, 2) if name == "ceal_cnn" else (4, 0)
    large = small.repeat(factor, axis=1).repeat(factor, axis=2)
    large = np.pad(large, ((0, 0), (margin, margin), (margin, margin)))[:, None]
    if name != "ceal_cnn":
        large = large.repeat(3, axis=1)
    chosen = np.arange(count) % len(large)
    return large[chosen], digits.target[chosen].astype(np.int64)


def bare_training(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, settings: TrainConfig, view: View
) -> nn.Module:
    """The usual few lines."""
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), settings.lr, fused=True)
    for _ in range(settings.epochs):
        for chosen in torch.randperm(len(images), device=view.device).split(settings.batch_size):
            with torch.autocast(view.device.type, torch.bfloat16):
                logits = model(images.index_select(0, chosen))
            loss = functional.cross_entropy(logits.float(), labels[chosen])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    return model


def bare_scoring(model: nn.Module, images: torch.Tensor, view: View) -> torch.Tensor:
    """Entropies of all images."""
    scores = []
    with torch.inference_mode(), torch.autocast(view.device.type, torch.bfloat16):
        for batch in images.split(INFER_BATCH):
            logs = torch.log_softmax(model(batch).float(), dim=1)
            scores.append(-(logs.exp() * logs).sum(dim=1))
    return torch.cat(scores).cpu()


def compare(
    product: Callable[[], Any], bare: Callable[[], Any], count: int, repeats: int, on: torch.device
) -> dict[str, Any]:
    """Alternate both after a warm-up; images per second, and the median and spread of the bare over our seconds."""
    product(), bare()
    ours, theirs = [], []
    for _ in range(repeats):
        ours.append(seconds(product, on))
        theirs.append(seconds(bare, on))
    cpu = [other.cpu / mine.cpu for mine, other in zip(ours, theirs, strict=True)]
    wall = [other.wall / mine.wall for mine, other in zip(ours, theirs, strict=True)]
    ratios = cpu if on.type == "cpu" else wall
    return {
        "ratio": round(statistics.median(ratios), 3),
        "spread": [round(min(ratios), 3), round(max(ratios), 3)],
        "wall_ratio": round(statistics.median(wall), 3),
        "n": repeats,
        "images": count,
        "images_per_s": round(count / statistics.median(mine.wall for mine in ours), 1),
        "images_per_cpu_s": round(count / statistics.median(mine.cpu for mine in ours), 1),
        "bare_images_per_s": round(count / statistics.median(other.wall for other in theirs), 1),
        "bare_images_per_cpu_s": round(count / statistics.median(other.cpu for other in theirs), 1),
    }


class Seconds(NamedTuple):
    """Of the process's CPUs, and of the clock on the wall."""

    cpu: float
    wall: float


def seconds(work: Callable[[], Any], on: torch.device) -> Seconds:
    """What ``work`` takes, queued work on a GPU included."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    if on.type == "cuda":
        torch.cuda.synchronize()
    return Seconds(time.process_time() - cpu, time.perf_counter() - wall)


if __name__ == "__main__":
    main()
