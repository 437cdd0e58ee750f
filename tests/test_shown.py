"""Items as people see them: in the tasks that they answer, in the gallery, and on the report's page."""

import base64
import io
import json
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tasks import files
from tasks.cost.ledger import Usage
from tasks.datasets.gallery import gallery
from tasks.datasets.shown import Shown, described, shown
from tasks.datasets.store import array_path
from tasks.errors import DataError
from tasks.report import bill, page, quality
from tasks.report import loop as loops
from tasks.report.contents import EXCERPT, FIELDS, WHOLE, contents
from tasks.report.figures import Drawing
from tasks.report.selection import Selection, selection
from tasks.rounds import Workspace
from tasks.select.run import run as select
from tests.pools import make_workspace, write_plan
from tests.report_helpers import write_loop, write_selected

ITEMS = 60
FIGURES = ("accuracy-labels", "accuracy-money", "accuracy-device-hours", "bill", "device-seconds", "reliability")
#: Whatever a page, a line or a reader could stumble over.
ODD = '<script>alert("1")</script> & \x00\x07\x9f \u202eback \u2066 \u2028 \U0001f469\u200d\U0001f680 \r\n\t{{ 7 * 7 }}'


def pool(workspace: Workspace, kind: str | None, array: Any, fields: list[str] | None = None) -> Workspace:
    """The workspace with its items kept as the pool stage keeps them; ``kind`` None: as an earlier release did."""
    shape = [] if isinstance(array, list) else list(array.shape[1:])
    info = {
        "dataset": "test",
        "shape": shape,
        "dtype": "any",
        "mean": [0.5] * (shape[0] if shape else 0),
        "std": [0.5] * (shape[0] if shape else 0),
        "held_out": 6,
        "known_labels": ITEMS,
        "digest": "d",
    }
    path = workspace.pool / "pool.json"
    files.write_json(path, files.read_json(path) | info | ({} if kind is None else {"kind": kind}))
    kept = array_path(workspace, "pool", "d", kind or "images")  # type: ignore[arg-type]
    kept.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(array, list):
        table = pa.table({"text": pa.array(array, pa.large_string())})
        with pa.ipc.new_file(kept, table.schema) as writer:
            writer.write_table(table)
    else:
        np.save(kept, array)
    if fields is not None:
        manifest = files.read_table(workspace.pool / "manifest.parquet")
        files.write_table(workspace.pool / "manifest.parquet", manifest.append_column("fields", pa.array(fields)))
    return workspace


def of_texts(root: Path, texts: list[str] | None = None, **changes: Any) -> Workspace:
    """Item i says "saying i", if nothing else is given."""
    says = [f"saying {item}" for item in range(ITEMS)] if texts is None else texts
    return pool(make_workspace(root, items=len(says), **changes), "texts", says)


def of_rows(root: Path, rows: list[dict[str, Any]] | None = None, **changes: Any) -> Workspace:
    """Item i is a room of i square metres, if nothing else is given."""
    told = [{"area": item, "town": "Nîmes"} for item in range(ITEMS)] if rows is None else rows
    workspace = make_workspace(root, items=len(told), **changes)
    return pool(workspace, "numbers", np.zeros((len(told), 3), np.float32), [json.dumps(row) for row in told])


def of_images(root: Path, array: np.ndarray[Any, Any], kind: str | None = "images", **changes: Any) -> Workspace:
    return pool(make_workspace(root, items=len(array), **changes), kind, array)


def noise(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)


def opened(address: str | None) -> Image.Image:
    assert address is not None
    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))


# What can be said of an item


def test_of_a_picture_its_place_is_told_without_opening_it(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "w")
    assert not workspace.raw.exists()
    assert described(workspace, ["x/0007", "x/0002"]) == [{"uri": "x/0007.png"}, {"uri": "x/0002.png"}]


def test_of_a_text_all_is_told(tmp_path: Path) -> None:
    long = "very " * 100_000
    workspace = of_texts(tmp_path / "w", ["a", ODD, long, ""])
    told = described(workspace, ["x/0002", "x/0001", "x/0003"])
    assert [one["text"] for one in told] == [long, ODD, ""]
    assert [one["uri"] for one in told] == ["x/0002.png", "x/0001.png", "x/0003.png"]


def test_of_a_row_its_fields_are_told_as_they_were(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"area": 12.5, "town": ODD, "floor": None}, {"area": 7, "garden": True}]
    assert [one["fields"] for one in described(of_rows(tmp_path / "w", rows), ["x/0001", "x/0000"])] == rows[::-1]


