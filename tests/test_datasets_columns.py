"""Files of columns in every format, and every way in which they can be wrong."""

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.datasets import columns
from tasks.errors import DataError


def read(path: Path, content: bytes | str, optional=None, header=None) -> columns.Columns:
    """The columns of a file with this content."""
    raw = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return columns.read(path, [], optional, header)


def refused(path: Path, content: bytes | str, match: str, **more) -> None:
    with pytest.raises(DataError, match=match) as caught:
        read(path, content, **more)
    assert "\n" not in str(caught.value)


FORMATS = {
    "a.csv": 'a,b\n1,"x, ""y"""\n,z\n',
    "a.csv.gz": 'a,b\n1,"x, ""y"""\n,z\n',
    "a.jsonl": '{"a": 1, "b": "x, \\"y\\""}\n\n{"a": "", "b": "z"}\n',
    "a.jsonl.gz": '\ufeff{"a": 1, "b": "x, \\"y\\""}\n{"b": "z", "a": ""}',
}


@pytest.mark.parametrize(("name", "content"), FORMATS.items())
def test_formats_of_text_agree(tmp_path, name, content):
    found = read(tmp_path / name, content)

    assert found.values == {"a": ["1", ""], "b": ['x, "y"', "z"]}
    assert found.header == ("a", "b")
    assert len(found) == 2


def test_rows_are_named_with_their_lines(tmp_path):
    found = read(tmp_path / "a.csv", 'a\n"1\n2"\n\n3\n')

    assert [found.where(row) for row in (0, 1)] == [
        f"{tmp_path}/a.csv: row 1 (line 3)",
        f"{tmp_path}/a.csv: row 2 (line 5)",
    ]
    assert found.take(np.array([1])).where(0) == found.where(1)
    assert found.take(np.array([1])).take(np.array([0])).where(0) == found.where(1)
    lines = read(tmp_path / "a.jsonl", '{"a": "1"}\n\n{"a": "2"}\n')
    assert lines.where(1) == f"{tmp_path}/a.jsonl: row 2 (line 3)"


def test_only_the_wanted_columns_are_read(tmp_path):
    assert set(read(tmp_path / "a.csv", "a,b,c\n1,2,3\n", optional=["c", "d"]).stored) == {"c"}
    assert set(read(tmp_path / "a.jsonl", '{"a": [1], "c": 1}\n', optional=["c", "d"]).stored) == {"c"}
    pq.write_table(pa.table({"a": [1], "b": [2], "c": [3]}), tmp_path / "a.parquet")
    assert set(columns.read(tmp_path / "a.parquet", ["a"], ["c"]).stored) == {"a", "c"}


def test_csv_without_a_header_takes_the_given_names(tmp_path):
    found = read(tmp_path / "a.csv", "1,x\n2,y\n", header=("n", "t"))

    assert found.values == {"n": ["1", "2"], "t": ["x", "y"]}
    assert found.where(0).endswith("row 1 (line 1)")


def test_header_that_is_given_and_stands_there_is_refused(tmp_path):
    refused(
        tmp_path / "a.csv", "n,t\n1,x\n", r"row 1 \(line 1\): names the columns; .*dataset\.header", header=("n", "t")
    )


def test_rows_of_another_width_than_the_given_header_are_refused(tmp_path):
    refused(tmp_path / "a.csv", "1,x,3\n", r"row 1 \(line 1\): 3 fields where the header has 2", header=("n", "t"))


def test_fields_longer_than_the_limit_of_the_csv_module_are_read_and_the_limit_stays(tmp_path):
    before = csv.field_size_limit()

    assert read(tmp_path / "a.csv", "a\n" + "x" * 200_000 + "\n").values["a"] == ["x" * 200_000]
    refused(tmp_path / "b.csv", 'a\n"x', "not valid CSV")
    assert csv.field_size_limit() == before


def test_more_rows_than_are_read_at_a_time_stay_in_order(tmp_path):
    numbers = [str(number) for number in range(20_000)]

    assert read(tmp_path / "a.csv", "a\n" + "\n".join(numbers)).values["a"] == numbers
    found = read(tmp_path / "a.jsonl", "\n".join(f'{{"a": {number}}}' for number in numbers))
    assert found.values["a"] == numbers
    assert found.where(19_999).endswith("row 20000 (line 20000)")


def test_keys_that_only_late_lines_have_are_null_before(tmp_path):
    found = read(tmp_path / "a.jsonl", '{"a": "1"}\n' * 9000 + '{"b": "2"}\n')

    assert found.values["b"][8999:] == [None, "2"]
    assert found.values["a"][8999:] == ["1", None]


