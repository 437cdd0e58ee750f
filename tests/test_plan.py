"""`frugal plan`, its calibration, and the alternatives that it compares."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

from flows.cli import main
from tasks import config as configs
from tasks import files
from tasks.config import Config, parse
from tasks.config_train import TrainConfig
from tasks.cost import calibration, machine
from tasks.cost.rates import Rates
from tasks.datasets.texts import Texts
from tasks.errors import DataError
from tasks.forecast import calibrate
from tasks.forecast import plan as plans
from tasks.forecast.alternatives import Alternative, alternatives
from tasks.forecast.sizes import Sizes, sizes
from tasks.models.trial import Trial
from tasks.rounds import Workspace, begin, held, load_config
from tasks.task_type import Classification, Regression
from tasks.train.examples import Examples
from tests.pools import PRICES, snapshot

RATES = Rates("cpu", record_epoch=1e-3, forward_pass=1e-4, stage=0.1)
SIZES = Sizes((1, 8, 8), 10, 1_000, 200)
#: Nothing is timed with rates of one's own.
OWN = {"record_epoch": 1e-3, "forward_pass": 1e-4, "stage": 0.1}
DIGITS = """\
name: small
device: cpu
dataset: {name: digits, limit: 300}
loop: {rounds: 3, initial: 20, query_size: 10}
train: {model: linear, epochs: 2}
"""


def small(**blocks: Any) -> Config:
    values: dict[str, Any] = {
        "name": "small",
        "device": "cpu",
        "loop": {"rounds": 4, "initial": 100, "query_size": 50},
        "train": {"model": "linear", "epochs": 2},
        "prices": PRICES,
    }
    return parse(values | blocks, "test")


@pytest.fixture
def ready(tmp_path: Path) -> Workspace:
    """A workspace with one configuration, in which no loop has begun."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "conf" / "small.yaml").write_text(DIGITS)
    (tmp_path / "conf" / "prices.yaml").write_text(json.dumps(PRICES))
    return Workspace(tmp_path)


def frugal(workspace: Workspace, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["plan", *arguments, "-w", str(workspace.root)])


def told(workspace: Workspace, *arguments: str) -> dict[str, Any]:
    result = frugal(workspace, *arguments, "--json", *(f"rates.{key}={value}" for key, value in OWN.items()))
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_the_sum_of_the_rounds_is_the_whole() -> None:
    plan = plans.plan(small(), SIZES, RATES)
    assert plan.exact
    assert [row.labels for row in plan.rounds] == [100, 150, 200, 250]
    for unit in ("labels", "record_epochs", "train_passes", "items_scored", "infer_passes"):
        assert getattr(plan.total.work, unit) == sum(getattr(row.work, unit) for row in plan.rounds)
    assert plan.total.work.record_epochs == 2 * 700
    assert plan.total.work.items_scored == 900 + 850 + 800
    assert plan.total.money == pytest.approx(sum(row.money for row in plan.rounds), abs=1e-5)
    assert plan.total.bill.labels == pytest.approx(250 * 0.05)
    assert plan.total.wall_hours - plan.total.device_hours == pytest.approx(15 * 0.1 / 3600)


def test_what_is_not_exact_is_noted_once() -> None:
    plan = plans.plan(small(train={"model": "linear", "validation": 0.2}), SIZES, RATES)
    assert not plan.exact
    assert len(plan.notes) == 1
    assert "train.validation" in plan.notes[0]


def test_alternatives_buy_the_same_labels() -> None:
    found = alternatives(small(), SIZES, RATES)
    assert {one.plan.total.labels for one in found} == {250}
    assert [one.name for one in found if one.lever == "loop size"] == [
        "25 a round",
        "50 a round",
        "100 a round",
        "one shot",
    ]
    assert {one.lever for one in found} == {"loop size", "retrain", "scope"}


def by_name(found: list[Alternative]) -> dict[str, plans.Row]:
    return {one.name: one.plan.total for one in found}


def test_each_lever_saves_what_it_is_for() -> None:
    total = by_name(alternatives(small(), SIZES, RATES))
    records = {name: row.work.record_epochs for name, row in total.items()}
    assert records["25 a round"] > records["50 a round"] > records["100 a round"] > records["one shot"] == 500
    assert records["resume"] < records["warm"] == records["scratch"]
    # A tenth of what is left, after a first pass over the whole pool.
    assert total["10% candidates"].work.items_scored == 900 + 85 + 80
    assert total["none (random)"].work.items_scored == 0
    assert total["full"].work.items_scored == total["50 a round"].work.items_scored


