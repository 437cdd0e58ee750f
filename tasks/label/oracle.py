"""The oracle of a simulated pool: it knows the answers, and may be made to err where they are classes."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks import files
from tasks.config import Config, LabelConfig
from tasks.errors import DataError
from tasks.label.labels import Answer
from tasks.rounds import Workspace
from tasks.seeds import generator
from tasks.task_type import TaskType
from tasks.task_type.classification import Classification


def answer(workspace: Workspace, round_: int, ids: list[str], task: TaskType, config: Config) -> list[Answer]:
    """The pool's own answers to ``ids``, in their order, classes with the configured errors mixed in.

    Errors depend on the ids and the seed, not on the order in which the ids come.

    Raises:
        DataError: an answer is not known.
    """
    ordered = sorted(ids)
    given = _truth(workspace, ordered, task)
    if isinstance(task, Classification):
        given = _with_errors(given, task.outputs, config.label, generator(config.seed, round_, "label"))
    labels = dict(zip(ordered, given.tolist(), strict=True))
    return [Answer(id_, labels[id_], "oracle", None, config.label.seconds) for id_ in ids]


def _truth(workspace: Workspace, ids: list[str], task: TaskType) -> npt.NDArray[Any]:
    oracle = files.read_table(workspace.pool / "oracle.parquet")
    known = oracle.filter(pc.is_in(oracle["id"], value_set=pa.array(ids, pa.string())))
    labels = dict(zip(known["id"].to_pylist(), known["label"].to_pylist(), strict=True))
    for id_ in ids:
        if id_ not in labels:
            raise DataError(f"{id_}: the oracle has no label for it; label by people with `label.labeler=files`")
    return np.array([labels[id_] for id_ in ids], dtype=task.label_type.to_pandas_dtype())


def _with_errors(
    truth: npt.NDArray[np.int64], classes: int, config: LabelConfig, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    if config.confusion is not None:
        cumulative = np.cumsum(np.array(config.confusion), axis=1)
        draws = rng.random(len(truth))
        answers: npt.NDArray[np.int64] = np.minimum((draws[:, None] >= cumulative[truth]).sum(axis=1), classes - 1)
        return answers
    wrong = rng.random(len(truth)) < config.noise
    # A shift by 1..classes-1 reaches every other class with equal probability.
    shifts = rng.integers(1, max(classes, 2), len(truth))
    return np.where(wrong, (truth + shifts) % classes, truth)
