"""The report: what stands in it, that it stands alone, and that nothing in the data can change it."""

import base64
import io
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import binomtest

from flows.cli import main
from tasks import files
from tasks.cost.bill import Bill, of_round
from tasks.errors import ConfigError, DataError, WorkspaceError
from tasks.report import bill, decisions, forecast, page, quality, selection, words
from tasks.report import loop as loops
from tasks.report.drawing import COLOURS, Drawing
from tasks.report.loop import Round
from tasks.report.run import write
from tasks.rounds import Workspace
from tasks.task_type import class_scores
from tests.pools import PRICES, make_workspace, snapshot
from tests.report_helpers import (
    HELD_OUT,
    stages,
    used,
    write_ledger,
    write_loop,
    write_pool,
    write_predictions,
    write_round,
)
from tests.test_layers import packages

EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
#: The last of them only where predictions were kept.
FIGURES = ("accuracy-labels", "accuracy-money", "accuracy-device-hours", "bill", "device-seconds", "reliability")
VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """A page's tags with their attributes, its ids and its text; checks that every tag is closed."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.source = source
        self.feed(source)
        assert self.open == []

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def attributes(self, name: str) -> list[str]:
        return [value or "" for _, values in self.tags for key, value in values.items() if key == name]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A false start of two rounds, then four; a training run twice; forecasts, rules and predictions."""
    workspace = write_loop(tmp_path_factory.mktemp("rich") / "w", [0.3, 0.4, 0.6, 0.7, 0.8, 0.9], aborted=2)
    made = stages()
    made["train"]["discarded"] = [made["train"]["used"]]
    write_ledger(workspace, 3, made)
    amounts = {"labels": 6, "record_epochs": 100, "train_passes": 130, "items_scored": 44, "infer_passes": 40}
    exact = {**amounts, "exact": True, "why": [], "price": {"device_hours": 0.0005, "money": 0.3}}
    files.write_json(workspace.round_dir(4) / "forecast.json", exact)
    guess = {**amounts, "exact": False, "why": ["train.patience: training may end sooner"], "price": None}
    files.write_json(workspace.round_dir(3) / "forecast.json", guess)
    verdict = {"holds": True, "reason": "gained only 0.1 points", "numbers": {"gain": 0.001}}
    change(workspace.round_dir(5) / "decision.json", numbers={"rules": {"any.plateau": verdict}})
    change(workspace.round_dir(5) / "metrics.json", validation_accuracy=0.875)
    write_predictions(workspace, 5, [number % 3 for number in range(HELD_OUT)], [0.95] * HELD_OUT)
    return workspace


@pytest.fixture(scope="module")
def told(rich: Workspace) -> Page:
    return Page(write(rich, rich.root / "out")[0].read_text())


@pytest.fixture
def small(tmp_path: Path) -> Workspace:
    return write_loop(tmp_path / "w", [0.6, 0.9])


def shown(workspace: Workspace) -> Page:
    """The page without its figures, which take most of the time."""
    loop = loops.read(workspace)
    drawings = {name: Drawing(name, "<svg></svg>", b"") for name in FIGURES}
    return Page(page.render(loop, bill.lines(loop.rounds), quality.quality(loop), drawings))


def change(path: Path, **values: Any) -> None:
    files.write_json(path, files.read_json(path) | values)


def rounds_of(plans: list[dict[str, Any]]) -> list[Round]:
    return [Round(number, 0, False, plan, None, None, {}, None) for number, plan in enumerate(plans)]


def test_headline_tells_accuracy_labels_money_and_why_it_stopped(told: Page) -> None:
    assert "90.0\N{NO-BREAK SPACE}% accuracy for 24 labels (36 bought)" in told.source
    assert "The loop stopped after round 005: round 5. 2 attempts were made" in told.text


def test_page_loads_nothing_and_runs_nothing(told: Page) -> None:
    tags = {tag for tag, _ in told.tags}
    assert not tags & {"script", "iframe", "object", "embed", "form", "base"}
    assert all(source.startswith("data:image/") for source in told.attributes("src"))
    outside = [href for name in ("href", "xlink:href") for href in told.attributes(name) if not href.startswith("#")]
    assert outside == ["data:,"]
    assert "@import" not in told.source
    assert all(found.startswith("#") for found in re.findall(r"url\(([^)]*)\)", told.source))
    assert not [key for _, values in told.tags for key in values if key.startswith("on")]


