"""Which items a round scores: the scopes of its plan, one after the other."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks import cache as caches
from tasks import registry
from tasks.errors import ConfigError
from tasks.infer.scopes.scope import DROPPED, Known, Positions


def known(ids: pa.Array, cache: pa.Table, round_: int) -> Known:
    """What the cache holds of the items ``ids``, string (n,)."""
    rows = caches.rows(cache, ids)

    def column(name: str, missing: float | int) -> npt.NDArray[Any]:
        return caches.column(cache, rows, name, missing)

    return Known(
        ids,
        column("score", np.nan),
        column("scored_round", -1),
        column("times_scored", 0),
        column("cluster", -1),
        column("distance", np.nan),
        _said(cache, rows, DROPPED),
        round_,
    )


def _said(cache: pa.Table, rows: pa.Array, reason: str) -> npt.NDArray[np.bool_]:
    """Of which items the cache says that they were left out for this reason."""
    said = pc.equal(cache["scope"].combine_chunks(), reason).take(rows).fill_null(False)
    return np.asarray(said, dtype=np.bool_)


def narrow(
    pool: Known, scopes: Sequence[dict[str, Any]], seed: np.random.SeedSequence
) -> tuple[Positions, list[str], npt.NDArray[np.int32]]:
    """Apply ``scopes`` in order, each to what the one before left.

    Args:
        scopes: each with its name and its settings.
        seed: of this round's INFER; each scope draws from a stream of its own.

    Returns:
        Positions of the items to score, ascending; reasons; and for each of the n items the index of the reason why it
        is scored or left out, int32 (n,).

    Raises:
        ConfigError: a scope has an unknown name.
    """
    kept = np.arange(len(pool.ids), dtype=np.int64)
    reasons: list[str] = []
    why = np.zeros(len(pool.ids), dtype=np.int32)
    for number, scope in enumerate(scopes):
        settings = dict(scope)
        name = settings.pop("name")
        if name not in registry.SCOPES:
            raise ConfigError(f"plan.json: unknown scope {name!r} in infer_scope; known: {', '.join(registry.SCOPES)}")
        stream = np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, number))
        narrowed = registry.resolve(registry.SCOPES, name)(pool, kept, settings, stream)
        # Whoever is left out here stays so; whoever is kept may be named anew by the next scope.
        why[kept] = _index(reasons, narrowed.left_out)
        for reason, positions in narrowed.kept.items():
            why[positions] = _index(reasons, reason)
        kept = np.sort(np.concatenate(list(narrowed.kept.values())))
    return kept, reasons, why


def _index(reasons: list[str], reason: str) -> int:
    if reason not in reasons:
        reasons.append(reason)
    return reasons.index(reason)
