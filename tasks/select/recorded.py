"""A selection that was made before is made again, for another model: what a proxy chose becomes the target's labels.

The recording is the folder of a loop, or a table with the ids in the order in which they were selected. Rounds need not
be of the recorded sizes: each takes what comes next in the recording, so that a single round can train a large model on
what a small one chose in ten.

Source: C. Coleman et al., Selection via Proxy, ICLR 2020, arXiv 1906.11829, section 3: the target is trained once, on
what a proxy selected over several rounds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from tasks import files, outside
from tasks.config import Config
from tasks.datasets.source import Source
from tasks.datasets.store import load_task
from tasks.errors import ConfigError, DataError
from tasks.rounds import Workspace, begins_attempt, load_config, rounds
from tasks.select.choice import Candidates, Chosen
from tasks.task_type import TaskType, from_description
from tasks.task_type.classification import Classification


@dataclass(frozen=True)
class Recording:
    """A selection that was made before."""

    path: Path
    #: Strings, no two alike, in the order in which they were selected.
    ids: pa.Array
    #: pool.json of the loop; None where there is but a table.
    pool: dict[str, Any] | None = None


def select(workspace: Workspace, candidates: Candidates, size: int) -> Chosen:
    """The next ``size`` ids of the recording named by select.recorded that have no label yet, in its order.

    Raises:
        ConfigError: select.recorded names nothing, or the recording is over.
        DataError: the recording is damaged, or of another pool.
    """
    config = load_config(workspace)
    recording = read(str(config.select.recorded), workspace.root)
    known = files.read_table(workspace.pool / "manifest.parquet", ["id"])["id"].combine_chunks()
    _check_pool(recording, load_task(workspace), known, config.dataset.name)
    places = pc.index_in(recording.ids, value_set=candidates.ids).drop_null()
    if len(places) < size:
        raise ConfigError(
            f"{recording.path}: has {len(places)} of its {len(recording.ids)} ids left, and the round asks for {size}; "
            "lower loop.rounds or loop.query_size, or set loop.max_labels"
        )
    positions = places[:size].to_numpy().astype(np.int64)
    return Chosen(positions, ["recorded"] * size)


#: The first round of a recording is like all others.
initial = select


def check_recording(config: Config, root: Path, source: Source) -> None:
    """Refuse a loop that could not repeat its recording; one that repeats none is left alone.

    Args:
        root: of the workspace, to which a relative select.recorded belongs.
        source: the data set of the loop.

    Raises:
        ConfigError: select.recorded names nothing, or too short a recording for the labels that are sure to be asked
            for.
        DataError: the recording is damaged, or of another pool.
    """
    if config.select.recorded is None:
        return
    recording = read(config.select.recorded, root)
    _check_pool(recording, source.task, pa.array(source.pool.ids, pa.string()), config.dataset.name)
    if (wanted := _wanted(config)) > len(recording.ids):
        raise ConfigError(
            f"{recording.path}: has {len(recording.ids)} ids, fewer than the {wanted} labels of the loop; lower "
            "loop.rounds, loop.query_size or loop.initial, or set loop.max_labels"
        )


def _wanted(config: Config) -> int:
    """Labels that are sure to be asked for, if no rule ends the loop; queries of a policy's size are not known."""
    loop = config.loop
    if config.policy.query_size == "schedule":
        return 0
    wanted = loop.initial
    if config.policy.query_size == "fixed":
        wanted += (loop.rounds - 1) * loop.query_size
    return wanted if loop.max_labels is None else min(wanted, loop.max_labels)


def read(recorded: str, root: Path) -> Recording:
    """The recording that select.recorded names.

    Args:
        recorded: a folder of a loop, of which the rounds since its last restart count, or a .parquet or .csv file with
            a column `id`; relative to ``root``.

    Raises:
        ConfigError: there is no such thing.
        DataError: it is damaged, holds nothing, or an id twice.
    """
    path = outside.found(root, recorded)
    if path.is_dir():
        return _of_loop(path)
    if path.suffix not in (".parquet", ".csv") or not path.is_file():
        raise ConfigError(
            f"select.recorded: {path} is neither the folder of a loop nor a .parquet or .csv file; correct the key"
        )
    return Recording(path, _distinct(path, _column(path)))