def test_every_id_is_there_once_and_every_reference_leads_to_one(told: Page) -> None:
    ids = Counter(told.attributes("id"))
    assert [name for name, times in ids.items() if times > 1] == []
    leads = [href[1:] for name in ("href", "xlink:href") for href in told.attributes(name) if href.startswith("#")]
    leads += told.attributes("aria-labelledby") + re.findall(r"url\(#([^)]*)\)", told.source)
    assert len(leads) > 20
    assert set(leads) <= set(ids)


def test_pictures_tables_and_boxes_are_named_for_those_who_do_not_see_them(told: Page) -> None:
    images = [values for tag, values in told.tags if tag == "img"]
    assert images
    assert all(values["alt"] for values in images)
    boxes = [values for _, values in told.tags if values.get("role") in ("img", "region")]
    assert len(boxes) > 10
    assert all(values["aria-label"] for values in boxes)
    assert all("scope" in values for tag, values in told.tags if tag == "th")


def test_what_was_discarded_or_aborted_is_told_apart(told: Page, rich: Workspace) -> None:
    assert told.text.count("aborted") > 2
    lines = bill.lines(loops.read(rich).rounds)
    assert bill.money(line for line in lines if line.fate == "discarded") == 0.011
    # Two rounds of six labels, seven stages that took 0.011 each, as the last of the two was not scored.
    assert bill.money(line for line in lines if line.fate == "aborted") == pytest.approx(0.6 + 7 * 0.011)


def test_aborted_attempts_are_dashed_and_validation_is_drawn_where_measured(told: Page) -> None:
    drawing = told.source[told.source.index('id="accuracy-labels-figure_1"') :].partition("</svg>")[0]
    assert "stroke-dasharray" in drawing
    assert "aborted attempt" in drawing
    assert "validation" in drawing
    assert "var(--aborted)" in drawing
    assert "#868e97" not in drawing


def test_forecast_stands_beside_the_actual(told: Page) -> None:
    section = told.text[told.text.index("Forecast and actual What each round") :].partition("Every decision")[0]
    assert "as forecast" in section
    # 44 items were forecast where 40 were scored, though the plan was fixed.
    assert "44 (\N{MINUS SIGN}9 %)" in section
    assert '<span class="sub off">44' in told.source
    assert "about 44 (\N{MINUS SIGN}9 %)" in section
    assert "About: train.patience: training may end sooner." in section
    assert "no forecast" in section


def test_every_rule_is_heard(told: Page) -> None:
    assert "any.plateau holds : gained only 0.1 points (gain 0.001)" in told.text


def test_figures_lie_beside_the_page(rich: Workspace, told: Page) -> None:
    names = {path.name for path in (rich.root / "out").iterdir()}
    assert names == {"report.html"} | {f"{name}.png" for name in FIGURES}
    for name in FIGURES:
        with Image.open(rich.root / "out" / f"{name}.png") as image:
            assert image.width > 600


def test_equal_files_give_equal_bytes(small: Workspace, tmp_path: Path) -> None:
    write(small, tmp_path / "one")
    write(small, tmp_path / "other")
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "other")


def test_nothing_in_the_data_becomes_markup(tmp_path: Path) -> None:
    prices = {**PRICES, "currency": f"€ $x$ {EVIL} ##868e97"}
    workspace = write_loop(tmp_path / "w", [0.6, 0.9], classes=[EVIL, "</style>", "{{ 7 * 7 }}"], prices=prices)
    choice = {"value": {EVIL: [EVIL]}, "reason": EVIL, "numbers": {EVIL: EVIL}}
    change(workspace.round_dir(1) / "plan.json", **{EVIL: choice})
    rule = {"holds": False, "reason": EVIL, "numbers": {EVIL: [EVIL]}}
    told = {"action": "stop", "policy": EVIL, "reason": f"{EVIL}\ud800", "numbers": {"rules": {EVIL: rule}}}
    path = workspace.round_dir(1) / "decision.json"
    path.write_text(json.dumps({"round": 1, **told}))
    found = Page(write(workspace, tmp_path / "out")[0].read_text())
    assert "script" not in {tag for tag, _ in found.tags}
    assert all(source.startswith("data:image/") for source in found.attributes("src"))
    assert not [key for _, values in found.tags for key in values if key.startswith("on")]
    assert EVIL in found.text
    assert "{{ 7 * 7 }}" in found.text


