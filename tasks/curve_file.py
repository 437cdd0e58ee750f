"""data/curve.csv: the rounds so far as a table, for `dvc plots` and for whoever likes to draw for himself."""

import csv
import io
from dataclasses import fields

from tasks import files
from tasks.history import Measured, Outcome, history
from tasks.rounds import Workspace

_OWN = (
    "round",
    "attempt",
    "labels",
    "bought",
    "accuracy",
    "validation_accuracy",
    "nll",
    "ece",
    "money",
    "money_labels",
    "money_compute",
    "device_hours",
    "wall_hours",
    "record_epochs",
    "items_scored",
    "forward_passes",
    "selection_seconds",
    "target_accuracy",
)
_MEASURED = tuple(field.name for field in fields(Measured))


def sync(workspace: Workspace) -> None:
    """Write the table anew from the rounds on disk; what was not measured is left empty."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow((*_OWN, *_MEASURED))
    rows.writerows(map(_row, history(workspace)))
    path = workspace.root / "data" / "curve.csv"
    content = text.getvalue().encode()
    if not path.exists() or path.read_bytes() != content:
        files.write_bytes(path, content)


def _row(outcome: Outcome) -> list[object]:
    return [getattr(outcome, name) for name in _OWN] + [getattr(outcome.measured, name) for name in _MEASURED]
