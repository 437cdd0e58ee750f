"""The images selected in a round, side by side."""

import io
import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from tasks import files
from tasks.datasets.store import load_items
from tasks.rounds import Workspace

#: More than a person looks at, fewer than a page holds.
MOST = 100
_GAP, _SIDE = 2, 32


def images(workspace: Workspace, ids: pa.ChunkedArray | Sequence[str]) -> Iterator[npt.NDArray[np.uint8]] | None:
    """Items of the pool as images, one by one, uint8 (height, width, 1 or 3), or None if they are no images."""
    items = load_items(workspace, "pool")
    array = items.array
    if not isinstance(array, np.ndarray) or array.ndim != 4 or array.shape[1] not in (1, 3):
        return None
    return (array[row].transpose(1, 2, 0) for row in items.rows(ids))


def gallery(workspace: Workspace, round_: int) -> bytes | None:
    """A PNG of the first 100 selected images in the order of their ranks, or None if the items are no images.

    Small images are enlarged by a whole factor, so that their pixels stay as they are.
    """
    ids = files.read_table(workspace.round_dir(round_) / "selected.parquet", ["id"])["id"][:MOST]
    found = images(workspace, ids)
    if found is None:
        return None
    shown = np.stack(list(found))
    factor = max(1, _SIDE // shown.shape[1])
    shown = shown.repeat(factor, axis=1).repeat(factor, axis=2)
    count, height, width, channels = shown.shape
    columns = math.ceil(math.sqrt(count))
    sheet = np.full(
        (math.ceil(count / columns) * (height + _GAP), columns * (width + _GAP), channels), 255, dtype=np.uint8
    )
    for number, image in enumerate(shown):
        top, left = number // columns * (height + _GAP), number % columns * (width + _GAP)
        sheet[top : top + height, left : left + width] = image
    out = io.BytesIO()
    Image.fromarray(sheet.squeeze(axis=2) if channels == 1 else sheet).save(out, "PNG")
    return out.getvalue()
