"""How good the last round's model of classes is: by class, and how far its confidence can be trusted."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from tasks import files
from tasks.errors import DataError
from tasks.proportion import wilson
from tasks.report.loop import Loop
from tasks.report.predicted import held_out, repeats
from tasks.task_type.class_scores import BINS, binned


@dataclass(frozen=True)
class OfClass:
    """One class of the held-out set."""

    name: str
    #: Held-out items of the class; a mean over repeats is no whole number.
    items: float
    #: Share of them that were recognised, or None without items.
    accuracy: float | None
    #: The class that they were most often taken for, and how often; None where all were recognised.
    taken_for: str | None
    taken: float


@dataclass(frozen=True)
class Bin:
    """Held-out items with a confidence in ((b-1)/15, b/15], as TRAIN's expected calibration error has them."""

    items: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Quality:
    """The last trained round's model on the held-out set."""

    round: int
    accuracy: float
    nll: float
    ece: float
    by_class: list[OfClass]
    #: float64 (classes, classes): the row is the true class, the column the predicted one.
    confusion: npt.NDArray[np.float64]
    #: Empty where the predictions of single items were not kept.
    bins: list[Bin]
    #: Trainings whose measures are averaged; 1 for a single one.
    repeats: int


def quality(loop: Loop) -> Quality:
    """The measures that TRAIN wrote, and the bins of confidence where it kept its predictions.

    Raises:
        DataError: a file is missing or damaged, or predictions are not of the held-out items.
    """
    last = loop.trained[-1].number
    path = loop.workspace.round_dir(last) / "metrics.json"
    metrics = files.read_object(path, "accuracy", "nll", "ece", "confusion")
    confusion = np.asarray(metrics["confusion"], dtype=np.float64)
    if confusion.shape != (len(loop.classes),) * 2:
        raise DataError(f"{path}: its confusion is not {len(loop.classes)} by {len(loop.classes)}; `git checkout` it")
    return Quality(
        round=last,
        accuracy=metrics["accuracy"],
        nll=metrics["nll"],
        ece=metrics["ece"],
        by_class=[_of_class(number, confusion, loop.classes) for number in range(len(confusion))],
        confusion=confusion,
        bins=_bins(loop, last),
        repeats=repeats(metrics, "accuracy"),
    )


def mistakes(found: Quality, classes: tuple[str, ...], most: int) -> list[tuple[str, str, float]]:
    """The most frequent mistakes, as true class, predicted class and number of items, the most frequent first."""
    wrong = found.confusion * (1 - np.eye(len(classes)))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    cells = [divmod(int(cell), len(classes)) for cell in order]
    return [(classes[true], classes[taken], wrong[true, taken]) for true, taken in cells if wrong[true, taken] > 0]


def interval(found: Quality) -> tuple[float, float] | None:
    """The accuracy's 95 % interval by the number of held-out items; None without any, or for a mean of trainings."""
    items = float(found.confusion.sum())
    if found.repeats > 1 or not items:
        return None
    return wilson(float(found.confusion.trace()) / items, items, 0.95)


def _of_class(number: int, confusion: npt.NDArray[np.float64], classes: tuple[str, ...]) -> OfClass:
    row = confusion[number]
    items, wrong = float(row.sum()), row.copy()
    wrong[number] = 0
    taken = int(wrong.argmax())
    return OfClass(
        name=classes[number],
        items=items,
        accuracy=float(row[number] / items) if items else None,
        taken_for=classes[taken] if wrong[taken] else None,
        taken=float(wrong[taken]),
    )


def _bins(loop: Loop, number: int) -> list[Bin]:
    kept = held_out(loop, number)
    if kept is None:
        return []
    predicted, truth = kept
    right = np.asarray(pc.equal(predicted["label"], truth), dtype=np.float64)
    return bins(np.asarray(predicted["confidence"], dtype=np.float64), right)


def bins(confidence: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> list[Bin]:
    """The bins that hold items, by ascending confidence.

    Args:
        confidence: float64 (n,), of the predicted class, in [0, 1].
        right: float64 (n,), 1 where it is the true one.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 2.
    """
    place = binned(confidence)
    return [
        Bin(int(inside.sum()), float(confidence[inside].mean()), float(right[inside].mean()))
        for inside in (place == number for number in range(BINS))
        if inside.any()
    ]
