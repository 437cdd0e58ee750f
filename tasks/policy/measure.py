"""What the policies measure after a training: how the round's predictions compare with those of the one before."""

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks import files
from tasks.config import Config
from tasks.history import Measured
from tasks.rounds import Workspace, begins_attempt

Classes = npt.NDArray[np.int64]


def compare(workspace: Workspace, round_: int, config: Config) -> Measured:
    """Measure a trained round; what there is nothing to compare with stays None.

    The labels of the held-out set are read only where policy.metric names it. All of it is about predicted classes, so
    of a regression nothing is measured.
    """
    if config.task == "regression":
        return Measured()
    now = _predictions(workspace.round_dir(round_))
    before = None if begins_attempt(workspace, round_) else _predictions(workspace.round_dir(round_ - 1))
    stop_now = _of(now, "stop")
    uncertainty = _uncertainty(workspace, stop_now) if len(stop_now) else None
    if before is None:
        return Measured(uncertainty=uncertainty)
    stop_before = _of(before, "stop")
    agreement = None
    if len(stop_now) and len(stop_before):
        ours, theirs = _paired(stop_now, stop_before)
        agreement = round(kappa(ours, theirs), 6)
    truth = _truth(workspace, round_, config)
    name = "held_out" if config.policy.on_held_out else "validation"
    return Measured(*_changes(_of(now, name), _of(before, name), truth), agreement, uncertainty)


def kappa(ours: Classes, theirs: Classes) -> float:
    """Cohen's kappa of two models' predictions of the same items: (observed - chance) / (1 - chance) agreement.

    Where both name one and the same class throughout there is nothing beyond chance: 0.

    Source: Cohen, A Coefficient of Agreement for Nominal Scales, 1960, eq. 1.

    Args:
        ours: (N,), N at least 1, each at least 0.
        theirs: (N,), likewise, of the same items.
    """
    classes = int(max(ours.max(), theirs.max())) + 1
    observed = float(np.mean(ours == theirs))
    shares = [np.bincount(given, minlength=classes) / len(given) for given in (ours, theirs)]
    chance = float(shares[0] @ shares[1])
    return 0.0 if chance >= 1 else (observed - chance) / (1 - chance)


def _predictions(folder: Path) -> pa.Table | None:
    path = folder / "predictions.parquet"
    return files.read_table(path) if path.exists() else None


def _of(table: pa.Table | None, name: str) -> pa.Table:
    if table is None:
        return pa.table(
            {"id": pa.array([], pa.string()), "label": pa.array([], pa.int64()), "entropy": pa.array([], pa.float32())}
        )
    return table.filter(pc.equal(table["set"], name))


def _uncertainty(workspace: Workspace, stop: pa.Table) -> float:
    highest = math.log(len(files.read_object(workspace.pool / "pool.json", "classes")["classes"]))
    return round(float(np.mean(np.asarray(stop["entropy"], dtype=np.float64))) / highest, 6) if highest else 0.0


def _paired(now: pa.Table, before: pa.Table) -> tuple[Classes, Classes]:
    """The predictions of the items that are in both, in one order."""
    rows = pc.index_in(now["id"].combine_chunks(), value_set=before["id"].combine_chunks())
    both = now.filter(rows.is_valid())
    ours = np.asarray(both["label"], dtype=np.int64)
    return ours, np.asarray(before["label"].take(rows.drop_null()), dtype=np.int64)


def _changes(now: pa.Table, before: pa.Table, truth: pa.Table) -> tuple[int | None, int | None, int | None]:
    """Items compared, and how many of them became right and wrong."""
    if not len(now) or not len(before):
        return None, None, None
    known = pc.index_in(now["id"].combine_chunks(), value_set=truth["id"].combine_chunks())
    now = now.filter(known.is_valid())
    right = np.asarray(truth["label"].take(known.drop_null()), dtype=np.int64)
    kept = pc.is_in(now["id"].combine_chunks(), value_set=before["id"].combine_chunks())
    ours, theirs = _paired(now, before)
    right = right[kept.to_numpy(zero_copy_only=False)]
    gained, lost = (ours == right) & (theirs != right), (ours != right) & (theirs == right)
    return len(right), int(gained.sum()), int(lost.sum())


def _truth(workspace: Workspace, round_: int, config: Config) -> pa.Table:
    if config.policy.on_held_out:
        return files.read_table(workspace.pool / "test.parquet", ["id", "label"])
    return files.read_table(workspace.round_dir(round_) / "labeled.parquet", ["id", "label"])
