"""The figures of the article on the compute of active learning, number by number."""

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tasks import files
from tasks.errors import ConfigError
from tasks.forecast import article, pictures


def figure(number: int) -> article.Figure:
    return article.figures()[number - 1]


@pytest.mark.parametrize(
    ("per_loop", "loops", "millions"),
    [
        (10_000, 20, 2.10),
        (20_000, 10, 1.10),
        (25_000, 8, 0.90),
        (40_000, 5, 0.60),
        (50_000, 4, 0.50),
        (100_000, 2, 0.30),
        (200_000, 1, 0.20),
    ],
)
def test_loop_sizes_of_the_first_figure(per_loop: int, loops: int, millions: float) -> None:
    assert article.trained(per_loop, loops) == round(millions * 1e6)
    assert figure(1).findings[f"{per_loop} per loop"] == round(millions * 1e6)


def test_cleared_and_resumed_weights_of_the_second_figure() -> None:
    assert figure(2).findings == {"cleared": 15_000, "resumed": 5_000, "ratio": 3}
    cleared, resumed = figure(2).curves
    assert list(cleared.y) == [1_000, 3_000, 6_000, 10_000, 15_000]
    assert list(resumed.y) == [1_000, 2_000, 3_000, 4_000, 5_000]


@pytest.mark.parametrize(("number", "percent", "trained", "scored"), [(3, 3.7, 2.1e6, 21.9e6), (4, 29, 55e3, 820_990)])
def test_inference_shares_of_the_last_two(number: int, percent: float, trained: float, scored: float) -> None:
    findings = figure(number).findings
    assert 100 * findings["share"] == pytest.approx(percent, rel=0.02)
    assert (findings["trained"], findings["inferred"]) == (trained, scored)
    both, free = figure(number).curves
    assert 1 - free.y[-1] / both.y[-1] == pytest.approx(findings["share"])


@given(st.integers(1, 50), st.integers(1, 40), st.integers(0, 10**6))
def test_closed_forms_are_the_sums_over_the_loops(per_loop: int, loops: int, left: int) -> None:
    pool = per_loop * loops + left
    assert article.trained(per_loop, loops) == sum(per_loop * loop for loop in range(1, loops + 1))
    assert article.inferred(pool, per_loop, loops) == sum(pool - per_loop * loop for loop in range(1, loops + 1))
    assert article.trained(per_loop, loops) / article.resumed(per_loop, loops) == (loops + 1) / 2


def test_four_pictures_and_their_assumptions_are_written_with_the_same_bytes_each_time(tmp_path: Path) -> None:
    paths = pictures.write(tmp_path / "new" / "figures")
    assert [path.name for path in paths] == [
        "1_loop_size.png",
        "2_weights.png",
        "3_inference_imagenet.png",
        "4_inference_squad.png",
        "figures.json",
    ]
    for path in paths[:-1]:
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            assert image.size == (840, 576)
    told = files.read_json(paths[-1])
    assert all(told[path.stem]["assumptions"] for path in paths[:-1])
    assert told["4_inference_squad"]["findings"]["share"] == pytest.approx(0.293, abs=0.001)
    before = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in pictures.write(tmp_path / "new" / "figures")] == before


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "figures").write_text("mine")
    with pytest.raises(ConfigError, match="is a file; name a folder"):
        pictures.write(tmp_path / "figures")
    assert (tmp_path / "figures").read_text() == "mine"
