"""What a round's scores say of its candidates: how much of the pool's top they found, and how fast values change."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks import cache as caches
from tasks.datasets.store import load_task
from tasks.rounds import Workspace, load_config

Floats = npt.NDArray[np.float64]

#: What INFER says of items that were picked by their values, drawn uniformly, and left out by `candidates`.
PICKED, EXPLORED, LEFT_OUT = "candidates", "explore", "not a candidate"


@dataclass(frozen=True)
class Evidence:
    """How many items stand where, seen from the lowest value of the best batch among the picked candidates.

    Rounds with the same number of candidates are added up.
    """

    #: Picked candidates from that value up: as many as the query asks for.
    batch: int
    #: Items drawn uniformly from those that were not picked, and how many of them lie above.
    explored: int
    above: int
    #: Items that were neither picked nor explored.
    outside: int

    def __add__(self, other: Evidence) -> Evidence:
        return Evidence(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    @property
    def recall(self) -> float:
        """The share of the pool's items above that were picked, as estimated.

        The number of the others, above / explored x (explored + outside), is an unbiased estimate: those explored are
        a sample without replacement.
        """
        return self._recall(self.above / self.explored)

    def interval(self, confidence: float) -> tuple[float, float]:
        """The central share ``confidence`` of what recall may be, for few explored items say little.

        The share of items above is given Jeffreys' prior, Beta(1/2, 1/2), and what was explored is certain (Brown, Cai
        and DasGupta, Statistical Science 2001, section 3.1.3).
        """
        from scipy.stats import beta

        tails = [(1 + confidence) / 2, (1 - confidence) / 2]
        low, high = beta.ppf(tails, self.above + 0.5, self.explored - self.above + 0.5)
        return self._recall(float(low)), self._recall(float(high))

    def _recall(self, share: float) -> float:
        return self.batch / (self.batch + self.above + self.outside * share)


def evidence(picked: Floats, explored: Floats, outside: int, batch: int) -> Evidence | None:
    """Evidence from the fresh values, (m,) and (n,), of the picked and the explored; None if there are none of either.

    With fewer than ``batch`` picked items all of them are the batch.
    """
    if not len(picked) or not len(explored):
        return None
    batch = min(batch, len(picked))
    lowest = np.partition(picked, -batch)[-batch]
    return Evidence(batch, len(explored), int((explored > lowest).sum()), outside)


def stability(former: Floats, new: Floats) -> float | None:
    """Spearman's rank correlation of former and new values, (n,), former ones NaN where there are none.

    None with fewer than three pairs, or where either values are all alike.
    """
    from scipy.stats import rankdata

    known = np.isfinite(former)
    former, new = rankdata(former[known]), rankdata(new[known])
    if len(new) < 3 or not np.ptp(former) or not np.ptp(new):
        return None
    return float(np.corrcoef(former, new)[0, 1])


def measure(workspace: Workspace, round_: int, batch: int) -> tuple[Evidence | None, float | None]:
    """What the scores of ``round_`` say, for a query of ``batch`` items; stability is that of the explored items.

    Those picked by their former values span little of them, so their ranks would say less.

    Raises:
        DataError: a cache is missing or damaged.
    """
    now, before = _scores(workspace, workspace.round_dir(round_)), _scores(workspace, workspace.previous_dir(round_))
    why, fresh = now["scope"].cast(pa.string()), pc.equal(now["scored_round"], round_)
    picked, explored = (now.filter(pc.and_(fresh, pc.equal(why, reason))) for reason in (PICKED, EXPLORED))
    outside = pc.sum(pc.equal(why, LEFT_OUT)).as_py() or 0
    values = explored["score"].to_numpy()
    former = caches.column(before, caches.rows(before, explored["id"].combine_chunks()), "score", np.nan)
    return evidence(picked["score"].to_numpy(), values, outside, batch), stability(former, values)


def _scores(workspace: Workspace, folder: Path) -> pa.Table:
    acquisition = load_config(workspace).infer.acquisition
    # SELECT and INFER see to it that the cache is one of this pool.
    columns = ("id", "score", "scored_round", "scope")
    return caches.read(folder / "scores.parquet", acquisition, None, load_task(workspace), columns)
