"""Selection via proxy: a cheap model is trained and scores in every round, the one that it selects for now and then."""

import dataclasses
import re
import shutil
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr

from flows import drive
from tasks import files, loop, registry, stages
from tasks.config import Config, parse
from tasks.config_train import ProxyTargetConfig
from tasks.cost import agreement as possible
from tasks.cost import forecast, ledger
from tasks.datasets.store import load_items
from tasks.errors import ConfigError, DataError
from tasks.history import history
from tasks.infer.dropout import has_dropout
from tasks.infer.scoring import score_items
from tasks.models import stored
from tasks.models.view import View, shape_at
from tasks.order import random_keys
from tasks.policy import target
from tasks.rounds import Workspace, decision, load_config, rounds, trains_target
from tasks.seeds import seed_sequence
from tasks.status import status
from tasks.target.agreement import agreement, share_taken
from tests.model_helpers import MODELS_AND_KINDS, named
from tests.pools import PRICES, column
from tests.test_loop import begin, finish, results

#: A linear proxy of a small network, on top of test_loop.QUICK.
PROXY = "proxy={train: {model: linear, epochs: 2}, agreement: 40, target: {every: 2}, ceiling: true}"
NET = ("train.model=ceal_cnn", "train.epochs=1")


def settings(**proxy: Any) -> dict[str, Any]:
    train = {"model": "ceal_cnn", "epochs": 4}
    return {"name": "t", "prices": PRICES, "train": train, "proxy": {"train": {"model": "linear"}} | proxy}


