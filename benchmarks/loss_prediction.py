"""What the head that predicts losses adds to the training of a ResNet-18.

    python benchmarks/loss_prediction.py [--quick] [--device cpu] [--out benchmarks/results]

Trainings with and without the head alternate: the same items, batch size, optimiser and number of steps. Each
repetition gives one ratio of the seconds that both took; `overhead` is the median of the ratios less 1, and `spread`
the lowest and the highest. On a CPU the seconds are the process's CPU seconds, so that neighbours on the machine do
not count; on a GPU they are synchronised wall seconds. The last line printed is one JSON object.
"""

import statistics
import time
from functools import partial

import torch

from benchmarks import harness
from benchmarks.throughput import images, seconds
from tasks.config_train import LossPredictionConfig, TrainConfig
from tasks.models import device
from tasks.models.building import build
from tasks.models.view import View
from tasks.train.examples import Examples
from tasks.train.fit import fit

BATCH = 64


def main() -> None:
    """Measure, print, and keep the result if asked to."""
    parser = harness.parser(__doc__, "few steps and repetitions, under a minute")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    options = parser.parse_args()
    on = device.resolve(options.device)
    # Steps of a training, and repetitions; a GPU needs more steps for a measurable time.
    steps, repeats = (2, 3) if options.quick else (4, 9)
    if on.type == "cuda":
        steps *= 50
    began = time.process_time()
    plain, predicting = trainings(steps, on, repeats)
    ratios = [mine / other - 1 for mine, other in zip(predicting, plain, strict=True)]
    figures = {
        "overhead": round(statistics.median(ratios), 4),
        "spread": [round(min(ratios), 4), round(max(ratios), 4)],
        "n": repeats,
        "ms_per_image": {
            "plain": round(1000 * statistics.median(plain) / (steps * BATCH), 3),
            "predicting": round(1000 * statistics.median(predicting) / (steps * BATCH), 3),
        },
        "steps": steps,
        "batch_size": BATCH,
        "head_parameters": head_parameters(),
        "data": "scikit-learn digits, in 3 channels of 32x32",
        "device": torch.cuda.get_device_name() if on.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "cpu_s": round(time.process_time() - began, 1),
    }
    name = "loss_prediction" if on.type == "cpu" else "loss_prediction-cuda"
    harness.publish(name, figures, options, ("torch", "torchvision", "numpy"))


def trainings(steps: int, on: torch.device, repeats: int) -> tuple[list[float], list[float]]:
    """Seconds of the trainings without and with the head, which alternate after a warm-up of one each."""
    items, labels = images("resnet18", steps * BATCH)
    view = View(on, (0.2,) * 3, (0.3,) * 3)
    found: tuple[list[float], list[float]] = ([], [])
    for repeat in range(repeats + 1):
        for arm, head in zip(found, (None, LossPredictionConfig()), strict=True):
            settings = TrainConfig(epochs=1, batch_size=BATCH, loss_prediction=head)
            make = partial(build, "resnet18", items.shape[1:], 10, head is not None)
            took = seconds(partial(fit, make, Examples(items, labels), None, settings, view, repeat), on)
            if repeat:
                arm.append(took.cpu if on.type == "cpu" else took.wall)
    return found


def head_parameters() -> int:
    """How large the head is."""
    with torch.device("meta"):
        sizes = [
            sum(parameter.numel() for parameter in build("resnet18", (3, 32, 32), 10, head).parameters())
            for head in (False, True)
        ]
    return sizes[1] - sizes[0]


if __name__ == "__main__":
    main()
