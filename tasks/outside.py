"""Files that a configuration names and the loop does not own: a selection to repeat, features of a cold start."""

from pathlib import Path

from tasks import files
from tasks.config import SelectConfig
from tasks.errors import ConfigError, DataError
from tasks.rounds import Workspace


def found(root: Path, named: str) -> Path:
    """The file or folder that ``named`` stands for; relative ones belong to the workspace at ``root``.

    Raises:
        ConfigError: it begins with the home of an unknown user.
    """
    try:
        return (root / Path(named).expanduser()).resolve()
    except RuntimeError:
        raise ConfigError(f"select: {named} names the home of an unknown user; write the whole path") from None


def digests(root: Path, select: SelectConfig) -> dict[str, str]:
    """What the files hold now that a configuration names, by its keys: SHA-256, of a loop that of what it selected.

    Raises:
        ConfigError: a file is not there.
    """
    named = {"select.recorded": select.recorded, "select.features": select.features}
    return {key: _digest(key, found(root, value)) for key, value in named.items() if value is not None}


def check(workspace: Workspace, select: SelectConfig) -> None:
    """Refuse files that have changed since the loop began: what it selects would not be reproducible.

    Raises:
        ConfigError: a file is not there.
        DataError: a file is another one than in the plan of round 000.
    """
    now = digests(workspace.root, select)
    if not now:
        return
    path = workspace.round_dir(0) / "plan.json"
    began = files.read_object(path).get("outside", {"value": now})["value"]
    for key, digest in now.items():
        if began.get(key) != digest:
            raise DataError(f"{key}: changed since the loop began ({path}); restore it, or start a new loop")


def _digest(key: str, path: Path) -> str:
    selected = sorted((path / "data" / "rounds").glob("*/selected.parquet")) if path.is_dir() else [path]
    try:
        return files.digest_value([files.digest(one) for one in selected])
    except OSError:
        raise ConfigError(f"{key}: {path}: no such file or folder; correct the key, or restore it") from None
