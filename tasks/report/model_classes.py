"""The section on a model that tells classes apart: its reliability, each class, and what is taken for what."""

from typing import Any

from tasks.report import quality
from tasks.report.drawing import COLOURS, Drawing, blank, stripped, written
from tasks.report.loop import Loop
from tasks.report.quality import Quality

TEMPLATE = "model_classes.html.jinja"
#: Classes up to which the confusion is shown in full, and those shown by name at most.
_MATRIX, _CLASSES = 20, 50
_MISTAKES = 20
#: Per cent of colour in a cell of the confusion.
_DEEPEST = 45


def values(loop: Loop, found: Quality) -> dict[str, Any]:
    """What the template is filled in with."""
    return {
        "by_class": _worst(found),
        "matrix": _matrix(found) if len(loop.classes) <= _MATRIX else None,
        "mistakes": quality.mistakes(found, loop.classes, _MISTAKES),
    }


def drawings(loop: Loop, found: Quality) -> list[Drawing]:
    """A reliability diagram, if predictions were kept."""
    return [_reliability(found)] if found.bins else []


def _reliability(found: Quality) -> Drawing:
    """Accuracy over confidence by bin, with how far the two lie apart, above the number of items in each bin."""
    figure = blank()
    upper, lower = map(stripped, figure.subplots(2, 1, sharex=True, height_ratios=(3, 1)))
    confidence = [100 * one.confidence for one in found.bins]
    right = [100 * one.accuracy for one in found.bins]
    upper.plot((0, 100), (0, 100), color=COLOURS["muted"], linewidth=1, linestyle="--")
    upper.vlines(confidence, confidence, right, color=COLOURS["training"], linewidth=2)
    upper.plot(confidence, right, color=COLOURS["labels"], marker="o", markersize=5, linewidth=1.5)
    upper.set(ylabel="accuracy, %", xlim=(0, 100), ylim=(0, 103))
    lower.bar(confidence, [one.items for one in found.bins], width=4, color=COLOURS["labels"])
    lower.set(xlabel="confidence, %", ylabel="items")
    return written("reliability", figure)


def _worst(found: Quality) -> list[quality.OfClass]:
    """All classes in their order, or the worst of many."""
    if len(found.by_class) <= _MATRIX:
        return found.by_class
    return sorted(found.by_class, key=lambda one: 2.0 if one.accuracy is None else one.accuracy)[:_CLASSES]


def _matrix(found: Quality) -> list[list[dict[str, Any]]]:
    """The confusion's cells: the number, how deep it is shaded in per cent, and whether it counts right answers."""
    rows = []
    for true, row in enumerate(found.confusion):
        shares = row / row.sum() if row.sum() else row
        # Never so deep that the number is hard to read; a single mistake is seen.
        depths = [
            _DEEPEST * share if at == true else _DEEPEST * min(0.25 + share, 1) for at, share in enumerate(shares)
        ]
        rows.append(
            [
                {"number": float(number), "shade": round(depth) if number > 0 else 0, "right": at == true}
                for at, (number, depth) in enumerate(zip(row, depths, strict=True))
            ]
        )
    return rows
