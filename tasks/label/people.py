"""People as the labeler: what they have answered so far, and whether that is enough for the round to close."""

from datetime import UTC, datetime

from tasks import files
from tasks.config import Config
from tasks.cost import ledger
from tasks.datasets.store import load_task
from tasks.drawer import skipped, unpaid
from tasks.errors import WaitingForLabels
from tasks.label import journal
from tasks.label.labels import Answer
from tasks.label.settle import Progress, progress, settle
from tasks.rounds import Workspace, load_config
from tasks.task_type import TaskType

#: Tasks that are told one by one.
_TOLD = 3


def answer(workspace: Workspace, round_: int, ids: list[str], task: TaskType, config: Config) -> list[Answer]:
    """All answers to the tasks of a round that may close.

    Raises:
        WaitingForLabels: too few of ``ids`` are settled, and the deadline, if there is one, has not passed.
        AnswerError: a file of answers in the round's folder does not fit the tasks; each fault is listed.
    """
    now, answers = stand(workspace, round_, ids, task, config)
    if not now.closes(datetime.now(UTC)):
        raise WaitingForLabels(f"round {round_:03d} waits for {missing(workspace, round_, now)}")
    return list(answers)


def stand(
    workspace: Workspace, round_: int, ids: list[str], task: TaskType, config: Config
) -> tuple[Progress, tuple[Answer, ...]]:
    """How far the answers to ``ids``, whose labels an open round has to buy, have come; and the answers."""
    answers = journal.load(workspace, round_).answers
    selected = files.read_table(workspace.round_dir(round_) / "selected.parquet", ["id"])["id"].to_pylist()
    known = len(selected) - len(ids) - len(skipped(workspace, round_).intersection(selected))
    settled = settle(ids, answers, task, config.label)
    before = files.count_rows(workspace.previous_dir(round_) / "labeled.parquet")
    return progress(settled, since(workspace, round_), known, config.label, before), answers


def unsettled(workspace: Workspace, round_: int) -> set[str]:
    """The ids of an open round that need another answer; none where it may close without one."""
    ids = unpaid(workspace, round_)
    now, _ = stand(workspace, round_, ids, load_task(workspace), load_config(workspace))
    return set() if now.closes(datetime.now(UTC)) else {*now.open, *now.disputes}


def since(workspace: Workspace, round_: int) -> datetime | None:
    """When the tasks of a round were written, by its bill."""
    entry = ledger.entry(workspace.round_dir(round_), "select")
    at = None if entry is None else entry.get("at")
    return None if at is None else datetime.fromisoformat(at)


def missing(workspace: Workspace, round_: int, now: Progress) -> str:
    """What is still waited for, in words."""
    folder = workspace.relative(workspace.round_dir(round_))
    if now.deadline is not None and now.deadline <= datetime.now(UTC):
        return f"a label: the time is over, and none of {now.asked} tasks of {folder}/tasks.jsonl has one"
    if now.settled >= now.quorum:
        return f"a label: {now.skipped} of {now.asked} tasks of {folder}/tasks.jsonl were skipped; label at least one"
    told = f"{now.quorum - now.settled} more labels" if now.settled else f"{now.quorum} labels"
    more = ", …" if now.disputed > _TOLD else ""
    named = f"{', '.join(now.disputes[:_TOLD])}{more}"
    disputed = f", and annotators disagree on {now.disputed} ({named}), which need another answer" if named else ""
    done = f"{now.settled} of {now.asked} tasks of {folder}/tasks.jsonl are answered{disputed}"
    return f"{told}: {done}"