def test_without_a_trained_round_there_is_nothing_to_report(workspace: Workspace, tmp_path: Path) -> None:
    write_pool(workspace, ["ant", "bee", "cat"])
    with pytest.raises(WorkspaceError, match="no round is trained yet"):
        write(workspace, tmp_path / "out")
    done = CliRunner().invoke(main, ["report", "-w", str(workspace.root)])
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
    assert not (workspace.root / "report").exists()


def test_command_writes_into_the_workspace_and_names_the_page_first(small: Workspace) -> None:
    done = CliRunner().invoke(main, ["report", "-w", str(small.root)])
    assert done.exit_code == 0
    paths = [Path(line) for line in done.stdout.splitlines()]
    assert paths[0] == small.root / "report" / "report.html"
    assert {path.name for path in paths} == {"report.html"} | {f"{name}.png" for name in FIGURES[:-1]}
    assert all(path.is_file() for path in paths)


def test_numbers_that_are_none_leave_gaps(small: Workspace, tmp_path: Path) -> None:
    path = small.round_dir(1) / "metrics.json"
    path.write_text(path.read_text().replace('"accuracy": 0.9', '"accuracy": NaN').replace("0.05", "NaN"))
    told = Page(write(small, tmp_path / "out")[0].read_text())
    assert "nan" not in told.text.lower()


def test_open_round_is_on_the_bill(small: Workspace) -> None:
    change(small.round_dir(1) / "decision.json", action="continue")
    write_round(small, 2, 0.9, 18, "continue")
    write_ledger(small, 2, {name: made for name, made in stages().items() if name in ("select", "label")})
    (small.round_dir(2) / "decision.json").unlink()
    loop = loops.read(small)
    assert page.standing(loop) == "The loop is under way: round 002 is open."
    assert [line.round for line in bill.lines(loop.rounds) if line.category == "labels"] == [0, 1, 2]
    assert len(selection.selection(loop).rounds) == 3


@given(st.lists(st.tuples(*[st.integers(0, 10**6)] * 6), min_size=1, max_size=4), st.booleans())
def test_lines_add_up_to_the_bill(amounts: list[tuple[int, ...]], aborted: bool) -> None:
    rounds = []
    for number, values in enumerate(amounts):
        made = stages()
        for (name, entry), value in zip(made.items(), values, strict=False):
            labels = value / 1e5 if name == "label" else 0.0
            entry["used"]["money"] = {"labels": labels, "compute": value / 1e6, "overhead": values[4] / 1e6}
        made["train"]["discarded"] = [made["infer"]["used"]]
        rounds.append(Round(number, 0, aborted, {}, None, None, made, None))
    lines = bill.lines(rounds)
    assert bill.money(lines) == pytest.approx(
        sum((of_round(round_.stages) for round_ in rounds), Bill()).total, abs=1e-6
    )
    assert {line.fate for line in lines} == ({"aborted"} if aborted else {"kept", "discarded"})


def test_choices_of_rounds_in_a_row_share_a_line() -> None:
    first, then = {"value": 50, "reason": "loop.initial"}, {"value": 50, "reason": "loop.query_size"}
    [runs] = decisions.choices(rounds_of([{"query_size": choice} for choice in (first, then, then, first)]))
    assert [(run.first, run.last, run.reason) for run in runs] == [
        (0, 0, "loop.initial"),
        (1, 2, "loop.query_size"),
        (3, 3, "loop.initial"),
    ]


Predicted = st.lists(st.tuples(st.floats(0.01, 1), st.booleans()), min_size=1, max_size=60)


