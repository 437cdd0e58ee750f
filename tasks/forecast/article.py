"""The compute of active learning in the article whose levers these are, as formulas.

Source: Alectio, Compute-Saving Active Learning (2022): levers 3 (loop size), 4 (cleared or resumed weights) and 6
(distributed inference), its figures 1 to 4. It names the data sets and the sizes; epochs, loop sizes that it does not
name, and what a training step costs are assumptions of ours, and each figure says which.

B records are labelled in each of L loops, from a pool of N; a training has E epochs. Each loop trains from cleared
weights on all records so far, then scores those that are left, in the article after the last loop as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

#: Forward passes that a training step of one record is worth: its own, and twice as much to go back.
_STEP = 3


@dataclass(frozen=True)
class Curve:
    """One line or one row of bars."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class Figure:
    """One of the article's figures, as numbers."""

    #: The name of its file.
    name: str
    title: str
    x_label: str
    y_label: str
    curves: Sequence[Curve]
    assumptions: Sequence[str]
    #: What the picture comes to.
    findings: dict[str, float]
    bars: bool = False

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "title": self.title,
            "assumptions": list(self.assumptions),
            "findings": dict(self.findings),
            "x": self.x_label,
            "y": self.y_label,
            "curves": {curve.name: {"x": list(curve.x), "y": list(curve.y)} for curve in self.curves},
        }


def trained(per_loop: int, loops: int) -> int:
    """Records that L trainings from cleared weights meet in one epoch each: B L (L + 1) / 2."""
    return per_loop * loops * (loops + 1) // 2


def resumed(per_loop: int, loops: int) -> int:
    """The same where each training resumes on the new records alone: B L, (L + 1) / 2 times fewer."""
    return per_loop * loops


def inferred(pool: int, per_loop: int, loops: int) -> int:
    """Records that are scored: the sum of N - i B after each loop i, the last one's useless pass among them."""
    return pool * loops - trained(per_loop, loops)


def inference_share(pool: int, per_loop: int, loops: int, epochs: int) -> float:
    """Part of the compute that inference is: I / (3 E T + I), of trained records T and inferred records I."""
    scored = inferred(pool, per_loop, loops)
    return scored / (_STEP * epochs * trained(per_loop, loops) + scored)


def figures() -> list[Figure]:
    """All four, in the article's order."""
    return [
        _loop_size(),
        _weights(),
        _free_inference("3_inference_imagenet", "ImageNet, ResNet-152", 1_200_000, 10_000, 20, 90),
        _free_inference("4_inference_squad", "SQuAD, BiDAF", 87_599, 1_000, 10, 12),
    ]


def _loop_size() -> Figure:
    records, sizes = 200_000, (10_000, 20_000, 25_000, 40_000, 50_000, 100_000, 200_000)
    passes = [trained(size, records // size) for size in sizes]
    return Figure(
        "1_loop_size",
        "Fewer, larger loops: 200,000 of 1.2 M ImageNet records",
        "records per loop",
        "records trained on in all loops, millions",
        [Curve("trained", sizes, [count / 1e6 for count in passes])],
        [
            "one epoch: a training of E epochs takes E times as many passes",
            "weights cleared before each loop: B L (L + 1) / 2 record-passes",
            "loop sizes are ours, all divisors of 200,000; inference is not counted",
        ],
        {f"{size} per loop": count for size, count in zip(sizes, passes, strict=True)},
        bars=True,
    )


def _weights() -> Figure:
    per_loop, loops = 1_000, range(1, 6)
    ratio = trained(per_loop, 5) / resumed(per_loop, 5)
    return Figure(
        "2_weights",
        f"Cleared or resumed weights: {ratio:g} times the training after five loops",
        "loops of 1,000 records",
        "records trained on so far",
        [
            Curve("cleared: all records again", loops, [trained(per_loop, loop) for loop in loops]),
            Curve("resumed: the new records alone", loops, [resumed(per_loop, loop) for loop in loops]),
        ],
        [
            "one epoch: a training of E epochs takes E times as many passes",
            "resuming meets no older record again; policy.resume.replay would add its share",
            "cleared / resumed = (L + 1) / 2",
        ],
        {"cleared": trained(per_loop, 5), "resumed": resumed(per_loop, 5), "ratio": ratio},
    )


def _free_inference(name: str, what: str, pool: int, per_loop: int, loops: int, epochs: int) -> Figure:
    training = [_STEP * epochs * per_loop * loop for loop in range(1, loops + 1)]
    scoring = [pool - per_loop * loop for loop in range(1, loops + 1)]
    labels = [per_loop * loop for loop in range(1, loops + 1)]
    share = inference_share(pool, per_loop, loops, epochs)
    both = accumulate(map(sum, zip(training, scoring, strict=True)))
    return Figure(
        name,
        f"Inference at price zero saves {100 * share:.2g} % of the compute: {what}",
        "records labelled",
        "forward passes of a record so far, millions",
        [
            Curve("training and inference", labels, [count / 1e6 for count in both]),
            Curve("inference at price zero", labels, [count / 1e6 for count in accumulate(training)]),
        ],
        [
            f"pool of {pool:,}; {loops} loops of {per_loop:,}; {epochs} epochs from cleared weights",
            f"a training step is worth {_STEP} forward passes; share = I / (3 E T + I)",
            "all that is left is scored after every loop, the last one too",
        ],
        {
            "share": share,
            "trained": trained(per_loop, loops),
            "inferred": inferred(pool, per_loop, loops),
        },
    )
