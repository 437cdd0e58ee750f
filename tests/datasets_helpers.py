"""Small data sets on disk, and what the tests of data sets ask of a workspace."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tasks.config import Config, parse
from tasks.datasets import run
from tasks.errors import DataError
from tasks.rounds import Workspace, begin

PRICES = {"currency": "USD", "label": 0.1, "device_hour": {"cpu": 0.1}}


def configuration(**dataset: Any) -> Config:
    """A configuration whose dataset part is given."""
    return parse({"name": "test", "dataset": dataset, "prices": PRICES}, "test")


def begun(folder: Path, **dataset: Any) -> Workspace:
    """A workspace whose loop has begun and whose pool is not built yet."""
    workspace = Workspace(folder)
    begin(workspace, configuration(**dataset))
    return workspace


def built(folder: Path, **dataset: Any) -> Workspace:
    """A workspace whose pool is built."""
    workspace = begun(folder, **dataset)
    run.run(workspace, configuration(**dataset))
    return workspace


def image(path: Path, value: int | tuple[int, int, int] = 100, size: tuple[int, int] = (8, 8)) -> None:
    """Write an image of one colour (lossless if the path ends in .png)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L" if isinstance(value, int) else "RGB", size, value).save(path)


def table(path: Path, header: Sequence[str], *rows: Sequence[str]) -> None:
    """Write a CSV file."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every file below a folder with its bytes, and every folder."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def names(folder: Path) -> list[str]:
    """What lies directly in a folder."""
    return sorted(path.name for path in folder.iterdir())


def refused(workspace: Workspace, match: str, **dataset: Any) -> None:
    """Assert that the pool stage refuses a data set in one line, and writes nothing at all."""
    before = tree(workspace.root)
    with pytest.raises(DataError, match=match) as caught:
        run.run(workspace, configuration(**dataset))
    assert "\n" not in str(caught.value)
    assert tree(workspace.root) == before


def pixels(*values: int, side: int = 4) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Grey images of one value each, uint8 (n, 1, side, side)."""
    return np.stack([np.full((1, side, side), value, np.uint8) for value in values])