def proxied(**proxy: Any) -> Config:
    return parse(settings(**proxy), "test")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Three rounds with a target after the second and the third."""
    return finish(begin(tmp_path_factory.mktemp("proxied") / "w", *NET, PROXY))


def metrics(workspace: Workspace, round_: int) -> dict[str, Any]:
    return files.read_object(workspace.round_dir(round_) / "target" / "metrics.json")


# When it is due.


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=12),
    st.integers(1, 5) | st.none(),
    st.booleans(),
    st.data(),
)
def test_every_budget_asked_for_is_trained_on_once_and_so_is_the_end(
    sizes: list[int], every: int | None, end: bool, data: st.DataObject
) -> None:
    sums = list(accumulate(sizes))
    asked = data.draw(st.lists(st.sampled_from(sums), unique=True))
    wanted = ProxyTargetConfig(end=end, every=every, at=tuple(asked))
    last = len(sums) - 1
    trained = [
        sums[number]
        for number in range(len(sums))
        if target.due(wanted, sums[: number + 1], "stop" if number == last else "continue").value
    ]
    steps = [] if every is None else [sums[number] for number in range(every - 1, len(sums), every)]
    assert trained == sorted({*asked, *steps, *([sums[-1]] if end else [])})


@given(st.lists(st.integers(1, 9), min_size=1, max_size=9), st.integers(1, 100))
def test_a_budget_between_two_rounds_is_met_by_the_first_that_reaches_it(sizes: list[int], budget: int) -> None:
    sums = list(accumulate(sizes))
    wanted = ProxyTargetConfig(end=False, at=(budget,))
    trained = [total for number, total in enumerate(sums, 1) if target.due(wanted, sums[:number], "continue").value]
    assert trained == [total for total in sums if total >= budget][:1]


def test_the_rounds_of_an_attempt_that_is_given_up_get_no_target() -> None:
    wanted = ProxyTargetConfig(end=True, every=1, at=(10,))
    assert not target.due(wanted, [10], "restart").value
    assert target.due(wanted, [10], "continue").value


def test_the_decision_says_for_what_the_target_waits(done: Workspace) -> None:
    told = [(decision(done, number) or {})["target"] for number in rounds(done)]
    assert [one["value"] for one in told] == [False, True, True]
    assert told[0]["reason"] == "proxy.target: not before the loop's end or round 2 of the attempt"
    assert told[1]["reason"] == "proxy.target.every: round 2 of the attempt, and 2 is its step"
    assert told[2]["reason"] == "proxy.target.end: the loop has ended"


def test_without_a_proxy_nobody_speaks_of_a_target(tmp_path: Path) -> None:
    workspace = finish(begin(tmp_path / "w", "loop.rounds=1"))
    assert "target" not in (decision(workspace, 0) or {})
    assert not trains_target(workspace, 0)
    assert history(workspace)[0].target_accuracy is None


def test_a_target_is_trained_after_a_round_that_ends_the_second_attempt(tmp_path: Path) -> None:
    starts = ("seed=3", "policy.metric=accuracy", "policy.false_start={rounds: 1, loss_falls: 0.9, restarts: 1}")
    workspace = finish(begin(tmp_path / "w", *NET, PROXY, *starts, "proxy.target.every=1"))
    actions = [(decision(workspace, number) or {})["action"] for number in rounds(workspace)]
    assert actions == ["restart", "stop"]
    assert [trains_target(workspace, number) for number in rounds(workspace)] == [False, True]
    assert not (workspace.round_dir(0) / "target").exists()


# What a round holds.


def test_the_proxy_is_trained_in_every_round_and_scores(done: Workspace) -> None:
    for number in rounds(done):
        folder = done.round_dir(number)
        assert files.read_object(folder / "model.json")["model"] == "linear"
        assert (folder / "target").exists() == (number > 0)
    card = files.read_object(done.round_dir(2) / "target" / "model.json")
    assert card["model"] == "ceal_cnn"
    assert card["digest"] == files.digest(done.round_dir(2) / "target" / "model.safetensors")
    [scored] = files.read_table(done.round_dir(1) / "scores.parquet", ["model"])["model"].unique().to_pylist()
    assert scored == files.read_object(done.round_dir(1) / "model.json")["digest"]


def test_the_target_is_measured_on_the_held_out_set(done: Workspace) -> None:
    told = metrics(done, 1)
    held_out = files.count_rows(done.pool / "test.parquet")
    assert (told["labels"], told["train_items"], told["epochs"]) == (20, 20, 1)
    assert np.sum(told["confusion"]) == held_out
    assert column(done.round_dir(1) / "target" / "predictions.parquet", "set") == ["held_out"] * held_out


def test_the_ledger_counts_both_targets_and_every_pass(done: Workspace) -> None:
    used = files.read_object(done.round_dir(2) / "cost.json")["stages"]["target"]["used"]
    held_out = files.count_rows(done.pool / "test.parquet")
    assert used["record_epochs"] == 2 * 30
    # Two trainings, one evaluation, and 40 items scored by the proxy, the target and the target of the ceiling.
    assert used["forward_passes"] == 2 * 30 + held_out + 3 * 40
    assert used["items_scored"] == 0
    assert list(used["device_s"]) == ["cpu"]


def test_the_bill_has_the_target_under_training(done: Workspace) -> None:
    book = files.read_object(done.round_dir(1) / "cost.json")["stages"]
    money = [sum(book[name]["used"]["money"].values()) for name in ("train", "target")]
    outcomes = history(done)
    assert outcomes[1].bill.training - outcomes[0].bill.training == pytest.approx(sum(money), abs=2e-6)


def test_selection_seconds_are_those_of_the_proxy_alone(done: Workspace) -> None:
    books = [ledger.ledger(done.round_dir(number))["stages"] for number in rounds(done)]
    names = ("select", "train", "infer")
    own = [sum(book[name]["used"]["wall_s"] for name in names if name in book) for book in books]
    assert [outcome.selection_seconds for outcome in history(done)] == pytest.approx(list(accumulate(own)), abs=1e-3)


def test_the_history_and_the_status_know_the_target(done: Workspace) -> None:
    first, _, last = history(done)
    assert (first.target_accuracy, first.target) == (None, None)
    told = metrics(done, 2)
    assert last.target is not None
    assert last.target_accuracy == last.target.accuracy == told["accuracy"]
    assert last.target.proxy.spearman == told["agreement"]["spearman"]
    assert last.target.ceiling.overlap == told["agreement"]["ceiling"]["overlap"]
    assert last.accuracy == files.read_object(done.round_dir(2) / "metrics.json")["accuracy"]
    found = status(done)
    assert found["target_accuracy"] == found["rounds"][-1]["target_accuracy"] == told["accuracy"]
    assert "target_accuracy" in (done.root / "data" / "curve.csv").read_text().splitlines()[0].split(",")


def test_the_loop_goes_by_the_proxy_alone(done: Workspace, tmp_path: Path) -> None:
    other = finish(begin(tmp_path / "w", "train.model=linear", PROXY, "proxy.target={every: null, end: true}"))
    for name in ("selected.parquet", "labeled.parquet", "model.safetensors", "metrics.json"):
        assert (other.round_dir(2) / name).read_bytes() == (done.round_dir(2) / name).read_bytes()


def test_two_workspaces_get_the_same_bytes(done: Workspace, tmp_path: Path) -> None:
    assert results(finish(begin(tmp_path / "again", *NET, PROXY))) == results(done)


def test_a_target_that_is_cut_short_is_trained_again_and_billed_once(
    done: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "w"
    workspace = begin(root, *NET, PROXY)
    while (step := loop.next_step(workspace)) is not None and step.name != "target":
        loop.run(workspace, step)
    assert step == loop.Step("target", 1)
    with monkeypatch.context() as patch:
        patch.setattr("tasks.target.run.agreement", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            loop.run(workspace, step)
    assert ledger.entry(workspace.round_dir(1), "target") is None
    assert loop.next_step(workspace) == step
    assert loop.finished_rounds(workspace) == [0]
    assert results(finish(begin(root, *NET, PROXY))) == results(done)


# How far the models agree.


finite = st.floats(-1e6, 1e6, allow_subnormal=False).map(lambda value: round(value, 3))


@given(st.lists(st.tuples(finite, finite), min_size=2, max_size=40), st.data())
def test_agreement_is_that_of_scipy_and_of_counting(pairs: list[tuple[float, float]], data: st.DataObject) -> None:
    ours, theirs = (np.array(values) for values in zip(*pairs, strict=True))
    top = data.draw(st.integers(1, len(pairs)))
    found = agreement(ours, theirs, top)
    if np.ptp(ours) == 0 or np.ptp(theirs) == 0:
        assert (found.spearman, found.pearson) == (None, None)
    else:
        assert found.spearman == pytest.approx(spearmanr(ours, theirs).statistic, abs=1e-5)
        assert found.pearson == pytest.approx(pearsonr(ours, theirs).statistic, abs=1e-5)
    first = [
        {number for _, number in sorted((-value, number) for number, value in enumerate(values))[:top]}
        for values in (ours, theirs)
    ]
    assert found.overlap == (len(first[0] & first[1]) / top if top < len(pairs) else None)


def test_scores_that_are_not_finite_agree_with_nothing() -> None:
    found = agreement(np.array([1.0, np.inf]), np.array([1.0, 2.0]), 1)
    assert dataclasses.astuple(found) == (None, None, None)


@pytest.mark.parametrize(
    ("items", "bought", "unlabeled", "top"), [(40, 10, 100, 4), (40, 1, 1000, 1), (5, 50, 10, 5), (0, 10, 0, 0)]
)
def test_as_large_a_share_is_taken_as_the_round_bought(items: int, bought: int, unlabeled: int, top: int) -> None:
    assert share_taken(items, bought, unlabeled) == top


def test_the_agreement_is_that_of_the_stored_models(done: Workspace) -> None:
    ids = files.read_table(done.round_dir(1) / "unlabeled.parquet", ["id"])["id"].combine_chunks()
    keys = random_keys(ids, seed_sequence(load_config(done).seed, 0, "target"))
    chosen = sorted(ids.take(np.argsort(keys)[:40]).to_pylist())
    pool = load_items(done, "pool")
    scores = []
    for folder in (done.round_dir(1), done.round_dir(1) / "target"):
        models, view, _ = stored.read(folder, torch.device("cpu"))
        scores.append(score_items(models, view, pool.array, pool.rows(chosen), "entropy", 512).score)
    told = metrics(done, 1)["agreement"]
    assert (told["items"], told["top"], told["acquisition"], told["reason"]) == (40, 4, "entropy", None)
    found = dataclasses.asdict(agreement(scores[0], scores[1], 4))
    assert {name: told[name] for name in found} == pytest.approx(found, abs=1e-5)


def test_the_ceiling_is_another_targets_agreement(done: Workspace, tmp_path: Path) -> None:
    told = metrics(done, 1)["agreement"]
    assert -1 <= told["ceiling"]["spearman"] < 1
    assert told["ceiling"] != {name: told[name] for name in told["ceiling"]}
    without = finish(begin(tmp_path / "w", *NET, PROXY, "proxy.ceiling=false", "loop.rounds=2"))
    assert metrics(without, 1)["agreement"] == told | {"ceiling": None}


def test_a_loop_that_labels_its_whole_pool_has_nothing_to_compare_in_the_end(tmp_path: Path) -> None:
    whole = ("dataset.limit=20", "loop.rounds=2", "proxy.target.every=null")
    workspace = finish(begin(tmp_path / "w", *NET, PROXY, *whole))
    told = metrics(workspace, 1)["agreement"]
    assert (told["spearman"], told["ceiling"], told["top"]) == (None, None, 0)
    assert told["reason"] == "there are no items to compare the models on"
    assert ledger.ledger(workspace.round_dir(1))["stages"]["target"]["used"]["record_epochs"] == 20


def test_where_all_items_would_be_taken_there_is_no_overlap(tmp_path: Path) -> None:
    most = ("loop.query_size=60", "loop.rounds=2", "proxy.agreement=10")
    told = metrics(finish(begin(tmp_path / "w", *NET, PROXY, *most)), 1)["agreement"]
    assert (told["items"], told["top"], told["overlap"], told["ceiling"]["overlap"]) == (10, 10, None, None)
    assert told["spearman"] is not None
    assert "no overlap to tell" in told["reason"]


def test_what_only_the_proxy_can_be_asked_is_not_compared() -> None:
    asked = {"acquisition": "bald"}
    two = {"train": {"model": "linear", "members": 2}}
    alone = parse(settings(**two) | {"infer": asked, "train": {"model": "linear"}}, "test")
    assert "compares several predictions" in (possible.obstacle(alone) or "")
    assert possible.obstacle(parse(settings(**two) | {"infer": asked, "train": {"members": 2}}, "test")) is None
    dropping = settings(train={"model": "ceal_cnn"}) | {"infer": asked | {"passes": 3}}
    assert (possible.obstacle(parse(dropping, "test")), possible.passes(parse(dropping, "test"))) == (None, 3)
    learnt = {"train": {"model": "ceal_cnn", "loss_prediction": {}}}
    headless = settings(**learnt) | {"infer": {"acquisition": "learning_loss"}, "train": {"model": "linear"}}
    config = parse(headless | {"train": {"model": "ceal_cnn", "loss_prediction": None}}, "test")
    assert "train.loss_prediction" in (possible.obstacle(config) or "")


def test_which_models_have_dropout_is_known_by_name() -> None:
    for name, kind in MODELS_AND_KINDS:
        model, _ = named(name, kind, 10, (3, 224, 224) if name.endswith("_224") else (3, 32, 32), "meta")
        assert has_dropout(model) == (name in registry.WITH_DROPOUT)


# Smaller images for the proxy.


def test_images_are_averaged_down_after_normalisation() -> None:
    view = View(torch.device("cpu"), (0.5,), (0.25,), side=2)
    items = torch.arange(16, dtype=torch.uint8).reshape(1, 1, 4, 4) * 10
    expected = (items.float() / 255 - 0.5) / 0.25
    blocks = expected.reshape(1, 1, 2, 2, 2, 2).mean(dim=(3, 5))
    assert torch.allclose(view.normalised(items), blocks)


def test_a_side_that_the_items_do_not_have_is_refused() -> None:
    assert shape_at((3, 8, 8), None) == (3, 8, 8)
    assert shape_at((3, 8, 8), 5) == (3, 5, 5)
    with pytest.raises(ConfigError, match=r"proxy\.data\.image_size: 9 is more than the 8 pixels"):
        shape_at((3, 8, 8), 9)
    with pytest.raises(ConfigError, match=r"proxy\.data\.image_size: only square images"):
        shape_at((1, 4, 8), 2)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Two rounds whose proxy sees images of 3 x 3, and goes on from its former self."""
    warm = ("proxy.data.image_size=3", "policy.retrain=warm", "loop.rounds=2", "proxy.target.every=null")
    return finish(begin(tmp_path_factory.mktemp("small") / "w", *NET, PROXY, *warm))


