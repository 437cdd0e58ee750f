"""data/curve.csv: the rounds so far as a table, for `dvc plots` and for whoever likes to draw for himself."""

import csv
import io
from dataclasses import asdict, fields

from tasks import files
from tasks.history import Measured, Outcome, history
from tasks.rounds import Workspace, load_config
from tasks.task_type import headline

_OWN = (
    "round",
    "attempt",
    "labels",
    "bought",
    "accuracy",
    "validation_accuracy",
    "nll",
    "ece",
    "rmse",
    "mae",
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
    of = headline.of(load_config(workspace).task)
    text = io.StringIO()
    rows = csv.DictWriter(text, of.shown(dict.fromkeys((*_OWN, *_MEASURED))), lineterminator="\n")
    rows.writeheader()
    rows.writerows(of.shown(_row(outcome)) for outcome in history(workspace))
    path = workspace.root / "data" / "curve.csv"
    content = text.getvalue().encode()
    if not path.exists() or path.read_bytes() != content:
        files.write_bytes(path, content)


def _row(outcome: Outcome) -> dict[str, object]:
    return {name: getattr(outcome, name) for name in _OWN} | asdict(outcome.measured)
