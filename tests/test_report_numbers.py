"""The report of a regression: R² and errors in the label's unit, and nothing of classes."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import files
from tasks.errors import DataError
from tasks.report import bill, kinds, page, quality_numbers, words
from tasks.report import loop as loops
from tasks.report.drawing import Drawing
from tasks.report.quality_numbers import Items
from tasks.report.run import write
from tasks.rounds import Workspace
from tasks.task_type.headline import ACCURACY, R2
from tasks.task_type.number_scores import r2
from tests.number_helpers import HELD_OUT, write_loop, write_pool, write_predictions, write_round
from tests.pools import snapshot

MINUS = "\N{MINUS SIGN}"
CURVES = ("r2-labels", "r2-money", "r2-device-hours", "rmse-labels", "rmse-money")
FIGURES = (*CURVES, "bill", "device-seconds", "predicted", "errors", "intervals")


def errors() -> tuple[list[float], list[float]]:
    """Errors of which the model says itself how large they may be."""
    random = np.random.default_rng(1)
    std = random.uniform(1, 5, HELD_OUT)
    return (std * random.standard_normal(HELD_OUT)).tolist(), std.tolist()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = write_loop(tmp_path_factory.mktemp("numbers") / "w", [-0.6, 0.5, 0.7312])
    write_predictions(made, 2, *errors())
    return made


@pytest.fixture(scope="module")
def source(workspace: Workspace) -> str:
    return write(workspace, workspace.root / "out")[0].read_text()


def text_of(source: str) -> str:
    bare = re.sub(r"<(svg|style|pre)\b.*?</\1>", "", source, flags=re.S)
    # The gap between a number and its unit is white space to split() too.
    return " ".join(re.sub(r"<[^>]+>", " ", bare).split())


def shown(workspace: Workspace) -> str:
    """The page's text without its figures, which take most of the time."""
    loop = loops.read(workspace)
    drawings = {name: Drawing(name, "<svg></svg>", b"") for name in FIGURES}
    return text_of(page.render(loop, bill.lines(loop.rounds), kinds.of(loop).quality(loop), drawings))


def test_headline_is_r2_and_no_percentage(source: str) -> None:
    assert "<h1>R² 0.731 for 18 labels and" in source
    assert "<title>test: R² 0.731 for" in source
    assert "Held-out R² 0.7312 40 items; 95 % interval" in text_of(source)


def test_nothing_of_classes_is_told(source: str) -> None:
    told = re.sub(r"<style\b.*?</style>", "", source.partition('id="config"')[0], flags=re.S).lower()
    # As a word; the attribute `class` is HTML.
    assert not re.findall(r"accurac|confus|reliab|calibration error|\bece\b|by class", told)


def test_rounds_have_r2_its_gain_and_errors_in_the_unit(source: str) -> None:
    told = text_of(source)
    assert "round labels R² gain RMSE MAE NLL USD device time" in told
    assert "001 12 0.5000 +1.1000 7.071 5.657 -0.250" in told
    assert "are in the unit of price" in told


def test_figures_lie_beside_the_page(workspace: Workspace, source: str) -> None:
    names = {path.name for path in (workspace.root / "out").iterdir()}
    assert names == {"report.html"} | {f"{name}.png" for name in FIGURES}
    for name in FIGURES:
        assert f'id="{name}-figure_1"' in source


def test_equal_files_give_equal_bytes(workspace: Workspace, source: str, tmp_path: Path) -> None:
    write(workspace, tmp_path / "again")
    assert snapshot(tmp_path / "again") == snapshot(workspace.root / "out")


def test_coverage_and_largest_errors_are_those_of_the_predictions(workspace: Workspace, source: str) -> None:
    error, std = map(np.array, errors())
    told = text_of(source)
    for deviations, nominal in ((1, "68.3"), (2, "95.4"), (3, "99.7")):
        share = 100 * float(np.mean(np.abs(error) <= deviations * std))
        assert f"± {deviations} std {nominal} % {share:.1f} %" in told
    worst = int(np.abs(error).argmax())
    assert f"in std t/{worst:04d} {words.number(100 + worst)} {words.number(100 + worst + error[worst])}" in told


def test_without_predictions_the_measures_are_told(tmp_path: Path) -> None:
    made = write_loop(tmp_path / "w", [0.25])
    told = shown(made)
    assert "R² 0.2500, root mean squared error 8.660" in told
    assert "The predictions of single items were not kept" in told
    assert "interval" not in told.partition("The bill")[0]