def test_the_proxy_of_small_images_is_stored_with_their_side(small: Workspace) -> None:
    models, view, card = stored.read(small.round_dir(1), torch.device("cpu"))
    assert (card["shape"], card["side"], view.side) == ([1, 3, 3], 3, 3)
    assert sum(parameter.numel() for parameter in models[0].parameters()) == 10 * (9 + 1)
    _, whole, target_card = stored.read(small.round_dir(1) / "target", torch.device("cpu"))
    assert (target_card["shape"], whole.side) == ([1, 8, 8], None)
    assert "side" not in target_card
    assert metrics(small, 1)["agreement"]["spearman"] is not None


def test_the_proxy_goes_on_from_its_weights_and_the_target_does_not(small: Workspace) -> None:
    plan = files.read_object(small.round_dir(1) / "plan.json")
    assert plan["retrain"]["value"]["digest"] == files.digest(small.round_dir(0) / "model.safetensors")
    assert plan["proxy"]["value"] == {"model": "linear", "epochs": 2}


def test_the_weights_of_another_proxy_are_refused(small: Workspace, tmp_path: Path) -> None:
    card = files.read_object(small.round_dir(1) / "model.json")
    files.write_json(tmp_path / "model.json", card | {"shape": [1, 8, 8]})
    files.write_bytes(tmp_path / "model.safetensors", (small.round_dir(1) / "model.safetensors").read_bytes())
    with pytest.raises(DataError, match="does not load"):
        stored.read(tmp_path, torch.device("cpu"))