@pytest.mark.parametrize(
    "blocks",
    [
        {"policy": {"query_size": "schedule"}},
        {"train": {"model": "linear", "repeats": 3}},
        {"select": {"strategy": "random"}},
        {"infer": {"scope": ["candidates"], "candidates": {"size": 40}, "passes": 4, "first_passes": 2}},
        {"infer": {"scope": ["candidates"], "candidates": {"size": 40}}, "policy": {"scope": "adaptive"}},
        {"policy": {"stop": {"budget": {"labels": 120, "money": 7.0}}}},
        {"policy": {"stop": {"any": {"any": {"budget": {"labels": 120}}}, "rounds": {"at_least": 3}}}},
        {"loop": {"rounds": 1, "initial": 100}},
    ],
    ids=["schedule", "repeats", "random", "first_passes", "adaptive", "budget", "nested budget", "one round"],
)
def test_every_configuration_has_alternatives(blocks: dict[str, Any]) -> None:
    found = alternatives(small(**blocks), SIZES, RATES)
    assert "one shot" in by_name(found)
    assert len({one.plan.total.labels for one in found}) == 1


def test_own_rates_come_first_and_nothing_is_timed(ready: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small(rates=OWN)
    calibration.store(ready, config, 1_000, Rates("cpu", 9.0, 9.0))
    assert calibration.load(ready, config, 1_000) == RATES


def test_measured_rates_hold_for_the_same_settings_only(ready: Workspace) -> None:
    config = small()
    assert calibration.load(ready, config, 1_000) is None
    calibration.store(ready, config, 1_000, RATES)
    assert calibration.load(ready, config, 1_000) == RATES
    other = small(train={"model": "linear", "epochs": 9, "lr": 0.5}, seed=7)
    assert calibration.load(ready, other, 1_000) == RATES
    assert calibration.load(ready, config, 1_001) is None
    for other in (
        {"train": {"model": "ceal_cnn", "epochs": 2}},
        {"train": {"model": "linear", "epochs": 2, "batch_size": 8}},
        {"infer": {"passes": 2}},
        {"dataset": {"name": "mnist"}},
        {"device": "cuda"},
    ):
        assert calibration.load(ready, small(**other), 1_000) is None


def test_what_a_former_release_measured_holds_without_the_keys_of_this_one(ready: Workspace) -> None:
    train = calibration.settings(small(), 1_000)["train"]
    assert train.keys() == {"model", "batch_size", "optimizer", "augment", "precision", "channels_last", "compile"}
    calibration.store(ready, small(), 1_000, RATES)
    learnt = small(train={"model": "ceal_cnn", "loss_prediction": {}})
    assert "loss_prediction" in calibration.settings(learnt, 1_000)["train"]
    assert calibration.load(ready, learnt, 1_000) is None
    found = calibration.settings(small(), 1_000)
    assert found["dataset"].keys() == {"name", "classes", "image_size", "channels", "label"}
    assert "task" not in found


@pytest.mark.parametrize(
    ("model", "others"), [("mlp", {"mlp"}), ("fasttext", {"fasttext"}), ("vdcnn29", {"vdcnn"}), ("linear", set())]
)
def test_rates_hold_for_the_models_own_settings_alone(model: str, others: set[str]) -> None:
    train = calibration.settings(small(train={"model": model}), 1_000)["train"]
    assert train.keys() & {"mlp", "fasttext", "vdcnn"} == others


def test_rates_of_another_machine_do_not_hold(ready: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    calibration.store(ready, small(), 1_000, RATES)
    monkeypatch.setenv("OMP_NUM_THREADS", "77")
    assert calibration.load(ready, small(), 1_000) is None


@pytest.mark.parametrize(("part", "other"), [("node", "elsewhere"), ("_processor", "faster")])
def test_rates_of_another_host_or_processor_do_not_hold(
    ready: Workspace, monkeypatch: pytest.MonkeyPatch, part: str, other: str
) -> None:
    calibration.store(ready, small(), 1_000, RATES)
    monkeypatch.setattr(machine.platform if part == "node" else machine, part, lambda: other)
    assert calibration.load(ready, small(), 1_000) is None


def test_rates_hold_for_the_device_that_auto_stands_for(ready: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    auto = small(device="auto")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    calibration.store(ready, auto, 1_000, RATES)
    assert calibration.load(ready, auto, 1_000) == calibration.load(ready, small(), 1_000) == RATES
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    assert calibration.load(ready, auto, 1_000) is None


def test_what_is_planned_beside_a_loop_takes_its_rates_from_nobody(workspace: Workspace) -> None:
    loop, pool = load_config(workspace), 60
    calibration.store(workspace, loop, pool, RATES)
    plans_ = [configs.override(loop, (f"train.batch_size={size}",), "test") for size in range(1, 41)]
    for number, planned in enumerate(plans_):
        calibration.store(workspace, planned, pool, Rates("cpu", 1.0 + number, 1.0))
    assert calibration.load(workspace, loop, pool) == RATES
    known = [calibration.load(workspace, planned, pool) for planned in plans_]
    assert [rates is not None for rates in known] == [False] * 24 + [True] * 16
    assert known[-1] == Rates("cpu", 40.0, 1.0)
    assert len(files.read_json(calibration.file(workspace))["measured"]) == 17


def test_measuring_again_replaces_what_was_measured_for_the_same_settings(ready: Workspace) -> None:
    for rates in (Rates("cpu", 9.0, 9.0), RATES):
        calibration.store(ready, small(), 1_000, rates)
    assert calibration.load(ready, small(), 1_000) == RATES
    assert len(files.read_json(calibration.file(ready))["measured"]) == 1


def test_the_calibration_of_a_former_release_counts_for_nothing(ready: Workspace) -> None:
    files.write_json(calibration.file(ready), {"rates": {"device": "cpu"}, "settings": {}})
    assert calibration.load(ready, small(), 1_000) is None
    calibration.store(ready, small(), 1_000, RATES)
    assert calibration.load(ready, small(), 1_000) == RATES


def test_a_damaged_calibration_is_told(ready: Workspace) -> None:
    calibration.file(ready).write_text("{")
    with pytest.raises(DataError, match=r"calibration\.json"):
        calibration.load(ready, small(), 1_000)


def test_real_steps_are_timed_and_no_random_number_is_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate, "_ENOUGH_S", 0.01)
    state = torch.random.get_rng_state()
    rates = calibrate.measure(small(), SIZES)
    assert rates.device == "cpu"
    assert min(rates.record_epoch, rates.forward_pass, rates.stage) > 0
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    "blocks",
    [
        {"select": {"strategy": "random"}},
        {"infer": {"acquisition": "predictive_std", "passes": 3}},
        {"proxy": {"train": {"model": "linear"}}, "infer": {"acquisition": "total_std"}},
    ],
)
def test_models_of_numbers_are_timed(monkeypatch: pytest.MonkeyPatch, blocks: dict[str, Any]) -> None:
    monkeypatch.setattr(calibrate, "_ENOUGH_S", 0.01)
    sizes = Sizes((5,), 2, 1_000, 100, Regression("y"), Trial("numbers", (5,)))
    rates = calibrate.measure(small(task="regression", train={"model": "mlp"}, **blocks), sizes)
    assert min(rates.record_epoch, rates.forward_pass, rates.stage) > 0


@pytest.mark.parametrize("model", ["fasttext", "vdcnn9"])
def test_models_of_texts_are_timed(monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    monkeypatch.setattr(calibrate, "_ENOUGH_S", 0.01)
    loop, train = {"rounds": 1, "initial": 4, "query_size": 1}, {"model": model, "optimizer": "sgd", "momentum": 0.0}
    task, texts = Classification(("neg", "pos")), Texts.of(["a fine day", "", "no, not again"])
    config = small(train=train | {"vdcnn": {"length": 60}}, loop=loop, infer={"batch_size": 2})
    rates = calibrate.measure(config, Sizes((), 2, 10, 4, task, Trial("texts", (), texts)))
    assert min(rates.record_epoch, rates.forward_pass, rates.stage) > 0


class Clock:
    """A machine on which everything takes a known time: 2 s a training and 3 ms a record-epoch, 1 ms a pass."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.settings: list[TrainConfig] = []
        self.passes: set[int] = set()
        monkeypatch.setattr(calibrate, "fit", self.fit)
        monkeypatch.setattr(calibrate, "score_items", self.score_items)
        monkeypatch.setattr(calibrate, "_seconds", self.seconds)
        monkeypatch.setattr(calibrate, "_files", lambda pool: 0.25)

    def fit(self, build: Any, train: Examples, validation: None, settings: TrainConfig, view: Any, seed: int) -> None:
        self.settings.append(settings)
        self.now += 2 + 0.003 * len(train) * settings.epochs

    def score_items(
        self, models: list[Any], view: Any, items: Any, rows: Any, acquisition: str, batch_size: int, passes: int
    ) -> None:
        self.passes.add(passes)
        self.now += 0.001 * len(rows) * len(models) * passes

    def seconds(self, device: torch.device, work: Callable[[], None]) -> float:
        before = self.now
        work()
        return self.now - before


def test_rates_are_seconds_of_a_unit_and_what_does_not_grow_is_of_the_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    train = {"model": "ceal_cnn", "batch_size": 16, "members": 2}
    rates = calibrate.measure(small(train=train, infer={"passes": 5}), SIZES)
    assert rates.record_epoch == pytest.approx(0.003)
    assert rates.forward_pass == pytest.approx(0.001)
    assert rates.stage == pytest.approx(0.25 + 2 / 4)
    # TRAIN evaluates by plain passes, which take longer than those of which only the end is repeated.
    assert rates.evaluation == pytest.approx(0.001)
    assert clock.passes == {1, 5}
    assert {settings.batch_size for settings in clock.settings} == {16}


def test_the_target_of_a_proxy_is_timed_besides(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    proxy = {"train": {"model": "linear", "batch_size": 8}, "data": {"image_size": 4}}
    config = small(train={"model": "ceal_cnn", "batch_size": 16}, proxy=proxy)
    rates = calibrate.measure(config, SIZES)
    assert (rates.target_record_epoch, rates.target_forward_pass) == pytest.approx((0.003, 0.001))
    assert {(settings.model, settings.batch_size) for settings in clock.settings} == {("linear", 8), ("ceal_cnn", 16)}


def test_rates_hold_for_the_same_proxy_and_target_only(ready: Workspace) -> None:
    proxy = {"train": {"model": "linear"}}
    config = small(train={"model": "ceal_cnn"}, proxy=proxy)
    calibration.store(ready, config, 1_000, RATES)
    assert calibration.load(ready, config, 1_000) == RATES
    assert calibration.load(ready, small(train={"model": "ceal_cnn"}, proxy=proxy | {"ceiling": True}), 1_000) == RATES
    for other in (
        {"proxy": None},
        {"train": {"model": "ceal_cnn", "batch_size": 8}, "proxy": {"train": {"model": "linear", "batch_size": 64}}},
        {"proxy": proxy | {"data": {"image_size": 4}}},
    ):
        assert calibration.load(ready, small(**{"train": {"model": "ceal_cnn"}, "proxy": proxy} | other), 1_000) is None


def test_where_nothing_is_scored_a_plain_pass_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    rates = calibrate.measure(small(infer={"passes": 5}, select={"strategy": "random"}), SIZES)
    assert rates.evaluation is None
    assert clock.passes == {1}


def test_the_pool_of_a_loop_that_has_begun_is_not_opened_again(workspace: Workspace) -> None:
    info = files.read_json(workspace.pool / "pool.json") | {
        "dataset": "digits",
        "shape": [1, 8, 8],
        "dtype": "uint8",
        "mean": [0.5],
        "std": [0.2],
        "held_out": 7,
        "known_labels": 60,
        "digest": "0",
    }
    files.write_json(workspace.pool / "pool.json", info)
    assert sizes(workspace, parse({"name": "test", "prices": PRICES}, "test")) == Sizes((1, 8, 8), 3, 60, 7)


def test_the_command_tells_rounds_money_and_what_is_exact(ready: Workspace) -> None:
    own = [f"rates.{key}={value}" for key, value in OWN.items()]
    before = snapshot(ready.root)
    result = frugal(ready, "conf/small.yaml", "--compare", *own)
    assert result.exit_code == 0, result.output
    for words in ("forecast for a pool of 300", "are exact", "one shot", "shrink_perturb", "10% candidates"):
        assert words in result.output
    assert max(len(line) for line in result.output.splitlines() if "│" in line) <= 80
    assert snapshot(ready.root) == before


def test_json_holds_the_whole_plan(ready: Workspace) -> None:
    found = told(ready, "conf/small.yaml", "--compare")
    plan = found["plan"]
    assert [row["labels"] for row in plan["rounds"]] == [20, 30, 40]
    assert plan["exact"] is True
    assert plan["pool"] == 300
    assert plan["total"]["record_epochs"] == 180
    assert plan["total"]["money"]["labels"] == pytest.approx(2.0)
    assert {one["lever"] for one in found["alternatives"]} == {"loop size", "retrain", "scope"}


def test_the_plan_counts_the_targets_of_a_proxy_where_they_are_due(ready: Workspace) -> None:
    proxy = "proxy={train: {model: linear, epochs: 3}, agreement: 10, target: {at: [30]}}"
    own = ("rates.target_record_epoch=1e-2", "rates.target_forward_pass=1e-3")
    plan = told(ready, "conf/small.yaml", proxy, "train.model=ceal_cnn", *own)["plan"]
    assert plan["exact"] is True
    assert [row["target_record_epochs"] for row in plan["rounds"]] == [0, 30 * 2, 40 * 2]
    assert [row["record_epochs"] for row in plan["rounds"]] == [20 * 3, 30 * 3, 40 * 3]
    assert plan["rounds"][1]["money"]["training"] > 2 * plan["rounds"][0]["money"]["training"]


def test_a_target_makes_the_plan_an_upper_bound(ready: Workspace) -> None:
    found = told(ready, "conf/small.yaml", "policy.stop.target.accuracy=0.9", "policy.metric=accuracy")
    assert found["plan"]["exact"] is False
    assert any("at most" in note for note in found["plan"]["notes"])


def test_figures_are_written_where_asked(ready: Workspace, tmp_path: Path) -> None:
    found = told(ready, "conf/small.yaml", "--figures", str(tmp_path / "figures"))
    assert len(found["files"]) == 5
    assert all(Path(path).stat().st_size for path in found["files"])


def test_measured_rates_are_kept_and_used_again(ready: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate, "measure", lambda config, sizes: RATES)
    assert frugal(ready, "conf/small.yaml").exit_code == 0
    stored = files.read_json(calibration.file(ready))
    assert [entry["rates"]["record_epoch"] for entry in stored["measured"]] == [RATES.record_epoch]
    monkeypatch.setattr(calibrate, "measure", None)
    assert frugal(ready, "conf/small.yaml", "seed=3").exit_code == 0


def test_a_plan_in_a_busy_workspace_keeps_nothing(ready: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate, "measure", lambda config, sizes: RATES)
    from tasks import rounds

    with held(ready):
        # To the command it is another process that holds it.
        token = rounds._held.set(frozenset())
        result = frugal(ready, "conf/small.yaml")
        rounds._held.reset(token)
    assert result.exit_code == 0, result.output
    assert not calibration.file(ready).exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["conf/none.yaml"], "no such configuration file"),
        (["conf/small.yaml", "loop.round=3"], "did you mean"),
        (["conf/small.yaml", "loop.query_size=500"], "more than the pool's 300 items"),
        (["conf/small.yaml", "rates.record_epoch=0"], "rates.record_epoch"),
        (["conf/small.yaml", "--figures", "dvc.yaml"], "is a file"),
    ],
)
def test_wrong_input_gives_one_line_and_changes_nothing(
    ready: Workspace, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ready.root)
    before = snapshot(ready.root)
    own = [f"rates.{key}={value}" for key, value in OWN.items()]
    result = frugal(ready, arguments[0], *own, *arguments[1:])
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert snapshot(ready.root) == before


def test_without_a_configuration_it_is_the_loop_that_has_begun(ready: Workspace) -> None:
    begin(ready, configs.override(small(dataset={"name": "digits", "limit": 300}), ("name=begun",), "test"))
    assert told(ready)["plan"]["name"] == "begun"
    assert told(ready, "conf/small.yaml")["plan"]["name"] == "small"