def test_predictions_of_other_items_are_refused(tmp_path: Path) -> None:
    made = write_loop(tmp_path / "w", [0.25])
    write_predictions(made, 0, [0.0] * 3, [1.0] * 3)
    with pytest.raises(DataError, match=r"not of the held-out items"):
        kinds.of(loops.read(made)).quality(loops.read(made))


def test_metrics_of_classes_are_refused(tmp_path: Path) -> None:
    made = write_loop(tmp_path / "w", [0.25])
    files.write_json(made.round_dir(0) / "metrics.json", {"labels": 6, "r2": 0.5, "mae": 1.0, "nll": 1.0})
    with pytest.raises(DataError, match=r"metrics\.json: has no rmse"):
        loops.read(made)


def test_many_items_are_drawn_as_a_density(tmp_path: Path) -> None:
    made = write_loop(tmp_path / "w", [0.5])
    random, count = np.random.default_rng(2), 2000
    label = random.standard_normal(count)
    items = Items(
        tuple(map(str, range(count))), label, label + 0.3 * random.standard_normal(count), np.full(count, 0.3)
    )
    loop = loops.read(made)
    found = quality_numbers.NumberQuality(0, 0.9, 0.3, 0.2, 0.1, items, 1)
    predicted = next(one for one in kinds.of(loop).drawings(loop, found) if one.name == "predicted")
    assert len(predicted.svg) < 300_000
    assert "fill-opacity" in predicted.svg


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(0.1, 9)), min_size=1, max_size=30), st.floats(0, 5))
def test_share_within_is_counted(pairs: list[tuple[float, float]], deviations: float) -> None:
    error, std = (np.array(column) for column in zip(*pairs, strict=True))
    items = Items(("",) * len(pairs), np.zeros(len(pairs)), error, std)
    expected = sum(abs(one) / other <= deviations for one, other in pairs) / len(pairs)
    assert items.within([deviations]).tolist() == pytest.approx([expected])


def test_interval_by_the_bootstrap_holds_r2_and_shrinks_with_items() -> None:
    random, widths = np.random.default_rng(4), []
    for count in (50, 5000):
        label = 2000 + 10 * random.standard_normal(count)
        items = Items(("",) * count, label, label + 5 * random.standard_normal(count), np.full(count, 5.0))
        value = r2(np.stack([items.mean, np.zeros(count)], axis=1), label)
        low, high = quality_numbers.interval(quality_numbers.NumberQuality(0, value, 5, 4, 3, items, 1)) or (0, 0)
        assert low < value < high
        widths.append(high - low)
    assert widths[1] == pytest.approx(widths[0] / 10, rel=0.5)


def test_there_is_no_interval_for_means_of_trainings() -> None:
    items = Items(("",) * 20, np.arange(20.0), np.arange(20.0) + 1, np.ones(20))
    assert quality_numbers.interval(quality_numbers.NumberQuality(0, 0.9, 1, 1, 1, items, 3)) is None
    assert quality_numbers.interval(quality_numbers.NumberQuality(0, 0.9, 1, 1, 1, None, 1)) is None


def test_target_is_told_as_text(tmp_path: Path) -> None:
    made = write_loop(tmp_path / "w", [0.5])
    evil = '"><script>alert(1)</script>'
    files.write_json(made.pool / "pool.json", files.read_json(made.pool / "pool.json") | {"target": evil})
    write_predictions(made, 0, [0.5] * HELD_OUT, [1.0] * HELD_OUT)
    source = write(made, tmp_path / "out")[0].read_text()
    assert "<script" not in source
    assert "&lt;script" in source


def test_open_and_negative_rounds_are_told(tmp_path: Path) -> None:
    made = write_loop(tmp_path / "w", [-3.0])
    write_round(made, 1, -2.0, "continue")
    write_pool(made)
    assert "R² -2.000 for 12 labels" in shown(made)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (12.5, "12.50"),
        (1998.4, "1998"),
        (234567.8, "234,568"),
        (-0.01234, f"{MINUS}0.01234"),
        (1e-9, f"1.000e{MINUS}09"),
    ],
)
def test_numbers_in_a_unit_have_four_digits_that_tell(value: float, text: str) -> None:
    assert words.number(value) == text


def test_scores_and_gains_are_told_as_their_metric_is() -> None:
    gap = "\N{NO-BREAK SPACE}"
    assert (words.score(0.9, of=ACCURACY), words.score(0.9, 2, of=R2)) == (f"90.0{gap}%", "0.9000")
    assert (words.gain(-0.02, of=ACCURACY), words.gain(-0.02, of=R2)) == (f"{MINUS}2.0", f"{MINUS}0.0200")
    assert words.gain(None, of=R2) == words.gain(float("nan"), of=R2) == words.NOTHING
