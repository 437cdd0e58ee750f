"""What a loop is to learn: the kind of its labels, and everything that follows from it."""

from collections.abc import Mapping
from typing import Any

from tasks.errors import DataError
from tasks.task_type.classification import Classification
from tasks.task_type.regression import Regression

__all__ = ["Classification", "Regression", "TaskType", "from_description"]

TaskType = Classification | Regression


def from_description(values: Mapping[str, Any], source: str) -> TaskType:
    """The task type that pool.json or model.json describes; ``source`` names the file in messages.

    Raises:
        DataError: it describes none.
    """
    try:
        if values.get("task", "classification") == "regression":
            bounds = values["bounds"]
            return Regression(values["target"], None if bounds is None else (float(bounds[0]), float(bounds[1])))
        return Classification(tuple(values["classes"]))
    except (KeyError, TypeError, ValueError, IndexError):
        raise DataError(f"{source}: does not say what a label is; restore it with `dvc checkout`") from None
