"""What of a report depends on the task type: how good the last model is, and how that is told."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tasks.report import model_classes, model_numbers, quality, quality_numbers
from tasks.report.drawing import Drawing
from tasks.report.loop import Loop


@dataclass(frozen=True)
class Kind:
    """One task type; what ``quality`` returns is given to the others as ``found``."""

    quality: Callable[[Loop], Any]
    #: The headline metric's 95 % interval, or None where that is not known.
    interval: Callable[[Any], tuple[float, float] | None]
    drawings: Callable[[Loop, Any], list[Drawing]]
    template: str
    values: Callable[[Loop, Any], dict[str, Any]]


_KINDS = {
    "classification": Kind(
        quality=quality.quality,
        interval=quality.interval,
        drawings=model_classes.drawings,
        template=model_classes.TEMPLATE,
        values=model_classes.values,
    ),
    "regression": Kind(
        quality=quality_numbers.quality,
        interval=quality_numbers.interval,
        drawings=model_numbers.drawings,
        template=model_numbers.TEMPLATE,
        values=model_numbers.values,
    ),
}


def of(loop: Loop) -> Kind:
    """That of the loop's task type."""
    return _KINDS[loop.task.name]
