"""The items of the pool as people see them, whatever they are."""

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from tasks import files
from tasks.datasets.gallery import images
from tasks.datasets.store import load_items
from tasks.errors import DataError
from tasks.rounds import Workspace

#: Pixels of a thumbnail's longer side; what is larger is shrunk and stored as JPEG.
SIDE = 64


@dataclass(frozen=True)
class Shown:
    """One item on a page; what it does not have is None."""

    #: A data: address of its thumbnail.
    address: str | None
    #: All of its text, which may hold any character.
    excerpt: str | None
    #: What a table says of it, by column; the values are of JSON.
    fields: dict[str, Any] | None


def shown(workspace: Workspace, ids: pa.Array | Sequence[str], side: int = SIDE, least: int = 1) -> list[Shown]:
    """Items of the pool for a page, in the order of ``ids``.

    Args:
        side: pixels of an image's longer side at most.
        least: smaller images are enlarged by a whole factor, so that their pixels stay as they are, towards so many.

    Raises:
        DataError: an id is not in the pool, or the data set is missing, damaged or not the pool's.
    """
    told = described(workspace, ids)
    addresses = _thumbnails(workspace, ids, side, least) if _kind(workspace) == "images" else [None] * len(told)
    return [Shown(address, item.get("text"), item.get("fields")) for address, item in zip(addresses, told, strict=True)]


def described(workspace: Workspace, ids: pa.Array | Sequence[str]) -> list[dict[str, Any]]:
    """Where people find items of the pool and what they read of them, as plain JSON values in the order of ``ids``.

    Each has its ``uri``, a text its whole ``text``, and where the data set has columns for people, its ``fields``.
    Pixels are not looked at.

    Raises:
        DataError: an id is not in the pool, a file is damaged, or the texts are missing or not the pool's.
    """
    wanted = ids if isinstance(ids, pa.Array) else pa.array(ids, pa.string())
    path = workspace.pool / "manifest.parquet"
    columns = ["id", "uri"] + ["fields"] * ("fields" in files.column_names(path))
    manifest = files.read_table(path, columns)
    # A hash table of the few wanted ids, not of the whole pool.
    manifest = manifest.filter(pc.is_in(manifest["id"], value_set=wanted)).combine_chunks()
    rows = pc.index_in(wanted, value_set=manifest["id"].combine_chunks())
    if rows.null_count:
        strange = wanted[pc.index(rows.is_null(), True).as_py()].as_py()
        raise DataError(f"{path}: has no item {strange!r}; restore it with `dvc checkout`")
    manifest = manifest.take(rows)
    items = [{"uri": uri} for uri in manifest["uri"].to_pylist()]
    if _kind(workspace) == "texts":
        items = [item | {"text": text} for item, text in zip(items, _texts(workspace, wanted), strict=True)]
    if "fields" in columns:
        values = (json.loads(one) for one in manifest["fields"].to_pylist())
        items = [item | {"fields": fields} for item, fields in zip(items, values, strict=True)]
    return items


def _kind(workspace: Workspace) -> str:
    # A pool that an earlier release made does not say what its items are.
    return str(files.read_object(workspace.pool / "pool.json").get("kind", "images"))


def _texts(workspace: Workspace, ids: pa.Array) -> list[str]:
    items = load_items(workspace, "pool")
    texts: list[str] = items.array[items.rows(ids)].tolist()
    return texts


def _thumbnails(workspace: Workspace, ids: pa.Array | Sequence[str], side: int, least: int) -> Sequence[str | None]:
    found = images(workspace, ids)
    return [None] * len(ids) if found is None else [_address(pixels, side, least) for pixels in found]


def _address(pixels: npt.NDArray[np.uint8], side: int, least: int) -> str:
    """A data: address of an image, uint8 (height, width, 1 or 3): PNG as it is, or JPEG if it had to be shrunk."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    factor = max(1, least // max(image.size))
    image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    shrunk = max(image.size) > side
    if shrunk:
        image.thumbnail((side, side))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=80) if shrunk else image.save(out, "PNG", optimize=True)
    return f"data:image/{'jpeg' if shrunk else 'png'};base64,{base64.b64encode(out.getvalue()).decode()}"
