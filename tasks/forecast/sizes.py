"""What has to be known of a data set to forecast a loop on it."""

from dataclasses import dataclass

from tasks import check
from tasks.config import Config
from tasks.datasets.opening import open_source
from tasks.datasets.store import load_info
from tasks.rounds import Workspace, stored_config


@dataclass(frozen=True)
class Sizes:
    """Numbers of a data set."""

    #: Of one item: (channels, height, width).
    shape: tuple[int, ...]
    classes: int
    #: Items of the pool.
    pool: int
    held_out: int


def sizes(workspace: Workspace, config: Config) -> Sizes:
    """Those of the workspace's pool if it is of the same data set; else the data are opened, but nothing is decoded.

    Raises:
        ConfigError: the loop cannot run on these data.
        DataError: the data are missing or damaged.
    """
    begun = stored_config(workspace)
    if begun is not None and begun.dataset == config.dataset and (workspace.pool / "pool.json").exists():
        info = load_info(workspace)
        return Sizes(info.shape, len(info.classes), info.items, info.held_out)
    source = open_source(workspace, config.dataset)
    check.feasible(config, source, workspace.root)
    return Sizes(source.shape, len(source.classes), len(source.pool.ids), len(source.test.ids))