@given(Predicted)
def test_bins_are_those_of_the_calibration_error(predicted: list[tuple[float, bool]]) -> None:
    confidence, right = (
        np.array([one for one, _ in predicted]),
        np.array([float(is_right) for _, is_right in predicted]),
    )
    found = quality.bins(confidence, right)
    assert sum(one.items for one in found) == len(predicted)
    error = sum(one.items / len(predicted) * abs(one.accuracy - one.confidence) for one in found)
    # Oracle: each item looks for its bin.
    expected = 0.0
    for number in range(class_scores.BINS):
        low, high = number / class_scores.BINS, (number + 1) / class_scores.BINS
        inside = [(one, is_right) for one, is_right in predicted if math.ceil(one * class_scores.BINS) - 1 == number]
        assert all(low - 1e-9 < one <= high + 1e-9 for one, _ in inside)
        expected += abs(sum(is_right - one for one, is_right in inside)) / len(predicted)
    assert error == pytest.approx(expected, abs=1e-9)


def test_bins_give_the_error_that_train_reports() -> None:
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(200, 4))
    logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    labels = generator.integers(0, 4, 200)
    found = quality.bins(np.exp(logs.max(axis=1)), (logs.argmax(axis=1) == labels).astype(float))
    error = sum(one.items / 200 * abs(one.accuracy - one.confidence) for one in found)
    assert error == pytest.approx(class_scores.ece(logs, labels))


@pytest.mark.parametrize("accuracy", [0.0, 0.5, 0.9, 1.0])
def test_interval_is_wilsons(tmp_path: Path, accuracy: float) -> None:
    workspace = write_loop(tmp_path / "w", [accuracy], classes=["ant", "bee"])
    right = accuracy * HELD_OUT
    change(workspace.round_dir(0) / "metrics.json", confusion=[[right, HELD_OUT - right], [0, 0]])
    found = quality.quality(loops.read(workspace))
    expected = binomtest(round(right), HELD_OUT).proportion_ci(method="wilson")
    assert quality.interval(found) == pytest.approx((expected.low, expected.high))


def test_worst_of_many_classes_come_first(tmp_path: Path) -> None:
    classes = [f"class {number}" for number in range(30)]
    workspace = write_loop(tmp_path / "w", [0.9], classes=classes)
    change(workspace.round_dir(0) / "metrics.json", confusion=(np.eye(30) + np.eye(30, k=1) * 2).tolist())
    loop = loops.read(workspace)
    found = quality.quality(loop)
    assert quality.mistakes(found, loop.classes, 2) == [("class 0", "class 1", 2.0), ("class 1", "class 2", 2.0)]
    assert found.by_class[0].taken_for == "class 1"
    assert found.by_class[29].accuracy == 1
    text = shown(workspace).text
    assert "The most frequent mistakes" in text
    assert "The 30 of 30 classes that are recognised worst" in text


def test_predictions_of_other_items_are_refused(small: Workspace) -> None:
    write_predictions(small, 1, [0] * 5, [0.5] * 5)
    with pytest.raises(DataError, match=r"predictions\.parquet: not of the held-out items"):
        quality.quality(loops.read(small))


def test_confusion_of_another_size_is_refused(small: Workspace) -> None:
    change(small.round_dir(1) / "metrics.json", confusion=[[1]])
    with pytest.raises(DataError, match=r"metrics\.json: its confusion is not 3 by 3"):
        quality.quality(loops.read(small))


def test_without_predictions_there_is_no_reliability_diagram(small: Workspace) -> None:
    assert "were not kept in this round" in shown(small).text


def test_thumbnails_show_the_selected_items_as_they_are(small: Workspace) -> None:
    [first, _] = selection.selection(loops.read(small)).rounds
    item = first.items[1]
    assert (item.id, item.rank, item.label, item.wrong, first.origins) == ("x/0001", 1, "ant", True, {"top-k": 6})
    assert item.said == "cat, 40\N{NO-BREAK SPACE}%"
    assert item.address is not None
    image = Image.open(io.BytesIO(base64.b64decode(item.address.partition(",")[2])))
    stored = np.load(next((small.raw / "arrays").iterdir()))
    assert (np.asarray(image) == stored[1].transpose(1, 2, 0)).all()


