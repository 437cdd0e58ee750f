"""The runs that MLflow holds of one loop, found by their tags.

Whatever a finished round costs must not grow with the rounds before it. So the run of the loop says up to which round
its record is complete, and one round's run is asked for by its number. All of them are read only of a loop that an
earlier release recorded, once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flows.record.tracking_curve import KIND, LOOP

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

#: On a round's run: its number, and, set last, that the run is complete.
ROUND, DONE = "frugal.round", "frugal.recorded"
#: On the loop's run: the last round whose run is complete, as are those of all rounds before it.
UP_TO = "frugal.recorded_up_to"


@dataclass(frozen=True)
class Place:
    """In which experiment a loop is recorded, and under which name of its own."""

    experiment: str
    loop: str


def loop_run(client: "MlflowClient", place: Place) -> "Run | None":
    """The run of the loop itself, or None before its first round is recorded."""
    return _only(client, _search(client, place, f"tags.`{KIND}` = 'loop'"))


def round_run(client: "MlflowClient", place: Place, round_: int) -> "Run | None":
    """The run of one round, or None."""
    return _only(client, _search(client, place, f"tags.`{ROUND}` = '{round_:03d}'"))


def complete(client: "MlflowClient", place: Place, loop: "Run | None") -> set[int]:
    """The rounds whose runs are complete."""
    if loop is not None and (last := loop.data.tags.get(UP_TO)) is not None:
        return set(range(int(last) + 1))
    return {int(run.data.tags[ROUND]) for run in _all(client, place) if run.data.tags.get(DONE) == "true"}


def unbroken(complete_rounds: set[int]) -> int | None:
    """The last of the rounds from 000 on that are all complete; None if 000 is not."""
    last = next(number for number in range(len(complete_rounds) + 1) if number not in complete_rounds) - 1
    return None if last < 0 else last


def _only(client: "MlflowClient", runs: "Sequence[Run]") -> "Run | None":
    """The one that counts of the runs of one thing.

    There are several where a server made one whose answer was lost, and was asked again: all but one are empty.
    """
    if not runs:
        return None
    kept, *others = sorted(runs, key=lambda run: (-len(run.data.metrics), -len(run.data.tags), run.info.run_id))
    for other in others:
        client.delete_run(other.info.run_id)
    return kept


def _search(client: "MlflowClient", place: Place, what: str) -> "list[Run]":
    wanted = f"tags.`{LOOP}` = '{place.loop}' and {what}"
    return list(client.search_runs([place.experiment], wanted, max_results=10))


def _all(client: "MlflowClient", place: Place) -> "Iterator[Run]":
    """The runs of all rounds, page by page."""
    wanted, token = f"tags.`{LOOP}` = '{place.loop}' and tags.`{KIND}` = 'round'", None
    while True:
        page = client.search_runs([place.experiment], wanted, page_token=token)
        yield from page
        if not (token := page.token):
            return