def test_json_values_become_text_as_they_are_written(tmp_path):
    found = read(
        tmp_path / "a.jsonl", '{"a": 1.50}\n{"a": true}\n{"a": null}\n{"a": 123456789012345678901234567890}\n{"a": NaN}'
    )

    assert found.values["a"] == ["1.50", "true", None, "123456789012345678901234567890", "NaN"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\nx\n\xe9t\xe9\n", r"row 2 \(line 3\): not UTF-8"),
        ("a,b\nx,é\n".encode() + "y,é\n".encode("latin-1"), r"row 2 \(line 3\): not UTF-8"),
        (b'a\n"x\ny\nz"\n\xff\n', r"row 2 \(line 5\): not UTF-8"),
        (b"\xffa\nx\n", r"row 0 \(line 1\): not UTF-8"),
        (b"", "empty"),
        (b"a,b\n1\n", r"row 1 \(line 2\): 1 fields where the header has 2"),
        (b'a\n"x"y\n', r"row 1 \(line 2\): not valid CSV"),
        (b"a,a\n1,2\n", "column 'a' stands twice"),
    ],
)
@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_damaged_csv_is_refused(tmp_path, content, message, ending):
    refused(tmp_path / f"a.{ending}", content, message)


def test_row_that_is_not_utf8_is_named_without_a_header_too(tmp_path):
    refused(tmp_path / "a.csv", b"x\n\xff\n", r"row 2 \(line 2\): not UTF-8", header=("a",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": "x"}\n{"a": "\xe9"}\n', r"row 2 \(line 2\): not UTF-8"),
        (b'{"a": "x"}\n\n{"a": \n', r"row 2 \(line 3\): not valid JSON"),
        (b'["x"]\n', r"row 1 \(line 1\): not a JSON object"),
        (b'{"a": "x"}\n{"a": "\\ud83d"}\n', r"row 2 \(line 2\): 'a' holds half of a surrogate pair"),
        (b'{"a": "x"}\n{"a": ["y"]}\n', r"row 2 \(line 2\): 'a' is a list"),
        (b'{"a": {"b": 1}}\n', r"row 1 \(line 1\): 'a' is an object"),
        (b'{"a": ' + b"[" * 100_000, r"row 1 \(line 1\): (JSON that is nested too deeply|not valid JSON)"),
        (b"\n", "empty"),
    ],
)
def test_damaged_json_lines_are_refused(tmp_path, content, message):
    refused(tmp_path / "a.jsonl", content, message)


def test_whole_surrogate_pairs_are_characters(tmp_path):
    assert read(tmp_path / "a.jsonl", b'{"a": "\\ud83d\\ude00"}\n').values["a"] == ["\U0001f600"]


@pytest.mark.parametrize("name", ["a.csv.gz", "a.jsonl.gz"])
def test_damaged_gzip_is_refused(tmp_path, name):
    path = tmp_path / name
    whole = gzip.compress(b"a\n" + b"x\n" * 1000)
    for content in (b"a\nx\n", whole[:-10], whole[:15] + b"\x00\xff" * 4 + whole[23:]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"gz: (cannot be read \(|row 1 )") as caught:
            columns.read(path, [], None)
        assert "\n" not in str(caught.value)


def test_other_endings_are_refused(tmp_path):
    refused(tmp_path / "a.tsv", "a\n", r"ends in one of \.csv, ")
    refused(tmp_path / "a.parquet.gz", "a\n", r"ends in one of \.csv, ")


@pytest.mark.parametrize("type_", [pa.binary(), pa.large_binary(), pa.binary_view()])
def test_bytes_of_parquet_are_text_if_they_are_utf8(tmp_path, type_):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": pa.array(["é".encode(), None], type_)}), path)
    assert columns.read(path, ["a"], []).values["a"] == ["é", None]

    pq.write_table(pa.table({"a": pa.array([b"x", b"\xe9"], type_)}), path)
    with pytest.raises(DataError, match=r"column 'a' cannot be read as text \(row 2 is not UTF-8\)"):
        columns.read(path, ["a"], []).text("a")


def test_text_of_parquet_that_is_not_utf8_is_refused(tmp_path):
    path = tmp_path / "a.parquet"
    damaged = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xe9"], pa.binary()).buffers())
    pq.write_table(pa.table({"a": damaged}), path)

    with pytest.raises(DataError, match=r"column 'a' cannot be read as text \(row 1 is not UTF-8\)"):
        columns.read(path, ["a"], []).text("a")


def test_types_of_parquet_become_text(tmp_path):
    path = tmp_path / "a.parquet"
    stored = {
        "whole": pa.array([1.0, float("nan")]),
        "flag": pa.array([True, None]),
        "category": pa.array([7, 8]).dictionary_encode(),
        "nothing": pa.nulls(2),
        "view": pa.array(["x", "y"], pa.string_view()),
    }
    pq.write_table(pa.table(stored), path)

    assert columns.read(path, [], None).values == {
        "whole": ["1", None],
        "flag": ["true", None],
        "category": ["7", "8"],
        "nothing": [None, None],
        "view": ["x", "y"],
    }


_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=8)


@given(st.lists(st.tuples(_TEXT, _TEXT), min_size=1, max_size=5))
def test_any_text_comes_back_from_json_lines_and_csv(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("any")
    content = "".join(json.dumps({"a": first, "b": second}) + "\n" for first, second in rows)
    with (folder / "a.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, quoting=csv.QUOTE_ALL).writerows([("a", "b"), *rows])

    expected = {"a": [first for first, _ in rows], "b": [second for _, second in rows]}
    assert read(folder / "a.jsonl", content).values == expected
    assert columns.read(folder / "a.csv", [], None).values == expected
