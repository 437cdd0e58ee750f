"""LABEL: buy the labels of the selected items and move them from the unlabelled pool to the labelled one."""

import pyarrow as pa
import pyarrow.compute as pc

from tasks import files, registry
from tasks.cost.ledger import Usage
from tasks.errors import WaitingForLabels
from tasks.label.labels import Label
from tasks.rounds import Workspace, load_config


def run(workspace: Workspace, round_: int, usage: Usage) -> None:
    """Write labels.parquet, labeled.parquet and unlabeled.parquet of a round, and count the labels and their price.

    Raises:
        WaitingForLabels: people have not answered all of the tasks.
        UserError: the labeler cannot answer, or its answers do not fit.
    """
    labels = ask(workspace, round_)
    price = load_config(workspace).prices.label
    _write_labels(workspace, round_, labels, price)
    _write_pools(workspace, round_, labels)
    usage.labels = len(labels)
    usage.label_price = round(price * len(labels), 6)


def ask(workspace: Workspace, round_: int) -> list[Label]:
    """The labeler's answers to the round's tasks; writes nothing."""
    config = load_config(workspace)
    ids = files.read_table(workspace.round_dir(round_) / "selected.parquet", ["id"])["id"].to_pylist()
    classes = files.read_json(workspace.pool / "pool.json")["classes"]
    labels: list[Label] = registry.resolve(registry.LABELERS, config.label.labeler)(
        workspace, round_, ids, classes, config
    )
    return labels


def _write_labels(workspace: Workspace, round_: int, labels: list[Label], price: float) -> None:
    table = pa.table(
        {
            "id": pa.array([label.id for label in labels], pa.string()),
            "label": pa.array([label.label for label in labels], pa.int64()),
            "annotator": pa.array([label.annotator for label in labels], pa.string()),
            "labeled_at": pa.array([label.labeled_at for label in labels], pa.string()),
            "seconds": pa.array([label.seconds for label in labels], pa.float64()),
            "price": pa.array([price] * len(labels), pa.float64()),
        }
    )
    files.write_table(workspace.round_dir(round_) / "labels.parquet", table)


def _write_pools(workspace: Workspace, round_: int, labels: list[Label]) -> None:
    folder, previous = workspace.round_dir(round_), workspace.previous_dir(round_)
    labeled = files.read_table(previous / "labeled.parquet")
    new = pa.table(
        {
            "id": pa.array([label.id for label in labels], pa.string()),
            "label": pa.array([label.label for label in labels], pa.int64()),
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