@pytest.mark.parametrize("tell", [described, shown])
@pytest.mark.parametrize("make", [of_texts, of_rows])
def test_an_item_that_is_not_in_the_pool_is_named(tmp_path: Path, make: Any, tell: Any) -> None:
    with pytest.raises(DataError, match="'x/9999'"):
        tell(make(tmp_path / "w"), ["x/0001", "x/9999"])


def test_texts_that_are_gone_are_missed(tmp_path: Path) -> None:
    workspace = of_texts(tmp_path / "w")
    array_path(workspace, "pool", "d", "texts").unlink()
    with pytest.raises(DataError):
        described(workspace, ["x/0001"])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", [None, "images"])
def test_small_images_are_shown_as_they_are(tmp_path: Path, kind: str | None, channels: int) -> None:
    array = noise(4, channels, 8, 6)
    workspace = of_images(tmp_path / "w", array, kind)
    found = shown(workspace, ["x/0003", "x/0001"])
    for item, row in zip(found, (3, 1), strict=True):
        assert (item.excerpt, item.fields) == (None, None)
        assert (np.asarray(opened(item.address)).reshape(8, 6, channels) == array[row].transpose(1, 2, 0)).all()


def test_large_images_are_shrunk(tmp_path: Path) -> None:
    [item] = shown(of_images(tmp_path / "w", np.zeros((2, 3, 200, 100), np.uint8)), ["x/0001"])
    assert item.address is not None
    assert item.address.startswith("data:image/jpeg;")
    assert opened(item.address).size == (32, 64)


def test_arrays_that_are_no_pictures_have_no_thumbnails(tmp_path: Path) -> None:
    assert shown(of_images(tmp_path / "w", noise(4, 5, 8, 8)), ["x/0001"]) == [Shown(None, None, None)]


def test_texts_and_rows_are_shown_by_what_they_say(tmp_path: Path) -> None:
    assert shown(of_texts(tmp_path / "t"), ["x/0003"]) == [Shown(None, "saying 3", None)]
    assert shown(of_rows(tmp_path / "r"), ["x/0003"]) == [Shown(None, None, {"area": 3, "town": "Nîmes"})]


def test_nothing_is_shown_of_no_items(tmp_path: Path) -> None:
    assert shown(of_texts(tmp_path / "t"), []) == shown(of_images(tmp_path / "i", noise(2, 1, 8, 8)), []) == []


# The tasks that people answer, and the gallery


@pytest.mark.parametrize("numbers", [False, True])
def test_people_are_told_all_of_a_text_on_one_line_of_the_tasks(tmp_path: Path, numbers: bool) -> None:
    texts = [f"{item} {ODD}" for item in range(12)]
    workspace = of_texts(tmp_path / "w", texts, numbers=numbers)
    write_plan(workspace, 0, query_size=12)
    select(workspace, 0, Usage())
    lines = (workspace.round_dir(0) / "tasks.jsonl").read_bytes().decode().removesuffix("\n").split("\n")
    tasks = [json.loads(line) for line in lines]
    assert [task["text"] for task in tasks] == [texts[int(task["id"][2:])] for task in tasks]
    assert [list(task) for task in tasks] == [["id", "uri", "text", "round", "priority", "why", "proposals"]] * 12


def test_people_are_told_the_fields_of_a_row(tmp_path: Path) -> None:
    workspace = of_rows(tmp_path / "w", numbers=True)
    write_plan(workspace, 0, query_size=3)
    select(workspace, 0, Usage())
    tasks = [json.loads(line) for line in (workspace.round_dir(0) / "tasks.jsonl").read_text().splitlines()]
    assert [task["fields"] for task in tasks] == [{"area": int(task["id"][2:]), "town": "Nîmes"} for task in tasks]


@pytest.mark.parametrize("make", [of_texts, of_rows])
def test_there_is_no_gallery_of_what_is_no_picture(tmp_path: Path, make: Any) -> None:
    workspace = make(tmp_path / "w")
    write_plan(workspace, 0, query_size=3)
    select(workspace, 0, Usage())
    assert gallery(workspace, 0) is None


# What the page holds of it


def cut(text: str) -> tuple[str | None, str | None, int]:
    found = contents(Shown(None, text, None))
    assert found is not None
    return found.excerpt, found.whole, found.left_out


