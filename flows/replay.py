"""Curves for a replay, from wherever they were recorded, and the replay itself."""

from collections.abc import Iterator
from pathlib import Path

from flows.console import listener
from flows.init import template
from flows.record import tracking
from flows.record.tracking_curve import LoopRun
from tasks import config, files, progress
from tasks.compare import folder
from tasks.config import Config
from tasks.config_policy import StopConfig
from tasks.errors import ConfigError, DataError
from tasks.history import history
from tasks.replay import recording, rows, table
from tasks.replay.recording import Recording
from tasks.replay.run import Replay, write
from tasks.replay.run import replay as replay_policies
from tasks.rounds import Workspace, find_workspace, stored_config

_PRESET = "frugal.yaml"
#: Its settings stand in where nobody names any.
_SHIPPED = "digits.yaml"
_INFER_INSIDE = "MLflow: a round's sums hold its scoring pass too, which a stop there would have saved"


def replay(
    root: Path, runs: tuple[str, ...], conf: str | None, value_per_point: float | None, out: Path | None
) -> tuple[Replay, list[Path]]:
    """Replay the policies on the curves that ``runs`` name, or on the workspace's own, and write what was found.

    Raises:
        UserError: a curve or a configuration is missing or not valid; nothing was written.
        RecordError: MLflow is away.
    """
    policies = config.load(_locate(root, conf)) if conf is not None else None
    recordings = _recordings(root, runs, policies)
    folder_ = out or root / "replay"
    files.check_folder(folder_, "the tables and the picture")
    with progress.shown_by(listener()):
        found = replay_policies(recordings, policies=policies, preset=_preset(root), value_per_point=value_per_point)
    return found, write(found, folder_)


def _recordings(root: Path, runs: tuple[str, ...], policies: Config | None) -> list[Recording]:
    if not runs:
        return [recording.of_workspace(find_workspace(root))]
    return [one for run in runs for one in _named(Workspace(root.resolve()), run, policies)]


def _named(workspace: Workspace, run: str, policies: Config | None) -> Iterator[Recording]:
    """The curves that one word stands for: a folder, a file, or something in MLflow."""
    path = _locate(workspace.root, run)
    if (path / folder.FILE).exists():
        yield from _of_comparison(path)
    elif path.is_dir():
        yield recording.of_workspace(find_workspace(path), path.resolve().name)
    elif path.is_file():
        base, whose = _base(workspace, policies)
        for one in table.read(path, base):
            yield _priced(one, whose)
    else:
        yield from _of_mlflow(workspace, run, policies)


def _of_comparison(path: Path) -> Iterator[Recording]:
    """Every loop that has a trained round."""
    comparison = folder.load(path)
    begun = [(arm, seed) for arm, seed in comparison.loops if comparison.workspace(arm, seed).loop_file.exists()]
    found = [(arm, seed) for arm, seed in begun if history(comparison.workspace(arm, seed))]
    if not found:
        raise DataError(f"{path}: no round is trained yet, so there is no curve; go on with `frugal compare`")
    for arm, seed in found:
        yield recording.of_workspace(comparison.workspace(arm, seed), f"{arm} seed {seed}")


def _of_mlflow(workspace: Workspace, run: str, policies: Config | None) -> Iterator[Recording]:
    found = [loop for loop in tracking.loops(workspace, run) if loop.rounds]
    if not found:
        raise DataError(
            f"{run}: no such folder or file, and MLflow has no rounds of a loop, run or experiment so named"
        )
    for loop in found:
        base, whose, note = _settings(workspace, loop, policies)
        points = [rows.of_metrics(values) for values in loop.rounds]
        one = rows.recording(loop.name, f"MLflow, {loop.name}", points, base, fit=bool(note))
        yield _priced(one, whose).noted(note or _INFER_INSIDE)


def _priced(one: Recording, whose: str | None) -> Recording:
    made = rows.with_prices(one, whose is not None)
    return made.noted(f"prices: those of {whose}") if whose else made


def _settings(workspace: Workspace, loop: LoopRun, policies: Config | None) -> tuple[Config, str | None, str]:
    """The configuration that a loop was recorded with; another one, and a note on it, where it cannot be read."""
    try:
        return config.parse(loop.settings, f"MLflow, {loop.name}"), "", ""
    except ConfigError:
        base, whose = _base(workspace, policies)
        return base, whose, f"{loop.name}: its configuration in MLflow is not of this release, and is not read"


def _base(workspace: Workspace, policies: Config | None) -> tuple[Config, str | None]:
    """The configuration of a curve that has none, and where its prices are from: None if they are mere examples.

    They are those of --conf, of the workspace's loop, or of the workspace before a loop has begun.
    """
    if policies is not None:
        return policies, "--conf"
    if (own := stored_config(workspace)) is not None:
        return own, "this workspace's loop"
    prices = workspace.root / "conf" / "prices.yaml"
    if prices.exists():
        return config.load(template() / "conf" / _SHIPPED, prices=prices), "conf/prices.yaml"
    return config.load(template() / "conf" / _SHIPPED), None


def _preset(root: Path) -> StopConfig | None:
    """The stopping rule of conf/frugal.yaml: the workspace's, or the one that is shipped."""
    for path in (root / "conf" / _PRESET, template() / "conf" / _PRESET):
        if path.exists():
            return config.load(path).policy.stop
    return None


def _locate(root: Path, name: str) -> Path:
    inside = root / name
    return inside if inside.exists() else Path(name)