def test_large_images_are_shrunk(small: Workspace) -> None:
    path = next((small.raw / "arrays").iterdir())
    np.save(path, np.zeros((60, 3, 200, 100), np.uint8))
    change(small.pool / "pool.json", shape=[3, 200, 100])
    address = selection.selection(loops.read(small)).rounds[0].items[0].address
    assert address is not None
    assert address.startswith("data:image/jpeg;")
    assert Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).size == (32, 64)


@pytest.mark.parametrize("shape", [[5, 8, 8], [16]])
def test_items_that_are_no_images_are_listed(small: Workspace, shape: list[int]) -> None:
    np.save(next((small.raw / "arrays").iterdir()), np.zeros((60, *shape), np.uint8))
    change(small.pool / "pool.json", shape=shape)
    told = shown(small)
    assert told.attributes("src") == []
    assert "x/0003" in told.text


def test_data_set_that_is_gone_is_told_and_the_items_are_listed(small: Workspace) -> None:
    next((small.raw / "arrays").iterdir()).unlink()
    change(small.pool / "pool.json", shape=[1, 2, 3])
    told = shown(small)
    assert "The items themselves are not shown:" in told.text
    assert "x/0003" in told.text


def test_a_round_adds_little_to_the_page(tmp_path: Path) -> None:
    workspace = write_loop(tmp_path / "w", list(np.linspace(0.3, 0.9, 25)))
    told = shown(workspace)
    assert len(told.source) < 25 * 8192
    assert len(told.attributes("src")) == 25 * 6


def test_items_shown_are_bounded_by_the_rounds(small: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "MOST", 8)
    assert [len(one.items) for one in selection.selection(loops.read(small)).rounds] == [4, 4]
    monkeypatch.setattr(selection, "MOST", 1)
    assert [(one.round, len(one.items)) for one in selection.selection(loops.read(small)).rounds] == [(1, 1)]


def _compared(workspace: Workspace) -> list[forecast.Compared]:
    loop = loops.read(workspace)
    return forecast.compare(list(loop.rounds), loop.config)


@pytest.mark.parametrize("action", ["stop", "restart"])
def test_forecast_of_a_round_that_nothing_follows_leaves_its_scoring_out(small: Workspace, action: str) -> None:
    rates = {"device": "cpu", "record_epoch": 0.01, "forward_pass": 0.01, "stage": 2.0}
    foreseen = {"labels": 6, "record_epochs": 100, "train_passes": 130, "items_scored": 40, "infer_passes": 40}
    # Prices are 0.2 an hour: what INFER would have taken are 0.4 seconds of the device and 2 of overhead.
    price = {"device_hours": 1.7 / 3600, "money": 0.3 + 2.4 / 3600 * 0.2}
    files.write_json(
        small.round_dir(1) / "forecast.json", {**foreseen, "exact": True, "stages": 4, "rates": rates, "price": price}
    )
    change(small.round_dir(1) / "decision.json", action=action)
    last = _compared(small)[1]
    told = {pair.unit.name: (pair.actual, pair.forecast) for pair in last.pairs}
    assert last.unscored
    assert told["items scored"] == (0, 0)
    assert told["forward passes"] == (130, 130)
    assert told["device time"] == (1.25, pytest.approx(1.3))
    assert told["money"][1] == pytest.approx(0.3)
    files.write_json(small.round_dir(1) / "forecast.json", {**foreseen, "exact": True, "price": price})
    assert {pair.unit.name: pair.forecast for pair in _compared(small)[1].pairs}["money"] is None


def test_headline_counts_the_labels_that_the_model_learned_from(tmp_path: Path) -> None:
    workspace = write_loop(tmp_path / "w", [0.5, 0.6, 0.7], aborted=1)
    whole = Page(write(workspace, tmp_path / "out")[0].read_text())
    assert "accuracy for 12 labels (18 bought) and" in whole.text


