"""Every error a user can meet, in one tree.

FrugalError
├── UserError              the user's own mistake: one line, exit 2
│   ├── ConfigError        a configuration key, its type or its value
│   ├── DataError          a data set, an item, a manifest, a stored file
│   ├── AnswerError        a file of labels given by people
│   └── WorkspaceError     the folder, git or DVC, a changed configuration
│       ├── HeldError      another process is at work there
│       └── DiskFullError  no room for a file
├── Diverged               a training whose loss, or whose model's outputs, are not finite
├── HubError               the server that people label in is away or refuses; what was exchanged is kept
├── RecordError            git, DVC or MLflow refused to take a finished round
└── WaitingForLabels       not a fault: people have to answer first, exit 3
"""

from collections.abc import Sequence
from typing import Any


class FrugalError(Exception):
    """Base of all errors raised on purpose; its message is meant for the user."""

    exit_code = 1


class UserError(FrugalError):
    """Something the user can mend; nothing was written."""

    exit_code = 2


class ConfigError(UserError):
    """A configuration key is unknown, of the wrong type, or has an impossible value."""


class DataError(UserError):
    """A data set, an item, a manifest or a stored file is missing, damaged or contradictory."""


class AnswerError(UserError):
    """A file of answers does not fit the round's tasks.

    ``faults`` holds each thing that is wrong, with its row, where there are several.
    """

    def __init__(self, message: str, faults: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.faults = tuple(faults)

    @classmethod
    def listing(cls, where: str, faults: Sequence[str]) -> "AnswerError":
        """The error that tells of all ``faults`` of the file ``where``."""
        if len(faults) == 1:
            return cls(f"{where}, {faults[0]}")
        return cls(f"{where}: {len(faults)} faults; nothing was taken in", faults)


class WorkspaceError(UserError):
    """The workspace cannot be used as it is."""


class HeldError(WorkspaceError):
    """Another process holds the workspace."""


class DiskFullError(WorkspaceError):
    """A file could not be written for want of space."""


class Diverged(FrugalError):  # noqa: N818 - a state of the training
    """A training's loss, or its model's outputs, became infinite or undefined.

    ``histories`` holds, of each member of the ensemble that was begun, the epochs before that.
    """

    def __init__(self, message: str, histories: Sequence[list[dict[str, Any]]]) -> None:
        super().__init__(message)
        self.histories = tuple(histories)


class RecordError(FrugalError):
    """A finished round could not be recorded; its files are unharmed and the same command tries again."""


class HubError(FrugalError):
    """The server that people label in is away, refuses or makes no sense; what was exchanged before is kept."""


class WaitingForLabels(FrugalError):  # noqa: N818 - a state, not a fault
    """The round is open and its tasks are not all answered yet."""

    exit_code = 3
