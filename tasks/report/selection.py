"""What was selected in each round, as thumbnails where the items are images."""

import base64
import io
import json
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from tasks import files
from tasks.datasets.gallery import images
from tasks.errors import DataError
from tasks.report.loop import Loop, Round

#: Items shown on the whole page, and of one round at most.
MOST, MOST_OF_ROUND = 600, 30
#: Pixels of a thumbnail's longer side; what is larger is shrunk and stored as JPEG.
_SIDE = 64


@dataclass(frozen=True)
class Item:
    """One selected item; what is not known is None."""

    id: str
    rank: int
    score: float | None
    origin: str
    #: The class that was given, or None where nobody answered.
    label: str | None
    #: The class that the model before would have given, and how sure it was.
    proposal: str | None
    confidence: float | None
    #: A data: address, or None where the item is no image.
    image: str | None


@dataclass(frozen=True)
class Selected:
    """A round's selection: the first items by rank, and how many there are of each kind."""

    round: int
    aborted: bool
    #: All that were selected, of which ``items`` are the first.
    count: int
    #: How many by why they were selected.
    origins: dict[str, int]
    items: list[Item]


@dataclass(frozen=True)
class Selection:
    """What the rounds selected."""

    rounds: list[Selected]
    #: Why there are no images although the items may be some, or None.
    missing: str | None


def selection(loop: Loop) -> Selection:
    """What each round selected; of hundreds of rounds fewer items each, and of still more only the last rounds.

    The images themselves may be elsewhere: a data set that cannot be read is told, and leaves them out.

    Raises:
        DataError: a file is missing or damaged.
    """
    chosen = [round_ for round_ in loop.rounds if "select" in round_.stages][-MOST:]
    most = min(MOST_OF_ROUND, max(MOST // max(len(chosen), 1), 1))
    tables = [_selected(loop, round_) for round_ in chosen]
    first = [table[:most] for table in tables]
    pictures, missing = _thumbnails(loop, [row["id"] for rows in first for row in rows])
    found = [
        Selected(
            round=round_.number,
            aborted=round_.aborted,
            count=len(table),
            origins=dict(Counter(row["origin"] for row in table).most_common()),
            items=_items(loop, round_, rows, pictures),
        )
        for round_, table, rows in zip(chosen, tables, first, strict=True)
    ]
    return Selection(found, missing)


def _selected(loop: Loop, round_: Round) -> list[dict[str, Any]]:
    path = loop.workspace.round_dir(round_.number) / "selected.parquet"
    rows: list[dict[str, Any]] = files.read_table(path, ["id", "rank", "score", "origin"]).sort_by("rank").to_pylist()
    return rows


def _items(loop: Loop, round_: Round, rows: list[dict[str, Any]], pictures: dict[str, str]) -> list[Item]:
    folder = loop.workspace.round_dir(round_.number)
    labels = _labels(loop, round_)
    proposals = _proposals(folder / "tasks.jsonl", len(rows))
    return [
        Item(
            **row,
            label=labels.get(row["id"]),
            proposal=proposals.get(row["id"], {}).get("label"),
            confidence=proposals.get(row["id"], {}).get("confidence"),
            image=pictures.get(row["id"]),
        )
        for row in rows
    ]


def _labels(loop: Loop, round_: Round) -> dict[str, str]:
    if "label" not in round_.stages:
        return {}
    table = files.read_table(loop.workspace.round_dir(round_.number) / "labels.parquet", ["id", "label"])
    given = zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True)
    known = range(len(loop.classes))
    return {id_: loop.classes[label] if label in known else f"class {label}" for id_, label in given}


def _proposals(path: Path, most: int) -> dict[str, dict[str, Any]]:
    """By id, the first proposal of the first tasks, which stand there by rank; none in a round without a model."""
    if not path.exists():
        return {}
    with path.open(encoding="utf-8") as stream:
        tasks = [json.loads(line) for line in islice(stream, most)]
    return {task["id"]: task["proposals"][0] for task in tasks if task["proposals"]}


def _thumbnails(loop: Loop, ids: list[str]) -> tuple[dict[str, str], str | None]:
    """Addresses by id, none where the items are no images; and why there are none where the data set is not there."""
    try:
        found = images(loop.workspace, ids)
    except DataError as error:
        return {}, str(error)
    return {} if found is None else {id_: _address(image) for id_, image in zip(ids, found, strict=True)}, None


def _address(pixels: npt.NDArray[np.uint8]) -> str:
    """A data: address of an image, uint8 (height, width, 1 or 3): PNG as it is, or JPEG if it had to be shrunk."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    shrunk = max(image.size) > _SIDE
    if shrunk:
        image.thumbnail((_SIDE, _SIDE))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=80) if shrunk else image.save(out, "PNG", optimize=True)
    return f"data:image/{'jpeg' if shrunk else 'png'};base64,{base64.b64encode(out.getvalue()).decode()}"
