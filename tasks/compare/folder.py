"""A comparison on disk: one folder, in which each arm has a workspace of its own for each seed."""

import os
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tasks import config, files, loop
from tasks.compare.arms import changes
from tasks.config import Config
from tasks.errors import ConfigError, WorkspaceError
from tasks.rounds import Workspace, begin
from tasks.task_type import headline
from tasks.task_type.headline import Headline

#: The arms and the number of seeds; what makes a folder a comparison.
FILE = "comparison.json"
_ARMS = "arms"
_IGNORED = {
    ".gitignore": "# The loops and their record; the results beside them may be committed.\n"
    "/arms/\n/data/\n/mlartifacts/\n/mlflow.db*\n*.tmp\n",
    ".dvcignore": "/arms\n/data\n/mlartifacts\n",
}


@dataclass(frozen=True)
class Comparison:
    """Which arms are compared, on how many seeds, and where."""

    root: Path
    #: Also of the experiment in MLflow.
    name: str
    #: In the order in which they run; the first is the one that the others are compared with.
    arms: dict[str, Config]
    #: How many, from the configurations' own on.
    count: int

    @property
    def place(self) -> Workspace:
        """The folder as what holds the lock, the identity and the MLflow record of the whole."""
        return Workspace(self.root)

    @property
    def first(self) -> Config:
        """The first arm's configuration, which says what all arms have in common."""
        return next(iter(self.arms.values()))

    @property
    def headline(self) -> Headline:
        """The metric by which the arms are compared."""
        return headline.of(self.first.task)

    @property
    def seeds(self) -> range:
        """Each is run by every arm."""
        return range(self.first.seed, self.first.seed + self.count)

    @property
    def loops(self) -> list[tuple[str, int]]:
        """Arm and seed of each loop in the order in which they run: what is cut short leaves complete pairs."""
        return [(arm, seed) for seed in self.seeds for arm in self.arms]

    def workspace(self, arm: str, seed: int) -> Workspace:
        """Where a loop lies, made or not."""
        return Workspace(self.root / _ARMS / arm / f"seed-{seed}")

    def is_last_arm(self, arm: str) -> bool:
        """Whether a seed is complete with this arm."""
        return arm == list(self.arms)[-1]

    def is_finished(self, arm: str, seed: int) -> bool:
        """Whether nothing is left to do in a loop."""
        return loop.next_step(self.workspace(arm, seed)) is None

    def complete_seeds(self) -> list[int]:
        """Those that every arm has finished."""
        return [seed for seed in self.seeds if all(self.is_finished(arm, seed) for arm in self.arms)]


def load(root: Path) -> Comparison:
    """The comparison that lies in a folder.

    Raises:
        DataError: there is none, or its file is damaged.
    """
    path = root / FILE
    stored = files.read_object(path, "name", "arms", "seeds")
    arms = {name: config.parse(values, str(path)) for name, values in stored["arms"].items()}
    return Comparison(root.resolve(), stored["name"], arms, stored["seeds"])


def check(wanted: Comparison) -> None:
    """Refuse a folder that holds something else than this comparison, whatever its number of seeds.

    Raises:
        ConfigError: a comparison of other arms.
        WorkspaceError: other files, or no folder.
    """
    root = wanted.root
    if (root / FILE).exists():
        if told := changes(load(root).arms, wanted.arms):
            raise ConfigError(
                f"{root}: compares other arms ({'; '.join(told)}); repeat the command with the same, or name another "
                "folder with --out"
            )
        return
    if root.exists() and not root.is_dir():
        raise WorkspaceError(f"{root}: is a file; name a folder that is new or empty with --out")
    if root.is_dir() and not all(_is_ours(path) for path in root.iterdir()):
        raise WorkspaceError(f"{root}: holds other files; name a folder that is new or empty with --out")


def _is_ours(path: Path) -> bool:
    """Whether a file in a folder that is no comparison yet was left by one that was cut short in its making."""
    if path.name == "data":
        names = {entry.name for entry in path.iterdir()} if path.is_dir() and not path.is_symlink() else {path.name}
        return names <= {".lock", "raw"} and ("raw" not in names or (path / "raw").is_symlink())
    if path.name in _IGNORED:
        return path.is_file() and path.read_bytes() == _IGNORED[path.name].encode()
    return path.name.startswith(".") and path.name.endswith(".tmp")


def exists(comparison: Comparison) -> bool:
    """Whether it has begun."""
    return (comparison.root / FILE).exists()


def store(comparison: Comparison, raw: Path) -> None:
    """Write comparison.json, and let the loops share ``raw``, the downloads and decoded arrays of a workspace.

    The caller holds ``comparison.place``.
    """
    raw.mkdir(parents=True, exist_ok=True)
    _link(comparison.place.raw, raw)
    for name, text in _IGNORED.items():
        files.write_bytes(comparison.root / name, text.encode())
    arms = {name: config.dump(settings) for name, settings in comparison.arms.items()}
    files.write_json(comparison.root / FILE, {"name": comparison.name, "seeds": comparison.count, "arms": arms})


def make_workspace(comparison: Comparison, arm: str, seed: int) -> tuple[Workspace, Config]:
    """A loop's workspace and its configuration; its pool is copied from the first loop's as soon as that has one."""
    workspace = comparison.workspace(arm, seed)
    settings = comparison.arms[arm].model_copy(update={"seed": seed})
    for folder in (workspace.root / "conf", workspace.root / "data"):
        folder.mkdir(parents=True, exist_ok=True)
    # The folder's own may be a link to one that was emptied and removed.
    Path(os.path.realpath(comparison.place.raw)).mkdir(parents=True, exist_ok=True)
    _link(workspace.raw, comparison.place.raw)
    if not (workspace.root / "dvc.yaml").exists():
        files.write_bytes(workspace.root / "dvc.yaml", b"# One loop of a comparison, not under DVC.\nstages: {}\n")
    first = comparison.workspace(*comparison.loops[0])
    if not workspace.loop_file.exists() and (first.pool / "pool.json").exists():
        _copy_pool(first, workspace)
        begin(workspace, settings)
    return workspace, settings


def comparison_of(workspace: Workspace) -> Path | None:
    """The folder of the comparison that a workspace is a loop of, or the place of, if it is one."""
    above = workspace.root.parents
    candidates = [workspace.root]
    if len(above) > 2 and above[1].name == _ARMS:
        candidates.append(above[2])
    return next((folder for folder in candidates if (folder / FILE).exists()), None)


def name_of(folder: Path) -> str:
    """The name of the comparison in a folder."""
    return str(files.read_object(folder / FILE, "name")["name"])


def arm_of(workspace: Workspace) -> str:
    """The arm that a comparison's workspace belongs to."""
    return workspace.root.parent.name


def _link(link: Path, target: Path) -> None:
    """A relative symbolic link, made anew if it points elsewhere."""
    wanted = os.path.relpath(target, link.parent)
    if link.is_symlink() and link.readlink() == Path(wanted):
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(wanted)


def _copy_pool(source: Workspace, target: Workspace) -> None:
    # pool.json comes last: without it nobody takes the folder for finished.
    paths = [path for path in source.pool.rglob("*") if path.is_file()]
    for path in sorted(paths, key=lambda path: path.name == "pool.json"):
        files.write_atomic(target.pool / path.relative_to(source.pool), partial(_fill, path))


def _fill(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