def test_report_refuses_a_file_for_its_folder(small: Workspace, tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    with pytest.raises(ConfigError, match="is a file; name a folder for the page"):
        write(small, tmp_path / "f")


def test_forecast_pairs_counts_and_seconds_with_what_came(small: Workspace) -> None:
    foreseen = {"labels": 6, "record_epochs": 90, "train_passes": 130, "items_scored": 40, "infer_passes": 40}
    price = {"device_hours": 1, "money": 2}
    files.write_json(small.round_dir(0) / "forecast.json", {**foreseen, "exact": True, "price": price})
    first, last = _compared(small)
    assert {pair.unit.name: (pair.actual, pair.forecast) for pair in first.pairs} == {
        "labels": (6, 6),
        "record-epochs": (100, 90),
        "items scored": (40, 40),
        "forward passes": (170, 170),
        "device time": (1.75, 3600),
        "money": (pytest.approx(0.344), 2),
    }
    assert not last.has_forecast
    assert last.unscored


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (words.percent(0.98449), "98.4 %"),
        (words.percent(0.0001), "< 0.1 %"),
        (words.percent(0.0), "0.0 %"),
        (words.percent(math.nan), "–"),  # noqa: RUF001 - what is missing
        (words.points(-0.0101), "−1.0"),  # noqa: RUF001 - a minus sign
        (words.points(-0.00001), "+0.0"),
        (words.amount(1234.5), "1,234.50"),
        (words.amount(0.0000482), "0.000048"),
        (words.amount(0.05), "0.05"),
        (words.amount(0.0999), "0.10"),
        (words.amount(1e-9), "0.00"),
        (words.duration(0), "0.0 s"),
        (words.duration(0.0004), "< 0.1 s"),
        (words.duration(119.94), "119.9 s"),
        (words.duration(150), "2.5 min"),
        (words.duration(9000), "2.5 h"),
        (words.change(90, 100), "−10 %"),  # noqa: RUF001 - a minus sign
        (words.change(1001, 1000), "+0.1 %"),
        (words.change(90, 0), "–"),  # noqa: RUF001 - what is missing
        (words.value([{"a": None, "b": True}, 0.1 + 0.2]), "a none, b yes, 0.3"),
        (words.value("x" * 500), "x" * 399 + "…"),
    ],
)
def test_numbers_read_well(written: str, expected: str) -> None:
    assert written.replace("\N{NO-BREAK SPACE}", " ") == expected


Json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(Json)
def test_any_value_can_be_told_and_is_short(value: Any) -> None:
    assert len(words.value(value)) <= 400


@given(st.floats(-1e12, 1e12) | st.sampled_from([None, math.nan, math.inf]) | st.integers(-(10**9), 10**9))
def test_any_number_can_be_written(number: float | None) -> None:
    for write_ in (words.percent, words.points, words.count, words.amount, words.duration, words.decimal):
        assert set(write_(number)) <= set("0123456789.,+-<% sminh") | set("\N{NO-BREAK SPACE}\N{MINUS SIGN}\N{EN DASH}")


def colours(setting: str) -> dict[str, str]:
    """The variables of style.css in the light or the dark setting."""
    light, dark = re.findall(r":root \{(.*?)\}", Path("tasks/report/style.css").read_text(), re.DOTALL)
    return dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6});", light if setting == "light" else dark))


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize("setting", ["light", "dark"])
@pytest.mark.parametrize("colour", ["ink", "muted", "labels", "training", "inference", "selection"])
def test_text_stands_out_from_the_paper(setting: str, colour: str) -> None:
    found = colours(setting)
    darker, lighter = sorted((luminance(found[colour]), luminance(found["paper"])))
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5


def test_figures_have_the_colours_of_the_page() -> None:
    assert {name: colours("light")[name] for name in COLOURS} == COLOURS
    assert set(COLOURS) <= set(colours("dark"))


def others() -> Iterator[Path]:
    return (path for path in Path("tasks").rglob("*.py") if path.parent.name != "report")


def test_the_report_stands_above_all_else_in_tasks() -> None:
    assert [str(path) for path in others() if "report" in packages(path)] == []


def test_a_workspace_without_a_loop_is_refused(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "w")
    workspace.loop_file.unlink()
    with pytest.raises(WorkspaceError, match="no loop has begun"):
        write(workspace, tmp_path / "out")