def test_a_short_text_is_seen_at_once() -> None:
    assert cut("a short\ttext ") == ("a short text", None, 0)
    assert cut("x" * EXCERPT) == ("x" * EXCERPT, None, 0)
    assert cut("") == ("", None, 0)


def test_of_a_long_text_the_beginning_is_seen_and_the_whole_is_there() -> None:
    assert cut("x" * (EXCERPT + 1)) == ("x" * EXCERPT + " …", "x" * (EXCERPT + 1), 0)


def test_lines_stay_apart_in_the_whole() -> None:
    assert cut("one\n\n  two") == ("one two", "one\n\n  two", 0)


def test_a_very_long_text_is_cut_and_the_page_says_so() -> None:
    assert cut("y" * (WHOLE + 7)) == ("y" * EXCERPT + " …", "y" * WHOLE, 7)


def test_signs_that_no_page_may_hold_are_pictured() -> None:
    assert cut("a\x00b\x1bc\x7fd\x9fe") == ("a␀b␛c␡d\ufffde", None, 0)


@given(st.text(max_size=400))
def test_whatever_a_text_holds_its_excerpt_is_one_short_line(text: str) -> None:
    excerpt, whole, _ = cut(text)
    assert excerpt is not None
    assert len(excerpt) <= EXCERPT + 2
    assert len(excerpt.splitlines()) <= 1
    assert not [sign for sign in (whole or excerpt) if ord(sign) < 32 and sign not in "\t\r\n"]


def test_the_first_fields_are_told_and_the_others_counted() -> None:
    found = contents(Shown(None, None, {f"column {place}": place / 4 for place in range(FIELDS + 3)}))
    assert found is not None
    assert found.fields == [(f"column {place}", f"{place / 4:g}") for place in range(FIELDS)]
    assert (found.excerpt, found.more_fields) == (None, 3)


def test_values_of_any_kind_are_put_into_words() -> None:
    found = contents(Shown(None, None, {"a": None, "b": True, "c\x00": "<i>", "d": 1234567.125, "e": "z" * 9999}))
    assert found is not None
    assert found.fields[:4] == [("a", "none"), ("b", "yes"), ("c␀", "<i>"), ("d", "1.23457e+06")]
    assert len(found.fields[4][1]) < 500


def test_a_picture_alone_says_nothing() -> None:
    assert contents(Shown("data:,", None, None)) is None
    assert contents(Shown(None, None, {})) is None


# The report's selection


def selected(workspace: Workspace, ids: list[str], labels: list[float | None], proposals: list[Any]) -> Selection:
    """What the report knows of one round that selected ``ids``; a label of None was skipped."""
    folder = workspace.round_dir(0)
    write_selected(folder, ids, ["any"])
    given = [(id_, label) for id_, label in zip(ids, labels, strict=True) if label is not None]
    table = {"id": [id_ for id_, _ in given], "label": [label for _, label in given]}
    files.write_table(folder / "labels.parquet", pa.table(table))
    tasks = [{"id": id_, "proposals": said} for id_, said in zip(ids, proposals, strict=True)]
    files.write_bytes(folder / "tasks.jsonl", "".join(json.dumps(task) + "\n" for task in tasks).encode())
    round_ = SimpleNamespace(number=0, aborted=False, stages={"select": {}, "label": {}})
    return selection(SimpleNamespace(workspace=workspace, rounds=[round_]))  # type: ignore[arg-type]


IDS = ["x/0002", "x/0001", "x/0003", "x/0004"]


def test_classes_are_compared_with_what_the_model_said(tmp_path: Path) -> None:
    said = [[{"label": "bee", "confidence": 0.5}], [{"label": "ant", "confidence": 0.25}], [], []]
    [round_] = selected(of_texts(tmp_path / "w"), IDS, [1, 1, 2, None], [*said[:3], said[0]]).rounds
    assert [item.label for item in round_.items] == ["bee", "bee", "cat", None]
    assert [item.said for item in round_.items] == ["bee, 50\xa0%", "ant, 25\xa0%", None, "bee, 50\xa0%"]
    assert [item.wrong for item in round_.items] == [False, True, False, False]


