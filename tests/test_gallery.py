import io
from pathlib import Path

import numpy as np
from PIL import Image

from tasks import loop
from tasks.datasets.gallery import gallery
from tasks.datasets.store import load_items
from tests.pools import column
from tests.test_loop import begin


def test_gallery_shows_the_selected_images_in_their_order(tmp_path: Path) -> None:
    workspace = begin(tmp_path / "w", "loop.initial=5")
    for name in ("plan", "select"):
        loop.run(workspace, loop.Step(name, 0))  # type: ignore[arg-type]
    png = gallery(workspace, 0)
    assert png is not None
    sheet = np.asarray(Image.open(io.BytesIO(png)))
    items = load_items(workspace, "pool")
    rows = items.rows(column(workspace.round_dir(0) / "selected.parquet", "id"))
    # 8x8 digits four times as large, three to a row, two pixels apart.
    assert sheet.shape == (68, 102)
    assert (sheet[34:66:4, 34:66:4] == items.array[rows[4], 0]).all()
