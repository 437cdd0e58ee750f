"""LABEL: buy the labels of the selected items and move them from the unlabelled pool to the labelled one."""

import math
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from tasks import files, registry
from tasks.clock import moment
from tasks.config import PricesConfig
from tasks.cost.ledger import Usage
from tasks.datasets import tables
from tasks.datasets.store import load_task
from tasks.drawer import drawer, skipped, unpaid
from tasks.errors import WaitingForLabels
from tasks.label.labels import Answer
from tasks.label.settle import Settled, settle
from tasks.rounds import Workspace, load_config
from tasks.task_type import TaskType


def run(workspace: Workspace, round_: int, usage: Usage) -> None:
    """Write labels.parquet, answers.parquet and the two pools of a round, and count the labels and their price.

    Every answer is paid for, also one that did not become a label; for a skipped item only the annotator's time. A
    label that was bought before the loop began anew comes from the drawer, and costs and counts nothing. What people
    skipped, then or now, leaves the unlabelled pool, what they left unanswered or disagreed on stays in it.

    Raises:
        WaitingForLabels: people have not answered enough of the tasks.
        UserError: the labeler cannot answer, or its answers do not fit.
    """
    config, task, folder = load_config(workspace), load_task(workspace), workspace.round_dir(round_)
    answers = ask(workspace, round_)
    wanted = unpaid(workspace, round_)
    selected = files.read_table(folder / "selected.parquet", ["id"])["id"].combine_chunks()
    before = skipped(workspace, round_) & set(selected.to_pylist())
    settled = settle(wanted, answers, task, config.label)
    bought = _bought(settled, config.prices, task)
    labels = _in_order(pa.concat_tables([_kept(workspace, round_, selected), bought]), selected)
    given = _answers(answers, set(wanted), config.prices, task)
    files.write_table(folder / "answers.parquet", given)
    files.write_table(folder / "labels.parquet", labels)
    _write_pools(workspace, round_, labels, {*(item.id for item in settled if item.state == "skipped"), *before})
    usage.labels = len(bought)
    fee = config.prices.batch_fee if len(given) else 0.0
    usage.label_price = round(math.fsum(given["price"].to_pylist()) + fee, 6)


def ask(workspace: Workspace, round_: int) -> list[Answer]:
    """The labeler's answers to the round's tasks, none for what lies in the drawer; writes nothing.

    Raises:
        WaitingForLabels: people have not answered enough of the tasks.
        UserError: the labeler cannot answer, its answers do not fit, or the round would be without a label.
    """
    config = load_config(workspace)
    ids = unpaid(workspace, round_)
    if not ids:
        return []
    labeler = registry.resolve(registry.LABELERS, config.label.labeler)
    answers: list[Answer] = labeler(workspace, round_, ids, load_task(workspace), config)
    return answers


def _bought(settled: Sequence[Settled], prices: PricesConfig, task: TaskType) -> pa.Table:
    """The rows of labels.parquet for new labels, each with the price of all answers to its item."""
    labelled = [item for item in settled if item.state == "labelled"]
    columns = {
        "id": [item.id for item in labelled],
        "label": [item.label for item in labelled],
        "annotator": [", ".join(dict.fromkeys(answer.annotator for answer in item.adopted)) for item in labelled],
        "labeled_at": [_latest(item.answers) for item in labelled],
        "seconds": [_together(item.answers) for item in labelled],
        "price": [math.fsum(_price(answer, prices) for answer in item.answers) for item in labelled],
    }
    return pa.table(columns, tables.labels(task))


def _answers(answers: Sequence[Answer], wanted: set[str], prices: PricesConfig, task: TaskType) -> pa.Table:
    """The rows of answers.parquet: everything that was answered, checks and skipped items with it."""
    columns = {
        "id": [answer.id for answer in answers],
        "label": [answer.label for answer in answers],
        "annotator": [answer.annotator for answer in answers],
        "labeled_at": [answer.labeled_at for answer in answers],
        "seconds": [answer.seconds for answer in answers],
        "price": [_price(answer, prices) for answer in answers],
        "purpose": ["label" if answer.id in wanted else "check" for answer in answers],
    }
    return pa.table(columns, tables.answers(task))


def _price(answer: Answer, prices: PricesConfig) -> float:
    """An unknown time is free."""
    return (0.0 if answer.skipped else prices.label) + (answer.seconds or 0.0) * prices.annotator_second


def _latest(answers: Sequence[Answer]) -> str | None:
    times = [answer.labeled_at for answer in answers if answer.labeled_at]
    return max(times, key=moment) if times else None


def _together(answers: Sequence[Answer]) -> float | None:
    seconds = [answer.seconds for answer in answers if answer.seconds is not None]
    return math.fsum(seconds) if seconds else None


def _kept(workspace: Workspace, round_: int, selected: pa.Array) -> pa.Table:
    """The rows for selected items out of the drawer, free of charge."""
    kept = drawer(workspace, round_)
    kept = kept.filter(pc.is_in(kept["id"], value_set=selected))
    return kept.set_column(kept.schema.get_field_index("price"), "price", pa.array([0.0] * len(kept), pa.float64()))


def _in_order(labels: pa.Table, selected: pa.Array) -> pa.Table:
    """By rank; an item without a label has no row."""
    rows = pc.index_in(selected, value_set=labels["id"].combine_chunks()).drop_null()
    return labels.take(rows).combine_chunks()


def _write_pools(workspace: Workspace, round_: int, labels: pa.Table, suspended: set[str]) -> None:
    folder, previous = workspace.round_dir(round_), workspace.previous_dir(round_)
    labeled = files.read_table(previous / "labeled.parquet")
    new = pa.table(
        {
            "id": labels["id"],
            "label": labels["label"],
            "round": pa.array([round_] * len(labels), pa.int32()),
        }
    )
    files.write_table(
        folder / "labeled.parquet", pa.concat_tables([labeled, new.cast(labeled.schema)]).combine_chunks()
    )
    unlabeled = files.read_table(previous / "unlabeled.parquet")
    gone = pa.array([*new["id"].to_pylist(), *suspended], pa.string())
    left = unlabeled.filter(pc.invert(pc.is_in(unlabeled["id"], value_set=gone)))
    files.write_table(folder / "unlabeled.parquet", left.combine_chunks())


def waiting(workspace: Workspace, round_: int) -> str | None:
    """What people still have to do before the round can go on, or None if enough of the answers are there.

    Raises:
        UserError: the answers do not fit the tasks.
    """
    if not load_config(workspace).label.by_people:
        return None
    try:
        ask(workspace, round_)
    except WaitingForLabels as missing:
        return str(missing)
    return None