# What a configuration may say, and what is known beforehand.


def test_what_the_proxy_does_not_set_is_as_in_the_target() -> None:
    config = parse(settings() | {"train": {"epochs": 7, "lr": 0.5, "augment": {"flip": True}}}, "test")
    assert config.selecting.model == "linear"
    assert (config.selecting.epochs, config.selecting.lr, config.selecting.augment.flip) == (7, 0.5, True)


def test_a_loop_that_an_earlier_release_began_keeps_its_digests(done: Workspace, tmp_path: Path) -> None:
    workspace = Workspace(shutil.copytree(done.root, tmp_path / "w"))
    stored_ = files.read_json(workspace.loop_file)
    del stored_["config"]["proxy"]
    files.write_json(workspace.loop_file, stored_)
    keys = ("seed", "device", "dataset", "train")
    digest = files.digest_value({key: stored_["config"][key] for key in keys})
    assert stages.input_digests(workspace, stages.TRAIN, 0)["config"] == digest


@pytest.mark.parametrize(
    ("blocks", "key"),
    [
        ({"infer": {"acquisition": "bald"}}, "proxy.train.members"),
        ({"infer": {"acquisition": "learning_loss"}}, "proxy.train.loss_prediction"),
        ({"policy": {"stop": {"plateau": {}}}}, "proxy.train.validation"),
    ],
)
def test_what_the_proxy_lacks_is_asked_for_by_its_own_key(blocks: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=rf" {re.escape(key)}"):
        parse(settings() | blocks, "test")


