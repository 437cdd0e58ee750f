"""A comparison before and after its loops: what is wanted, whether it can be had, and its record in MLflow."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.console import screen
from flows.record import tracking
from flows.record.catch_up import pending
from flows.record.tracking_arm import ArmResults
from tasks import config, files
from tasks.compare import arms, folder, results
from tasks.compare.folder import Comparison
from tasks.compare.results import Results
from tasks.errors import RecordError
from tasks.rounds import Workspace, held


def wanted(
    workspace: Workspace, confs: tuple[str, ...], overrides: tuple[str, ...], seeds: int, out: Path | None
) -> Comparison:
    """The comparison asked for; reads configurations, and writes nothing.

    Raises:
        UserError: a configuration is not valid, they make no comparison, or ``out`` holds something else.
    """
    loaded = [(conf, config.load(_locate(workspace, conf), overrides)) for conf in confs]
    found = {
        name: arms.unattended(arm, workspace, loaded[0][1].record.mlflow) for name, arm in arms.arms(loaded).items()
    }
    root = (out or workspace.root / "comparisons" / "-vs-".join(found)).resolve()
    # A folder that was renamed keeps its name in MLflow.
    name = folder.name_of(root) if (root / folder.FILE).exists() else root.name
    comparison = Comparison(root, name, found, seeds)
    config.override(loaded[0][1], (f"seed={comparison.seeds[-1]}",), f"--seeds {seeds}")
    folder.check(comparison)
    return comparison


@contextmanager
def begun(workspace: Workspace, comparison: Comparison) -> Iterator[None]:
    """Lay out a comparison, once it is known that every arm can run, and hold its folder for the block.

    Raises:
        UserError: an arm cannot run on this data set or machine, or another process holds the folder.
    """
    if not folder.exists(comparison):
        from tasks import check
        from tasks.datasets.opening import open_source

        source = open_source(workspace, comparison.first)
        for arm in comparison.arms.values():
            check.feasible(arm, source, workspace.root)
    comparison.root.mkdir(parents=True, exist_ok=True)
    with held(comparison.place):
        folder.check(comparison)
        folder.store(comparison, workspace.raw)
        yield


def settled(comparison: Comparison) -> Results | None:
    """The results, if nothing is left to do, or None; if MLflow is away, say so and leave the record as it is."""
    if not folder.exists(comparison) or folder.load(comparison.root).count != comparison.count:
        return None
    if len(comparison.complete_seeds()) < comparison.count:
        return None
    found = results.write(comparison)
    try:
        return None if _is_pending(comparison, found) else found
    except RecordError as away:
        _warn(away)
        return found


def record(comparison: Comparison) -> None:
    """Enter every arm in MLflow unless it is there; if MLflow is away, say so and leave it to the next call."""
    if not comparison.first.record.mlflow:
        return
    found = results.write(comparison)
    try:
        if not _arms_recorded(comparison, found):
            for arm in comparison.arms:
                tracking.record_arm(comparison, arm, _arm_results(comparison, arm, found))
    except RecordError as away:
        _warn(away)


def _is_pending(comparison: Comparison, found: Results) -> bool:
    """Whether MLflow lacks something of the comparison."""
    if not comparison.first.record.mlflow:
        return False
    if not _arms_recorded(comparison, found):
        return True
    return any(pending(comparison.workspace(arm, seed), comparison.arms[arm]) for arm, seed in comparison.loops)


def _arms_recorded(comparison: Comparison, found: Results) -> bool:
    return tracking.are_arms_recorded(comparison, files.digest(found.table))


def _arm_results(comparison: Comparison, arm: str, found: Results) -> ArmResults:
    shown = comparison.headline.shown
    return ArmResults(
        content=files.digest(found.table),
        params={"arm": arm, **arms.variations(comparison.arms)[arm]},
        steps=[(round(row.labels), shown(row.metrics())) for row in found.rows if row.arm == arm],
        artifacts=[comparison.root / folder.FILE, *found.paths],
    )


def _warn(away: RecordError) -> None:
    screen.print(f"warning: {away}", style="yellow", soft_wrap=True)


def _locate(workspace: Workspace, conf: str) -> Path:
    inside = workspace.root / conf
    return inside if inside.exists() else Path(conf)