def test_numbers_are_told_with_their_deviation_and_their_error(tmp_path: Path) -> None:
    said = [[{"label": 12.34567, "std": 0.512345}], [{"label": 20.0, "std": 0.001}], [], [{"label": 3.0, "std": 1.0}]]
    workspace = of_rows(tmp_path / "w", numbers=True)
    [round_] = selected(workspace, IDS, [12.0, 1500.25, 7.5, None], said).rounds
    assert [item.label for item in round_.items] == ["12.00", "1500", "7.500", None]
    assert [item.proposal for item in round_.items] == ["12.35", "20.00", None, "3.000"]
    assert [item.said for item in round_.items] == [
        "12.35 ± 0.5123, off by 0.3457",
        "20.00 ± 0.001000, off by 1480",
        None,
        "3.000 ± 1.000",
    ]
    assert not any(item.wrong for item in round_.items)


def test_what_the_items_say_stands_with_them(tmp_path: Path) -> None:
    found = selected(of_texts(tmp_path / "t"), IDS, [0, 0, 0, 0], [[]] * 4)
    assert [item.contents and item.contents.excerpt for item in found.rounds[0].items] == [
        f"saying {number}" for number in (2, 1, 3, 4)
    ]
    rows = selected(of_rows(tmp_path / "r"), IDS, [0, 0, 0, 0], [[]] * 4)
    assert [item.contents and item.contents.fields[0] for item in rows.rounds[0].items] == [
        ("area", f"{number}") for number in (2, 1, 3, 4)
    ]
    assert found.missing is rows.missing is None


def test_a_data_set_that_is_gone_is_told_and_the_items_are_listed(tmp_path: Path) -> None:
    workspace = of_texts(tmp_path / "w")
    array_path(workspace, "pool", "d", "texts").unlink()
    found = selected(workspace, IDS, [0, 0, 0, 0], [[]] * 4)
    assert found.missing is not None
    assert [(item.id, item.contents) for item in found.rounds[0].items] == [(id_, None) for id_ in IDS]


def test_an_item_that_was_selected_twice_is_shown_twice(tmp_path: Path) -> None:
    [round_] = selected(of_texts(tmp_path / "t"), ["x/0002", "x/0002"], [0, 0], [[], []]).rounds
    assert [item.contents and item.contents.excerpt for item in round_.items] == ["saying 2", "saying 2"]


# The page


class Section(HTMLParser):
    """The tags and the text of one section of a page."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.source = source.partition('<section id="selected"')[2].partition("</section>")[0]
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def section(workspace: Workspace) -> Section:
    """What the page says of the selected items."""
    loop = loops.read(workspace)
    drawings = {name: Drawing(name, "<svg></svg>", b"") for name in FIGURES}
    return Section(page.render(loop, bill.lines(loop.rounds), quality.quality(loop), drawings))


def test_the_page_holds_texts_of_any_signs_as_texts(tmp_path: Path) -> None:
    texts = [f"text {item}: {ODD}" for item in range(ITEMS)]
    texts[1], texts[2] = f"{ODD} {'long ' * 2000}", ""
    told = section(pool(write_loop(tmp_path / "w", [0.6]), "texts", texts))
    assert "script" not in told.tags
    assert "\x00" not in told.source
    assert 'text 3: <script>alert("1")</script> & ␀␇\ufffd \u202eback' in told.text
    assert "{{ 7 * 7 }}" in told.text
    assert "(empty)" in told.text
    assert f"{len(texts[1]) - WHOLE:,} characters more stand in tasks.jsonl" in told.text
    # Whatever turns the direction of writing ends with its element.
    assert told.tags.count("bdi") == 6 + told.tags.count("details") - 1


def test_the_page_holds_the_fields_of_rows(tmp_path: Path) -> None:
    rows = [
        json.dumps({ODD: ODD} | {f"column {chr(97 + place)}": item for place in range(20)}) for item in range(ITEMS)
    ]
    told = section(pool(write_loop(tmp_path / "w", [0.6]), "numbers", np.zeros((ITEMS, 3), np.float32), rows))
    assert "script" not in told.tags
    assert told.tags.count("dt") == told.tags.count("dd") == 6 * FIELDS
    assert "column k" in told.text
    assert "column l" not in told.text
    assert told.text.count("and 9 more") == 6


def test_the_page_says_why_items_are_not_shown(tmp_path: Path) -> None:
    workspace = pool(write_loop(tmp_path / "w", [0.6]), "texts", [f"saying {item}" for item in range(ITEMS)])
    array_path(workspace, "pool", "d", "texts").unlink()
    told = section(workspace)
    assert "The items themselves are not shown:" in told.text
    assert "x/0003" in told.text
