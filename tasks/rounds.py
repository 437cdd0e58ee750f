"""Where everything of a workspace lies, and which rounds it holds."""

import fcntl
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from tasks import config, files
from tasks.clock import told
from tasks.errors import ConfigError, HeldError, WorkspaceError
from tasks.task_type import headline


@dataclass(frozen=True)
class Workspace:
    """A folder that holds one loop: conf/, data/ and dvc.yaml."""

    root: Path

    @property
    def pool(self) -> Path:
        """The manifest of the pool, the held-out set and the answers known in advance."""
        return self.root / "data" / "pool"

    @property
    def raw(self) -> Path:
        """Downloads and decoded arrays; can be deleted at any time."""
        return self.root / "data" / "raw"

    @property
    def loop_file(self) -> Path:
        """The resolved configuration that the loop began with."""
        return self.root / "data" / "loop.json"

    @property
    def rounds_file(self) -> Path:
        """The rounds so far, as dvc.yaml reads them."""
        return self.root / "conf" / "rounds.yaml"

    def round_dir(self, round_: int) -> Path:
        """The folder of one round."""
        return self.root / "data" / "rounds" / f"{round_:03d}"

    def previous_dir(self, round_: int) -> Path:
        """Where a round finds the pools and the acquisition cache it starts from: empty ones after a restart."""
        return self.pool / "start" if begins_attempt(self, round_) else self.round_dir(round_ - 1)

    def relative(self, path: Path) -> str:
        """``path`` as seen from the workspace, with forward slashes."""
        return path.relative_to(self.root).as_posix()


def rounds(workspace: Workspace) -> list[int]:
    """The numbers of the rounds that were opened, ascending from 0.

    Raises:
        WorkspaceError: a number is missing.
    """
    folder = workspace.root / "data" / "rounds"
    numbers = sorted(
        int(plan.parent.name) for plan in folder.glob("*/plan.json") if re.fullmatch(r"\d{3,}", plan.parent.name)
    )
    for expected, number in enumerate(numbers):
        if number != expected:
            raise WorkspaceError(
                f"{workspace.round_dir(expected)}: round missing; restore it with `git checkout -- data/rounds`"
            )
    return numbers


def decision(workspace: Workspace, round_: int) -> dict[str, Any] | None:
    """What the policies decided after a round, or None before they did."""
    path = workspace.round_dir(round_) / "decision.json"
    return files.read_object(path, "action", "reason", "policy", "numbers") if path.exists() else None


def goes_on(workspace: Workspace, round_: int) -> bool:
    """Whether the round is followed by INFER and by a round that goes on from it."""
    return _action(workspace, round_) == "continue"


def is_followed(workspace: Workspace, round_: int) -> bool:
    """Whether another round follows, be it that the loop begins anew."""
    return _action(workspace, round_) in ("continue", "restart")


def trains_target(workspace: Workspace, round_: int) -> bool:
    """Whether the model that a proxy selects for is trained on the labels of this round."""
    made = decision(workspace, round_)
    return made is not None and made.get("target", {}).get("value") is True


def begins_attempt(workspace: Workspace, round_: int) -> bool:
    """Whether the loop begins, or begins anew, with this round."""
    return round_ == 0 or _action(workspace, round_ - 1) == "restart"


def _action(workspace: Workspace, round_: int) -> str | None:
    made = decision(workspace, round_)
    return None if made is None else str(made["action"])


def sync_rounds_file(workspace: Workspace) -> None:
    """Write conf/rounds.yaml anew from the rounds on disk.

    `rounds`, of these `scored`, which went on to INFER, and `targets`, on whose labels a proxy's target was trained;
    and `headline`, the column of data/curve.csv that dvc.yaml draws.
    """
    entries = {f"{number:03d}": _entry(workspace, number) for number in rounds(workspace)}
    scored = {key: item for key, item in entries.items() if goes_on(workspace, int(key))}
    targets = {key: item for key, item in entries.items() if trains_target(workspace, int(key))}
    text = "# Written by the loop; dvc.yaml makes the stages of each round from it.\n"
    # Quoted: PyYAML leaves 008 bare, and DVC, which reads YAML 1.2, would take it for the number 8.
    mappings = {"rounds": entries, "scored": scored, "targets": targets, "headline": _headline(workspace)}
    text += yaml.safe_dump(mappings, sort_keys=False, default_style='"')
    if not workspace.rounds_file.exists() or workspace.rounds_file.read_text(encoding="utf-8") != text:
        files.write_bytes(workspace.rounds_file, text.encode())


def _headline(workspace: Workspace) -> str:
    begun = stored_config(workspace)
    return headline.of("classification" if begun is None else begun.task).name