@pytest.mark.parametrize(
    ("proxy", "message"),
    [
        ({"target": {"end": False}}, "the target would never be trained"),
        ({"agreement": 0, "ceiling": True}, "proxy.ceiling compares two targets"),
        ({"train": {"model": "linera"}}, "did you mean 'linear'"),
        ({"data": {"image_size": 0}}, "image_size"),
    ],
)
def test_impossible_proxies_are_refused(proxy: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(settings(**proxy), "test")


def test_a_stage_that_is_not_due_is_not_run(done: Workspace, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="stage target of round 000: no target is trained on its labels"):
        drive.single_stage(done, "target", 0)
    assert drive.single_stage(done, "target", 2) == "target 002: up to date"


def test_without_items_to_compare_the_proxy_is_not_asked(tmp_path: Path) -> None:
    workspace = finish(begin(tmp_path / "w", *NET, PROXY, "proxy.agreement=0", "proxy.ceiling=false", "loop.rounds=1"))
    assert metrics(workspace, 0)["agreement"]["items"] == 0
    used = ledger.ledger(workspace.round_dir(0))["stages"]["target"]["used"]
    assert used["forward_passes"] == 10 + files.count_rows(workspace.pool / "test.parquet")


def test_rates_of_ones_own_have_to_know_the_target() -> None:
    own = {"record_epoch": 1e-3, "forward_pass": 1e-4}
    with pytest.raises(ConfigError, match="set target_record_epoch and target_forward_pass"):
        parse(settings() | {"rates": own}, "test")
    both = own | {"target_record_epoch": 1e-2, "target_forward_pass": 1e-3}
    assert parse(settings() | {"rates": both}, "test").rates is not None
    with pytest.raises(ConfigError, match="there is no proxy"):
        parse({"name": "t", "prices": PRICES, "rates": both}, "test")


def test_the_forecast_of_a_target_grows_with_what_it_is_compared_on() -> None:
    config = proxied(agreement=100, ceiling=True)
    work = forecast.targeted(config, labeled=30, unlabeled=50, held_out=7)
    assert work.target_record_epochs == 2 * 30 * 4
    assert work.proxy_passes == 50
    assert work.target_passes == 2 * 30 * 4 + 7 + 3 * 50
    alone = forecast.targeted(config, labeled=30, unlabeled=0, held_out=7)
    assert (alone.target_record_epochs, alone.target_passes) == (120, 127)
