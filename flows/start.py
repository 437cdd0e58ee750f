"""The beginning of a run: its configuration, its pool, and whatever can be refused before anything is spent."""

from pathlib import Path

from tasks import config
from tasks.cost import calibration
from tasks.rounds import Workspace, begin, stored_config

DEFAULT = "conf/digits.yaml"


def configuration(workspace: Workspace, conf: str | None, overrides: tuple[str, ...]) -> config.Config:
    """The configuration asked for: a file, or the running loop's own if no file is named, with overrides.

    Raises:
        ConfigError: it is not valid, or the loop began with another one.
    """
    stored = stored_config(workspace)
    if conf is None and stored is not None:
        wanted = config.override(stored, overrides, str(workspace.loop_file))
    else:
        wanted = config.load(_locate(workspace, conf or DEFAULT), overrides)
    if stored is not None:
        begin(workspace, wanted)
    return wanted


def start(workspace: Workspace, wanted: config.Config) -> None:
    """Build the pool of a new loop and store its configuration; for a loop that has begun, only compare the two.

    Where a policy goes by forecast prices, how fast this machine is is measured, unless it is known.

    Raises:
        ConfigError: the configuration differs from the stored one, or asks for more than the pool holds.
        DataError: the data are missing or damaged; nothing was written.
    """
    if stored_config(workspace) is None:
        from tasks import check
        from tasks.datasets.run import run as build_pool

        build_pool(workspace, wanted, lambda source: check.feasible(wanted, source, workspace.root))
    begin(workspace, wanted)
    _calibrate(workspace, wanted)


def _calibrate(workspace: Workspace, wanted: config.Config) -> None:
    """Time this machine, once, where a policy has to know beforehand what a round will cost."""
    if not wanted.policy.needs_rates():
        return
    from tasks.datasets.store import load_info

    info = load_info(workspace)
    if calibration.load(workspace, wanted, info.items) is not None:
        return
    from tasks.forecast.calibrate import measure
    from tasks.forecast.sizes import of_workspace

    rates = measure(wanted, of_workspace(workspace))
    calibration.store(workspace, wanted, info.items, rates)


def _locate(workspace: Workspace, conf: str) -> Path:
    inside = workspace.root / conf
    return inside if inside.exists() else Path(conf)
