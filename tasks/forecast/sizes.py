"""What has to be known of a data set to forecast a loop on it."""

from dataclasses import dataclass, field

from tasks import check
from tasks.config import Config
from tasks.datasets.opening import open_source
from tasks.datasets.store import load_info
from tasks.models import trial
from tasks.models.trial import Trial
from tasks.rounds import Workspace, stored_config
from tasks.task_type import TaskType


@dataclass(frozen=True)
class Sizes:
    """Numbers of a data set."""

    #: Of one item as it is kept.
    shape: tuple[int, ...]
    #: Numbers that a model gives per item: of a classification as many as there are classes.
    classes: int
    #: Items of the pool.
    pool: int
    held_out: int
    #: What a label is, and what items are like; None: classes, and whatever has this shape.
    task: TaskType | None = field(default=None, compare=False)
    trial: Trial | None = field(default=None, compare=False)


def of_workspace(workspace: Workspace) -> Sizes:
    """Those of the workspace's pool.

    Raises:
        DataError: it is missing or damaged.
    """
    info = load_info(workspace)
    like = trial.of_workspace(workspace)
    return Sizes(info.shape, info.task.outputs, info.items, info.held_out, info.task, like)


def sizes(workspace: Workspace, config: Config) -> Sizes:
    """Those of the workspace's pool if it is of the same data set; else the data are opened, but nothing is decoded.

    Raises:
        ConfigError: the loop cannot run on these data.
        DataError: the data are missing or damaged.
    """
    begun = stored_config(workspace)
    if begun is not None and begun.dataset == config.dataset and (workspace.pool / "pool.json").exists():
        return of_workspace(workspace)
    source = open_source(workspace, config)
    check.feasible(config, source, workspace.root)
    counts = len(source.pool.ids), len(source.test.ids)
    return Sizes(source.shape, source.task.outputs, *counts, source.task, trial.of_source(source))