def proxied(root: Path, forecast_: dict[str, Any] | None = None) -> Workspace:
    """A loop whose last round trained the target of a proxy."""
    block = {"train": {"model": "linear"}, "agreement": 12, "ceiling": True}
    workspace = write_loop(root, [0.5, 0.6], proxy=block)
    folder = workspace.round_dir(1)
    agreement = {"spearman": 0.71, "pearson": 0.62, "overlap": 0.25, "reason": None}
    told = agreement | {"ceiling": {"spearman": 0.93, "pearson": None, "overlap": 0.75}}
    files.write_json(
        folder / "target" / "metrics.json", {"accuracy": 0.8125, "nll": 0.4, "ece": 0.05, "agreement": told}
    )
    target = used(record_epochs=70, forward_passes=90, wall_s=600.0, device_s={"cpu": 590.0})
    book = stages(scored=False) | {"target": {"used": target, "inputs": {}, "outputs": {}}}
    write_ledger(workspace, 1, book)
    if forecast_ is not None:
        files.write_json(folder / "forecast.json", {"round": 1} | forecast_)
    return workspace


def test_proxy_and_target_stand_side_by_side(tmp_path: Path) -> None:
    told = Page(write(proxied(tmp_path / "w"), tmp_path / "out")[0].read_text())
    for words_ in ("Selection via proxy", "81.25 %", "0.710", "0.930", "0.620", "25.0 %", "75.0 %", "10.0 min"):
        assert words_ in told.text
    assert "60.0 % accuracy of the proxy, 81.2 % of its target" in told.text


def test_without_a_proxy_there_is_no_word_of_it(tmp_path: Path) -> None:
    told = Page(write(write_loop(tmp_path / "w", [0.5]), tmp_path / "out")[0].read_text())
    assert "proxy" not in told.attributes("id")


def test_a_target_that_nobody_foresaw_is_left_out_of_both_numbers(tmp_path: Path) -> None:
    counts = {"labels": 6, "record_epochs": 100, "train_passes": 130, "items_scored": 0, "infer_passes": 0}
    loop = loops.read(proxied(tmp_path / "a", counts | {"exact": True, "targets": 0}))
    compared = forecast.compare(list(loop.rounds), loop.config)[1]
    assert compared.unforeseen
    assert [(pair.actual, pair.forecast) for pair in compared.pairs[:4]] == [(6, 6), (100, 100), (0, 0), (130, 130)]
    foreseen = {"targets": 1, "target_record_epochs": 70, "target_passes": 90, "proxy_passes": 12}
    loop = loops.read(proxied(tmp_path / "b", counts | foreseen | {"exact": True}))
    compared = forecast.compare(list(loop.rounds), loop.config)[1]
    assert not compared.unforeseen
    assert [(pair.actual, pair.forecast) for pair in compared.pairs[:4]] == [(6, 6), (170, 170), (0, 0), (220, 220)]


def test_a_target_that_a_restart_prevented_is_left_out_of_the_forecast(tmp_path: Path) -> None:
    workspace = proxied(tmp_path / "w")
    rates = {"device": "cpu", "record_epoch": 1.0, "forward_pass": 1.0, "target_record_epoch": 36.0}
    counts = {"labels": 6, "record_epochs": 100, "train_passes": 130, "items_scored": 0, "infer_passes": 0}
    target = {"targets": 1, "target_record_epochs": 100, "target_passes": 100, "proxy_passes": 0}
    price = {"device_hours": 1.5, "money": 2.0}
    files.write_json(workspace.round_dir(0) / "forecast.json", counts | target | {"rates": rates, "price": price})
    loop = loops.read(workspace)
    pairs = {pair.unit.name: pair.forecast for pair in forecast.compare(list(loop.rounds), loop.config)[0].pairs}
    assert (pairs["record-epochs"], pairs["forward passes"]) == (100, 130)
    # A hundred record-epochs of 36 s are an hour, at 0.2 an hour.
    assert pairs["device time"] == pytest.approx(1800)
    assert pairs["money"] == pytest.approx(1.8)
