"""LABEL: buy the labels of the selected items and move them from the unlabelled pool to the labelled one."""

import math

import pyarrow as pa
import pyarrow.compute as pc

from tasks import files, registry
from tasks.config import PricesConfig
from tasks.cost.ledger import Usage
from tasks.datasets import tables
from tasks.datasets.store import load_task
from tasks.drawer import drawer, unpaid
from tasks.errors import AnswerError, WaitingForLabels
from tasks.label.labels import Label
from tasks.rounds import Workspace, load_config
from tasks.task_type import TaskType


def run(workspace: Workspace, round_: int, usage: Usage) -> None:
    """Write labels.parquet, labeled.parquet and unlabeled.parquet of a round, and count the labels and their price.

    A label that was bought before the loop began anew comes from the drawer, and costs and counts nothing.

    Raises:
        WaitingForLabels: people have not answered all of the tasks.
        UserError: the labeler cannot answer, or its answers do not fit.
    """
    prices = load_config(workspace).prices
    bought = _bought(ask(workspace, round_), prices, load_task(workspace))
    selected = files.read_table(workspace.round_dir(round_) / "selected.parquet", ["id"])["id"].combine_chunks()
    labels = _in_order(pa.concat_tables([_kept(workspace, round_, selected), bought]), selected)
    files.write_table(workspace.round_dir(round_) / "labels.parquet", labels)
    _write_pools(workspace, round_, labels)
    usage.labels = len(bought)
    fee = prices.batch_fee if len(bought) else 0.0
    usage.label_price = round(math.fsum(bought["price"].to_pylist()) + fee, 6)


def ask(workspace: Workspace, round_: int) -> list[Label]:
    """The labeler's answers to the round's tasks, none for what lies in the drawer; writes nothing.

    Raises:
        WaitingForLabels: people have not answered all of the tasks.
        UserError: the labeler cannot answer, its answers do not fit, or the round would be without a label.
    """
    config = load_config(workspace)
    ids = unpaid(workspace, round_)
    if not ids:
        return []
    labeler = registry.resolve(registry.LABELERS, config.label.labeler)
    labels: list[Label] = labeler(workspace, round_, ids, load_task(workspace), config)
    if not labels and len(ids) == files.count_rows(workspace.round_dir(round_) / "selected.parquet"):
        raise AnswerError(f"round {round_:03d}: every item was skipped; label at least one")
    return labels


def _bought(labels: list[Label], prices: PricesConfig, task: TaskType) -> pa.Table:
    """The rows of labels.parquet for new answers, each with its own price; an unknown time is free."""
    columns = {
        "id": [label.id for label in labels],
        "label": [label.label for label in labels],
        "annotator": [label.annotator for label in labels],
        "labeled_at": [label.labeled_at for label in labels],
        "seconds": [label.seconds for label in labels],
        "price": [prices.label + (label.seconds or 0.0) * prices.annotator_second for label in labels],
    }
    return pa.table(columns, tables.labels(task))


def _kept(workspace: Workspace, round_: int, selected: pa.Array) -> pa.Table:
    """The rows for selected items out of the drawer, free of charge."""
    kept = drawer(workspace, round_)
    kept = kept.filter(pc.is_in(kept["id"], value_set=selected))
    return kept.set_column(kept.schema.get_field_index("price"), "price", pa.array([0.0] * len(kept), pa.float64()))


def _in_order(labels: pa.Table, selected: pa.Array) -> pa.Table:
    """By rank; an item that people skipped has no row."""
    rows = pc.index_in(selected, value_set=labels["id"].combine_chunks()).drop_null()
    return labels.take(rows).combine_chunks()


def _write_pools(workspace: Workspace, round_: int, labels: pa.Table) -> None:
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
    left = unlabeled.filter(pc.invert(pc.is_in(unlabeled["id"], value_set=new["id"].combine_chunks())))
    files.write_table(folder / "unlabeled.parquet", left.combine_chunks())


def waiting(workspace: Workspace, round_: int) -> str | None:
    """What people still have to do before the round can go on, or None if every answer is there.

    Raises:
        UserError: the answers do not fit the tasks.
    """
    if load_config(workspace).label.labeler != "files":
        return None
    try:
        ask(workspace, round_)
    except WaitingForLabels as missing:
        return str(missing)
    return None
