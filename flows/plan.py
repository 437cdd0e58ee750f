"""`frugal plan`: a loop's bill before it is begun. Trains nothing, and keeps nothing but the rates that it measured."""

from pathlib import Path

from tasks import config as configs
from tasks.config import Config
from tasks.cost import calibration
from tasks.cost.rates import Rates
from tasks.errors import WorkspaceError
from tasks.forecast import plan as plans
from tasks.forecast.alternatives import Alternative, alternatives
from tasks.forecast.plan import Plan
from tasks.forecast.sizes import Sizes, sizes
from tasks.rounds import Workspace, held, stored_config


def forecast(
    workspace: Workspace, conf: str | None, overrides: tuple[str, ...], compare: bool
) -> tuple[Plan, list[Alternative]]:
    """The plan of a configuration, the running loop's own if none is named, and, if wanted, of its alternatives.

    Raises:
        UserError: the configuration, or the data that it names, is not valid; nothing was written.
    """
    config = _configuration(workspace, conf, overrides)
    found = sizes(workspace, config)
    rates = _rates(workspace, config, found)
    return plans.plan(config, found, rates), alternatives(config, found, rates) if compare else []


def pictures(folder: Path) -> list[Path]:
    """Write the article's figures.

    Raises:
        ConfigError: ``folder`` is a file.
    """
    from tasks.forecast.pictures import write

    return write(folder)


def _configuration(workspace: Workspace, conf: str | None, overrides: tuple[str, ...]) -> Config:
    # Other than `frugal run`, a plan may be of another configuration than that of the loop that is running.
    from flows.start import DEFAULT

    stored = stored_config(workspace)
    if conf is None and stored is not None:
        return configs.override(stored, overrides, str(workspace.loop_file))
    inside = workspace.root / (conf or DEFAULT)
    return configs.load(inside if inside.exists() else Path(conf or DEFAULT), overrides)


def _rates(workspace: Workspace, config: Config, found: Sizes) -> Rates:
    if (known := calibration.load(workspace, config, found.pool)) is not None:
        return known
    from flows.console import screen

    screen.print("timing a few training steps and forward passes …")
    from tasks.forecast.calibrate import measure

    rates = measure(config, found)
    try:
        with held(workspace):
            calibration.store(workspace, config, found.pool, rates)
    except WorkspaceError:
        screen.print("not kept, as another process works on this workspace: data/calibration.json")
    return rates