def _of_loop(root: Path) -> Recording:
    workspace = Workspace(root)
    selected = list(_selected(workspace))
    if not selected:
        raise ConfigError(f"select.recorded: {root} is not the folder of a loop that has selected anything")
    tables = [files.read_table(path, ["id", "rank"]).sort_by("rank") for path in selected]
    ids = _strings(root, pa.concat_tables(tables)["id"])
    return Recording(root, _distinct(root, ids), files.read_object(workspace.pool / "pool.json"))


def _selected(workspace: Workspace) -> Iterator[Path]:
    """selected.parquet of each round since the last restart; an open round may not have its own yet."""
    numbers = rounds(workspace)
    first = max((number for number in numbers if begins_attempt(workspace, number)), default=0)
    for number in numbers[first:]:
        path = workspace.round_dir(number) / "selected.parquet"
        if number != numbers[-1] or path.exists():
            yield path


def _column(path: Path) -> pa.Array:
    try:
        table = _csv(path) if path.suffix == ".csv" else files.read_table(path, ["id"])
        column = table["id"]
    except (pa.ArrowException, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: no readable table with a column id ({reason}); correct select.recorded") from None
    return _strings(path, column)


def _csv(path: Path) -> pa.Table:
    # As text: an id such as 0012 is no number.
    options = pyarrow.csv.ConvertOptions(include_columns=["id"], column_types={"id": pa.string()})
    return pyarrow.csv.read_csv(path, convert_options=options)


def _strings(path: Path, column: pa.ChunkedArray) -> pa.Array:
    if column.null_count or not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise DataError(f"{path}: its column id must hold texts, and no empty ones; correct select.recorded")
    return column.cast(pa.string()).combine_chunks()


def _distinct(path: Path, ids: pa.Array) -> pa.Array:
    counted = pc.value_counts(ids)
    repeated = counted.filter(pc.greater(counted.field("counts"), 1))
    if len(repeated):
        raise DataError(
            f"{path}: id {repeated[0]['values'].as_py()!r} stands {repeated[0]['counts']} times; an item is selected "
            "once"
        )
    if not len(ids):
        raise DataError(f"{path}: holds no ids; correct select.recorded")
    return ids


def _check_pool(recording: Recording, task: TaskType, known: pa.Array, dataset: str) -> None:
    """Refuse a recording of other data; the same items in another resolution, or more of them, are no other data."""
    before = recording.pool or {}
    if before:
        _check_task(recording.path, from_description(before, f"{recording.path}, pool.json"), task)
    if before.get("dataset", dataset) != dataset:
        raise DataError(
            f"{recording.path}: the recording is of another pool ({before['dataset']}, not {dataset}); correct "
            "select.recorded"
        )
    strange = recording.ids.filter(pc.invert(pc.is_in(recording.ids, value_set=known)))
    if len(strange):
        raise DataError(
            f"{recording.path}: the recording is of another pool: {len(strange)} of its {len(recording.ids)} ids, such "
            f"as {strange[0].as_py()!r}, are not in this one; correct select.recorded or dataset"
        )


def _check_task(path: Path, before: TaskType, task: TaskType) -> None:
    """Refuse what a proxy chose to learn something else; other bounds of the same number are no other task."""
    if isinstance(before, Classification) and isinstance(task, Classification):
        if before.classes != task.classes:
            raise DataError(
                f"{path}: a proxy with other classes than the target ({_few(before.classes)} beside "
                f"{_few(task.classes)}); correct select.recorded"
            )
    elif (learnt := _learnt(before)) != (wanted := _learnt(task)):
        raise DataError(
            f"{path}: a proxy that learns something else than the target ({learnt} beside {wanted}); correct "
            "select.recorded"
        )


def _learnt(task: TaskType) -> str:
    return f"classes: {_few(task.classes)}" if isinstance(task, Classification) else f"a number: {task.target}"


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