def _entry(workspace: Workspace, round_: int) -> dict[str, str]:
    # DVC has no dependency on nothing: a training from scratch names one of its other dependencies a second time,
    # and a selection without features likewise.
    start = start_weights(workspace, round_) or workspace.pool / "pool.json"
    features = features_file(workspace, round_) or workspace.pool / "pool.json"
    paths = {"prev": workspace.previous_dir(round_), "start": start, "features": features}
    return {name: workspace.relative(path) for name, path in paths.items()}


def features_file(workspace: Workspace, round_: int) -> Path | None:
    """The features that a round's SELECT goes by, or None: it goes by scores, or by nothing."""
    previous = workspace.previous_dir(round_)
    path = previous / "plan.json"
    wanted = files.read_object(path).get("infer_features") if path.exists() else None
    return previous / "features.parquet" if isinstance(wanted, dict) and wanted.get("value") is True else None


def start_weights(workspace: Workspace, round_: int) -> Path | None:
    """The weights that a round's training goes on from, or None: it begins from scratch, or has no plan yet."""
    path = workspace.round_dir(round_) / "plan.json"
    retrain = files.read_object(path).get("retrain") if path.exists() else None
    value = retrain.get("value") if isinstance(retrain, dict) else None
    before = value.get("from_round") if isinstance(value, dict) else None
    return workspace.round_dir(before) / "model.safetensors" if isinstance(before, int) else None


def stored_config(workspace: Workspace) -> config.Config | None:
    """The configuration that the workspace's loop began with, or None before it began."""
    if not workspace.loop_file.exists():
        return None
    return config.parse(files.read_object(workspace.loop_file, "config")["config"], str(workspace.loop_file))


def load_config(workspace: Workspace) -> config.Config:
    """The configuration of a loop that has begun.

    Raises:
        WorkspaceError: no loop has begun here.
    """
    stored = stored_config(workspace)
    if stored is None:
        raise WorkspaceError(f"{workspace.root}: no loop has begun here; start one with `frugal run conf/digits.yaml`")
    return stored


def begin(workspace: Workspace, wanted: config.Config) -> None:
    """Store the configuration of a new loop, or check that a running one is continued unchanged.

    Raises:
        ConfigError: the loop began with another configuration; the keys that differ are named.
    """
    stored = stored_config(workspace)
    if stored is None:
        files.write_json(workspace.loop_file, {"config": config.dump(wanted)})
        return
    if changed := config.differences(stored, wanted):
        raise ConfigError(
            f"the loop in {workspace.root} began with another configuration ({'; '.join(changed)}); "
            "continue it unchanged, or start a new one with `frugal init DIR`"
        )


def find_workspace(root: Path) -> Workspace:
    """The workspace at ``root``.

    Raises:
        WorkspaceError: the folder does not exist or is not a workspace.
    """
    if not root.is_dir():
        raise WorkspaceError(f"{root}: no such folder; make a workspace with `frugal init {root}`")
    if not (root / "conf").is_dir() or not (root / "dvc.yaml").is_file():
        raise WorkspaceError(f"{root}: not a workspace (no conf/ or dvc.yaml); make one with `frugal init DIR`")
    return Workspace(root.resolve())


#: What our callers hold, so that a command may hold a workspace and call a flow that holds it too.
_held: ContextVar[frozenset[Path]] = ContextVar("held", default=frozenset())


@contextmanager
def held(workspace: Workspace) -> Iterator[None]:
    """Hold the workspace against every other process for the length of the block; the kernel frees it if we die.

    Raises:
        HeldError: another process holds it; its number and command are named.
    """
    if workspace.root in _held.get():
        yield
        return
    path = workspace.root / "data" / ".lock"
    path.parent.mkdir(exist_ok=True)
    with path.open("a+", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HeldError(f"{workspace.root}: held by {_holder(path)}; wait for it or stop it") from None
        handle.truncate(0)
        now = datetime.now(UTC).isoformat()
        handle.write(json.dumps({"pid": os.getpid(), "command": " ".join(sys.argv), "since": now}))
        handle.flush()
        token = _held.set(_held.get() | {workspace.root})
        try:
            yield
        finally:
            _held.reset(token)


def holder(workspace: Workspace) -> str | None:
    """Who holds the workspace now, in words, or None."""
    path = workspace.root / "data" / ".lock"
    if not path.exists():
        return None
    with path.open(encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _holder(path)
    return None


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        since = told(datetime.fromisoformat(holder["since"]))
        return f"process {holder['pid']} (`{holder['command']}`) since {since}"
    except (OSError, ValueError, KeyError):
        return "another process"
