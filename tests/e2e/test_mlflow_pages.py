"""MLflow's own pages, as a person meets the record of two loops there."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from flows.init import init
from flows.record import tracking
from flows.record.catch_up import catch_up
from flows.start import start
from tasks import config, loop
from tasks.rounds import Workspace
from tests.e2e.browser import page, screenshot
from tests.mlflow_helpers import serving

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.server, pytest.mark.timeout(600)]

CONF = Path(__file__).parents[2] / "conf" / "digits.yaml"
#: The pages begin with models in mind that are trained, and without their assistant.
PREFERENCES = {
    "mlflow.workflowType_v1": '"machine_learning"',
    "mlflow.assistant.panelOpen_v1": "false",
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
}
#: Where the pictures of the docs are wanted, such as docs.
SCREENSHOTS = os.environ.get("FRUGAL_SCREENSHOTS")


@dataclass
class Record:
    """Two finished loops on one server, in one experiment."""

    uri: str
    experiment: str
    #: Ids of the loops' runs by their names.
    loops: dict[str, str]
    last: Workspace


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Record]:
    with serving(tmp_path_factory.mktemp("mlflow")) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", server.uri)
        last = [finished(tmp_path_factory.mktemp("w") / f"by-{size}", size) for size in (25, 50)][-1]
        client = tracking.connect(last)
        experiment = client.get_experiment_by_name("digits").experiment_id
        runs = client.search_runs([experiment], "tags.`frugal.kind` = 'loop'")
        yield Record(server.uri, experiment, {run.info.run_name: run.info.run_id for run in runs}, last)


def finished(root: Path, size: int) -> Workspace:
    """A loop to 200 labels whose rounds buy so many each."""
    init(root)
    rounds = 1 + 150 // size
    settings = config.load(CONF, (f"loop.query_size={size}", f"loop.rounds={rounds}", "device=cpu"))
    workspace = Workspace(root)
    start(workspace, settings)
    while (step := loop.next_step(workspace)) is not None:
        loop.run(workspace, step)
    catch_up(workspace, settings)
    return workspace


@pytest.fixture
def shown() -> "Iterator[Page]":
    with page(1400, 1000) as opened:
        sets = "".join(f"localStorage.setItem({name!r}, {value!r});" for name, value in PREFERENCES.items())
        opened.add_init_script(sets)
        yield opened


def keep(shown: "Page", name: str, tmp_path: Path) -> None:
    """A picture of the page, in the docs if they are to have a new one."""
    screenshot(shown, tmp_path / name)
    assert (tmp_path / name).stat().st_size < 200_000
    if SCREENSHOTS:
        shutil.copy(tmp_path / name, Path(SCREENSHOTS) / name)


def test_a_loops_run_says_what_came_of_it_and_leads_to_its_rounds(
    record: Record, shown: "Page", tmp_path: Path
) -> None:
    run = record.loops["entropy · 50 a round · seed 0"]
    shown.goto(f"{record.uri}/#/experiments/{record.experiment}/runs/{run}", wait_until="domcontentloaded")
    shown.get_by_text("After round 003: 200 labels, 97.").wait_for()
    for text in ("stop", "loop.rounds = 4 reached", "Data set digits, model ceal_cnn"):
        expect(shown.get_by_text(text).first).to_be_visible()
    for name in ("accuracy", "labels", "money", "device_hours"):
        expect(shown.get_by_role("link", name=name, exact=True)).to_be_visible()
    for number, labels in enumerate((50, 100, 150, 200)):
        expect(shown.get_by_role("link", name=f"round {number:03d} · {labels} labels · ")).to_be_visible()
    keep(shown, "mlflow-run.png", tmp_path)
    shown.get_by_role("link", name="round 003 · 200 labels · ").click()
    shown.get_by_text("Show more").first.click()
    shown.get_by_text("dvc repro -f -s --no-run-cache train@003").wait_for()
    for text in ("money for labels", "10.00 USD", "&& dvc checkout", "data/rounds/003/labeled.parquet"):
        expect(shown.get_by_text(text).first).to_be_visible()


def test_two_loops_are_compared_over_the_labels_that_they_bought(record: Record, shown: "Page", tmp_path: Path) -> None:
    assert set(record.loops) == {"entropy · 25 a round · seed 0", "entropy · 50 a round · seed 0"}
    shown.goto(
        f"{record.uri}/#/experiments/{record.experiment}/runs?compareRunsMode=CHART", wait_until="domcontentloaded"
    )
    shown.get_by_text("at a glance", exact=True).wait_for()
    for name in record.loops:
        expect(shown.get_by_role("link", name=name)).to_be_visible()
    panels = shown.locator(".js-plotly-plot")
    panels.nth(2).wait_for()
    for number, name in enumerate(("accuracy", "device_hours", "money")):
        expect(shown.get_by_text(f"at a glance/{name}", exact=True)).to_be_visible()
        steps = panels.nth(number).evaluate("plot => plot.data.map(line => Array.from(line.x))")
        # A line and its markers are drawn apart.
        assert {tuple(line) for line in steps} == {(50, 100, 150, 200), (50, 75, 100, 125, 150, 175, 200)}
    keep(shown, "mlflow-compare.png", tmp_path)


def test_the_champion_shows_its_signature_its_data_and_its_bill(record: Record, shown: "Page") -> None:
    client = tracking.connect(record.last)
    version = client.get_model_version_by_alias("digits", "champion").version
    shown.goto(f"{record.uri}/#/models/digits/versions/{version}", wait_until="domcontentloaded")
    shown.get_by_text("The model of round 003, what it was trained on and what it cost.").wait_for()
    for text in ("champion", "money", "10.00 USD", "data.labeled", "Inputs (1)", "Outputs (12)"):
        expect(shown.get_by_text(text).first).to_be_visible()
    shown.goto(f"{record.uri}/#/models/digits", wait_until="domcontentloaded")
    shown.get_by_text("champion").first.wait_for()
