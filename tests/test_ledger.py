from pathlib import Path

import pytest

from tasks import files, stages
from tasks.config import PricesConfig, parse
from tasks.cost import ledger
from tasks.cost.ledger import Usage
from tasks.errors import WorkspaceError
from tasks.history import history
from tasks.rounds import Workspace
from tests.pools import PRICES, write_plan

METRICS = {"accuracy": 0.5, "nll": 1.0, "ece": 0.1, "labels": 10}
RATES = parse({"name": "a", "prices": PRICES}, "test").prices


def test_money_is_labels_plus_device_hours() -> None:
    usage = Usage(labels=10, label_price=0.5, device_s={"cpu": 1800.0, "cuda": 3600.0})
    assert ledger.price(usage, RATES) == {"labels": 0.5, "compute": 2.6, "overhead": 0.0}


def test_time_of_a_stage_besides_its_device_is_billed_as_the_machines() -> None:
    usage = Usage(wall_s=7200.0, device_s={"cuda": 3600.0})
    assert ledger.price(usage, RATES)["overhead"] == RATES.device_hour["cpu"]


def test_device_without_a_price_is_free() -> None:
    free = PricesConfig(currency="USD", label=1.0, device_hour={})
    assert ledger.price(Usage(device_s={"cpu": 3600.0}), free)["compute"] == 0


def test_entries_of_other_stages_stay(tmp_path: Path) -> None:
    ledger.write_entry(tmp_path, "select", Usage(wall_s=1.0), RATES, {"a": "1"}, {"b": "2"})
    ledger.write_entry(tmp_path, "label", Usage(labels=3), RATES, {}, {})
    book = files.read_json(tmp_path / "cost.json")
    assert list(book["stages"]) == ["select", "label"]
    assert book["stages"]["select"]["inputs"] == {"a": "1"}


def test_meter_measures_time_and_memory() -> None:
    with ledger.metered() as usage:
        sum(range(200_000))
    assert usage.wall_s > 0
    assert usage.cpu_s > 0
    assert usage.peak_memory_mb > 10


@pytest.fixture
def opened(workspace: Workspace) -> Workspace:
    write_plan(workspace, 0, query_size=9)
    return workspace


def test_finished_stage_runs_no_second_time(opened: Workspace) -> None:
    assert stages.run(opened, stages.SELECT, 0)
    assert not stages.run(opened, stages.SELECT, 0)


def test_reproduced_stage_gives_the_same_bytes_and_the_same_bill(opened: Workspace) -> None:
    stages.run(opened, stages.SELECT, 0)
    folder = opened.round_dir(0)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "selected.parquet").unlink()
    assert stages.run(opened, stages.SELECT, 0)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_changed_input_makes_a_stage_stale(opened: Workspace) -> None:
    stages.run(opened, stages.SELECT, 0)
    write_plan(opened, 0, query_size=5)
    assert not stages.is_done(opened, stages.SELECT, 0)


def test_missing_input_is_named(opened: Workspace) -> None:
    (opened.pool / "oracle.parquet").unlink()
    with pytest.raises(WorkspaceError, match=r"oracle\.parquet: missing, and select of round 000 needs it"):
        stages.run(opened, stages.SELECT, 0)


def test_history_sums_the_bill_over_rounds(workspace: Workspace) -> None:
    for number in (0, 1):
        write_plan(workspace, number)
        folder = workspace.round_dir(number)
        ledger.write_entry(folder, "label", Usage(labels=10, label_price=0.5), RATES, {}, {})
        ledger.write_entry(
            folder, "train", Usage(record_epochs=100, device_s={"cpu": 3600.0}, wall_s=2.0), RATES, {}, {}
        )
        files.write_json(folder / "metrics.json", {**METRICS, "labels": 10 * number + 10})
    first, second = history(workspace)
    assert (first.labels, second.labels) == (10, 20)
    assert (second.money_labels, second.money_compute, second.money) == (1.0, 0.4, 1.4)
    assert (second.device_hours, second.record_epochs) == (2.0, 200)
    assert second.stage_seconds == {"label": 0.0, "train": 2.0}


def test_work_on_other_inputs_stays_on_the_bill_beside_the_new(workspace: Workspace) -> None:
    write_plan(workspace, 0)
    folder = workspace.round_dir(0)
    for digest, seconds in (("a", 3600.0), ("b", 1800.0), ("c", 1800.0)):
        ledger.write_entry(folder, "train", Usage(device_s={"cpu": seconds}), RATES, {"in": digest}, {})
    files.write_json(folder / "metrics.json", METRICS)
    assert history(workspace)[0].device_hours == 2.0


def test_outputs_that_came_out_otherwise_are_named(opened: Workspace) -> None:
    stages.run(opened, stages.SELECT, 0)
    assert stages.differing(opened, stages.SELECT, 0) == []
    (opened.round_dir(0) / "tasks.jsonl").write_text("other")
    assert stages.differing(opened, stages.SELECT, 0) == ["data/rounds/000/tasks.jsonl"]


def test_round_in_the_making_is_no_outcome(workspace: Workspace) -> None:
    write_plan(workspace, 0)
    ledger.write_entry(workspace.round_dir(0), "label", Usage(labels=10), RATES, {}, {})
    assert history(workspace) == []
