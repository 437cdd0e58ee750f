"""The rows of scores.parquet while INFER renews them."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks import cache as caches
from tasks.datasets import tables
from tasks.infer.scopes.scope import Known, Positions
from tasks.infer.scoring import Scored
from tasks.task_type import TaskType


@dataclass
class Entries:
    """Of n unlabelled items all that the cache says; position i of every column is one item, scored or not."""

    #: What the pool's labels are.
    task: TaskType
    ids: pa.Array
    score: npt.NDArray[np.float64]
    scored_round: npt.NDArray[np.int32]
    times_scored: npt.NDArray[np.int32]
    cluster: npt.NDArray[np.int32]
    distance: npt.NDArray[np.float32]
    #: Of the task's label type.
    proposal: npt.NDArray[Any]
    #: How sure the model was of its proposal, as the task has it.
    certainty: npt.NDArray[np.float64]
    #: Digests of models, and which of them gave each value; -1 where there is none.
    models: list[str]
    model: npt.NDArray[np.int32]
    reasons: list[str] = field(default_factory=list)
    why: npt.NDArray[np.int32] = field(default_factory=lambda: np.empty(0, dtype=np.int32))

    @classmethod
    def carried_on(cls, pool: Known, before: pa.Table, task: TaskType) -> "Entries":
        """What the previous round's cache says of the items of ``pool``."""
        rows = caches.rows(before, pool.ids)
        coded = before.select(["model"]).unify_dictionaries()["model"].combine_chunks()
        return cls(
            task=task,
            ids=pool.ids,
            score=pool.score.copy(),
            scored_round=pool.scored_round.copy(),
            times_scored=pool.times_scored.copy(),
            cluster=pool.cluster.copy(),
            distance=pool.distance.copy(),
            proposal=caches.column(before, rows, "proposal", -1).copy(),
            certainty=caches.column(before, rows, task.certainty, np.nan).copy(),
            models=coded.dictionary.to_pylist(),
            model=coded.indices.take(rows).fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32),
        )

    @property
    def clustered(self) -> bool:
        """Whether the items were clustered in this round or before."""
        return bool((self.cluster >= 0).any())

    def renew(self, positions: Positions, scored: Scored, round_: int, model: str) -> None:
        """Enter new values of the items at ``positions``."""
        self.score[positions] = scored.score
        self.proposal[positions] = scored.proposal
        self.certainty[positions] = scored.certainty
        self.scored_round[positions] = round_
        self.times_scored[positions] += 1
        self.models.append(model)
        self.model[positions] = len(self.models) - 1

    def join_clusters(
        self, positions: Positions, cluster: npt.NDArray[np.int32], distance: npt.NDArray[np.float32]
    ) -> None:
        """Enter where the items at ``positions`` belong."""
        self.cluster[positions] = cluster
        self.distance[positions] = distance

    def explain(self, reasons: list[str], why: npt.NDArray[np.int32]) -> None:
        """Enter for each item the index of the reason why it is scored or left out."""
        self.reasons, self.why = reasons, why

    def table(self) -> pa.Table:
        """The items that have a value, in their order and in the columns of ``tables.scores``."""
        scored = np.flatnonzero(self.scored_round >= 0)
        clustered = self.cluster[scored] >= 0
        columns = {
            "id": self.ids.take(scored),
            "score": self.score[scored],
            "scored_round": self.scored_round[scored],
            "model": _coded(self.models, self.model[scored]),
            "times_scored": self.times_scored[scored],
            "proposal": self.proposal[scored],
            self.task.certainty: self.certainty[scored],
            "scope": _coded(self.reasons, self.why[scored]),
            "cluster": pa.array(self.cluster[scored], mask=~clustered),
            "distance": pa.array(self.distance[scored], mask=~clustered),
        }
        return pa.table(columns, tables.scores(self.task))


def _coded(names: list[str], codes: npt.NDArray[np.int32]) -> pa.DictionaryArray:
    """A dictionary of those names alone that are used, in their order."""
    used, inverse = np.unique(codes, return_inverse=True)
    dictionary = pa.array([names[code] for code in used], pa.string())
    return pa.DictionaryArray.from_arrays(pa.array(inverse.astype(np.int32)), dictionary)
