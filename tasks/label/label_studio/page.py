"""The labelling configuration of a project: what a page shows of an item, and what it asks."""

from collections.abc import Iterable, Sequence
from typing import Any
from xml.etree import ElementTree

from tasks.datasets.pages import Part
from tasks.errors import DataError
from tasks.task_type import TaskType
from tasks.task_type.regression import Regression

#: What annotations and predictions call the question.
QUESTION = "label"


def configuration(parts: Sequence[Part], task: TaskType) -> str:
    """The XML of a page that shows ``parts`` and asks for a label.

    Raises:
        DataError: a class has a name that no page can show.
    """
    view = ElementTree.Element("View")
    for part in parts:
        ElementTree.SubElement(view, part.tag, {"name": part.name, "value": f"${part.name}", **part.options})
    ElementTree.SubElement(view, "Header", value=_heading(task))
    asked = {"name": QUESTION, "toName": parts[0].name, "required": "true"}
    if isinstance(task, Regression):
        ElementTree.SubElement(view, "Number", asked | _bounds(task))
    else:
        choices = ElementTree.SubElement(view, "Choices", asked | {"choice": "single-radio", "showInLine": "true"})
        for name in _shown(task.classes):
            ElementTree.SubElement(choices, "Choice", value=name)
    return ElementTree.tostring(view, encoding="unicode")


def _heading(task: TaskType) -> str:
    return task.asked() if isinstance(task, Regression) else "Which is it?"


def _bounds(task: Regression) -> dict[str, str]:
    if task.bounds is None:
        return {"step": "any"}
    return {"min": repr(task.bounds[0]), "max": repr(task.bounds[1]), "step": "any"}


def _shown(classes: Iterable[str]) -> Iterable[str]:
    for name in classes:
        # A page reads a name that begins with $ as that of a field, and XML has no control characters.
        if name.startswith("$") or name != name.strip() or not name.isprintable():
            raise DataError(f"class {name!r}: Label Studio cannot show it; rename it in the data set")
        yield name


def result(task: TaskType, label: Any, shown: str) -> list[dict[str, Any]]:
    """A label, as the loop's files tell it, as the result of a prediction."""
    value = {"number": label} if isinstance(task, Regression) else {"choices": [label]}
    kind = "number" if isinstance(task, Regression) else "choices"
    return [{"from_name": QUESTION, "to_name": shown, "type": kind, "value": value}]
