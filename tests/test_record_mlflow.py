"""Rounds as MLflow runs: once each, whenever we are killed, and caught up when the server was away."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flows.record import Summary, git, tracking, tracking_store, versions
from tasks import files
from tasks.errors import RecordError
from tasks.loop_id import loop_id
from tasks.rounds import Workspace, load_config
from tests.record_helpers import add_round, make_workspace

#: What the runs of the loop and of its rounds are called.
LOOP = "entropy · 50 a round · seed 7"
FIRST, SECOND = "round 000 · 20 labels · 50.0 %", "round 001 · 40 labels · 60.0 %"

SCRIPT = """
import sys
from pathlib import Path
from flows.record import tracking
from tasks.rounds import find_workspace
from tests.test_record_mlflow import summary
print("ready", flush=True)
tracking.record_round(find_workspace(Path(sys.argv[1])), 0, summary(0))
"""


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder with an empty database in it."""
    folder: Path = tmp_path_factory.mktemp("cache")
    users = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "frugal-loop"
    if users.is_dir():
        shutil.copytree(users, folder / "frugal-loop")
    return folder


@pytest.fixture(autouse=True)
def _own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(tracking, "_away", {})


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = make_workspace(tmp_path / "loop")
    add_round(made, 0)
    versions.commit(made, 0)
    git.commit_round(made, 0, "round 000")
    tracking.prepare(made)
    return made


def summary(round_: int) -> Summary:
    return Summary(
        labels=20 * (round_ + 1),
        money=1.5 * (round_ + 1),
        currency="USD",
        device_hours=0.25,
        metrics={"accuracy": 0.5 + round_ / 10, "nll": 1.0, "ece": 0.1},
        params={"query_size": 20, "reason": {"query_size": "fixed"}},
        history=[{"loss": 1.0}, {"loss": 0.5}, {"loss": 0.25}],
    )


def content(workspace: Workspace) -> dict[str, Any]:
    """Everything that MLflow holds of the loop's experiment, without ids and times."""
    client = tracking.connect(workspace)
    experiment = client.get_experiment_by_name(load_config(workspace).name)
    runs = client.search_runs([] if experiment is None else [experiment.experiment_id])
    found = {}
    for run in runs:
        history = {key: client.get_metric_history(run.info.run_id, key) for key in run.data.metrics}
        found[run.info.run_name] = {
            "points": {key: sorted((point.step, point.value) for point in points) for key, points in history.items()},
            "params": run.data.params,
            "tags": {key: value for key, value in run.data.tags.items() if key != "mlflow.parentRunId"},
            "artifacts": sorted(item.path for item in client.list_artifacts(run.info.run_id)),
            "datasets": {item.dataset.name: item.dataset.digest for item in run.inputs.dataset_inputs},
            "status": run.info.status,
        }
    assert len(found) == len(runs)
    return found


def test_a_round_has_a_run_below_the_loops(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "selected.png").write_bytes(b"png")
    tracking.record_round(workspace, 0, summary(0), gallery=tmp_path / "selected.png", flow_run_id="flow-1")
    client = tracking.connect(workspace)
    runs = {run.info.run_name: run for run in client.search_runs([client.get_experiment_by_name("fake").experiment_id])}
    assert runs.keys() == {LOOP, FIRST}
    loop, run = runs[LOOP], runs[FIRST]
    assert run.data.tags["mlflow.parentRunId"] == loop.info.run_id
    assert loop.data.params["train.model"] == "ceal_cnn"
    assert loop.info.status == "RUNNING"

    held = content(workspace)[FIRST]
    assert held["params"] == {"query_size": "20", "reason.query_size": "fixed"}
    assert held["points"]["epoch/loss"] == [(0, 1.0), (1, 0.5), (2, 0.25)]
    assert held["points"]["accuracy"] == [(20, 0.5)]
    assert held["tags"]["git_sha"] == git.head(workspace)
    assert held["tags"]["prefect.flow_run_id"] == "flow-1"
    assert len(held["tags"]["dvc_lock_md5"]) == 32
    names = ["cost.json", "decision.json", "metrics.json", "plan.json", "scores.parquet", "selected.parquet"]
    assert held["artifacts"] == sorted([*names, "selected.png"])
    digests = versions.md5s(workspace, 0)
    assert held["datasets"] == {name: digests[f"data/rounds/000/{name}.parquet"] for name in ("labeled", "unlabeled")}


def test_the_loops_run_is_the_learning_curve(workspace: Workspace) -> None:
    tracking.record_round(workspace, 0, summary(0))
    add_round(workspace, 1, last=True)
    tracking.record_round(workspace, 1, summary(1))
    points = content(workspace)[LOOP]["points"]
    assert points["accuracy"] == [(20, 0.5), (40, 0.6)]
    assert points["money"] == [(20, 1.5), (40, 3.0)]
    assert points["round"] == [(20, 0.0), (40, 1.0)]
    assert tracking.recorded_rounds(workspace) == {0, 1}


def test_again_adds_nothing(workspace: Workspace) -> None:
    tracking.record_round(workspace, 0, summary(0))
    before = content(workspace)
    tracking.record_round(workspace, 0, summary(0))
    assert content(workspace) == before


def test_an_incomplete_run_is_completed_without_doubles(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    undisturbed = make_workspace(tmp_path / "other")
    add_round(undisturbed, 0)
    versions.commit(undisturbed, 0)
    tracking.record_round(undisturbed, 0, summary(0))
    steps = ["create_run", "log_batch", "log_inputs", "log_artifact", "set_terminated", "set_tag"]
    for step in steps:
        with monkeypatch.context() as patched:

            def die(*_arguments: Any, **_options: Any) -> None:
                raise OSError("killed")

            patched.setattr(MlflowClient, step, die)
            with pytest.raises(RecordError, match="killed"):
                tracking.record_round(workspace, 0, summary(0))
        assert tracking.recorded_rounds(workspace) == set()
    tracking.record_round(workspace, 0, summary(0))

    def comparable(held: dict[str, Any]) -> dict[str, Any]:
        for run in held.values():
            for name in ("git_sha", "frugal.loop_id", "frugal.workspace", "mlflow.note.content"):
                run["tags"].pop(name, None)
        return held

    assert comparable(content(workspace)) == comparable(content(undisturbed))


def test_a_kill_at_any_instant_is_made_good_by_the_same_call(workspace: Workspace) -> None:
    for delay in (0.3, 0.6):
        command = [sys.executable, "-c", SCRIPT, str(workspace.root)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            before = (workspace.root / "mlflow.db").stat().st_mtime_ns
            while process.poll() is None and (workspace.root / "mlflow.db").stat().st_mtime_ns == before:
                time.sleep(0.002)
            time.sleep(delay / 4)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    tracking.record_round(workspace, 0, summary(0))
    held = content(workspace)
    assert held[FIRST]["points"]["epoch/loss"] == [(0, 1.0), (1, 0.5), (2, 0.25)]
    assert held[LOOP]["points"]["accuracy"] == [(20, 0.5)]


def test_the_last_model_becomes_the_champion_once(workspace: Workspace) -> None:
    with pytest.raises(RecordError, match="round 000 is not in MLflow yet"):
        tracking.finish(workspace)
    tracking.record_round(workspace, 0, summary(0))
    tracking.finish(workspace)
    tracking.finish(workspace)
    client = tracking.connect(workspace)
    assert content(workspace)[LOOP]["status"] == "FINISHED"
    assert len(client.search_model_versions("name = 'fake'")) == 1
    champion = client.get_model_version_by_alias("fake", "champion")
    folder = Path(client.download_artifacts(champion.run_id, "model"))
    kept = workspace.round_dir(0)
    for name in ("model.safetensors", "model.json"):
        assert (folder / name).read_bytes() == (kept / name).read_bytes()


def test_the_target_of_a_proxy_becomes_the_champion(workspace: Workspace) -> None:
    add_round(workspace, 0, last=True, target=True)
    tracking.record_round(workspace, 0, summary(0))
    tracking.finish(workspace)
    client = tracking.connect(workspace)
    run = client.get_model_version_by_alias("fake", "champion").run_id
    kept = workspace.round_dir(0) / "target"
    for name in ("model.safetensors", "model.json"):
        assert (Path(client.download_artifacts(run, "model")) / name).read_bytes() == (kept / name).read_bytes()
    assert (
        Path(client.download_artifacts(run, "target/metrics.json")).read_bytes() == (kept / "metrics.json").read_bytes()
    )


def test_a_moved_workspace_does_not_write_into_its_old_place(workspace: Workspace, tmp_path: Path) -> None:
    tracking.record_round(workspace, 0, summary(0))
    moved = Workspace(workspace.root.rename(tmp_path / "moved"))
    with pytest.raises(RecordError, match=r"mlflow\.db belongs to another folder"):
        tracking.recorded_rounds(moved)
    assert not workspace.root.exists()
    again = Workspace(moved.root.rename(tmp_path / "again"))
    (again.root / "mlflow.db").unlink()
    tracking.record_round(again, 0, summary(0))
    assert tracking.recorded_rounds(again) == {0}


FINISHING = [
    "create_registered_model",
    "create_model_version",
    "set_registered_model_alias",
    "set_terminated",
    "log_batch",
]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", FINISHING)
def test_an_end_cut_short_is_made_good(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    from mlflow import MlflowClient

    tracking.record_round(workspace, 0, summary(0))
    with monkeypatch.context() as patched:
        undisturbed = getattr(MlflowClient, step)

        def die(*arguments: Any, **options: Any) -> None:
            if after:
                undisturbed(*arguments, **options)
            raise KeyboardInterrupt

        patched.setattr(MlflowClient, step, die)
        with pytest.raises(KeyboardInterrupt):
            tracking.finish(workspace)
    assert tracking.is_finished(workspace) == (step == "log_batch" and after)
    tracking.finish(workspace)
    assert tracking.is_finished(workspace)
    client = tracking.connect(workspace)
    [version] = client.search_model_versions("name = 'fake'")
    assert client.get_model_version_by_alias("fake", "champion").version == version.version
    assert content(workspace)[LOOP]["status"] == "FINISHED"


def test_a_run_that_ended_without_a_champion_gets_one(workspace: Workspace) -> None:
    tracking.record_round(workspace, 0, summary(0))
    client = tracking.connect(workspace)
    [experiment] = client.search_experiments(filter_string="name = 'fake'")
    [loop] = client.search_runs([experiment.experiment_id], "tags.`frugal.kind` = 'loop'")
    client.set_terminated(loop.info.run_id, "FINISHED")
    assert not tracking.is_finished(workspace)
    tracking.finish(workspace)
    assert client.get_model_version_by_alias("fake", "champion")


def test_whether_a_loop_is_finished_is_asked_by_one_search(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    assert not tracking.is_finished(workspace)
    assert not tracking.is_finished(make_workspace(tmp_path / "empty"))
    assert tracking.connect(workspace).get_experiment_by_name("fake") is None
    tracking.record_round(workspace, 0, summary(0))
    assert not tracking.is_finished(workspace)
    tracking.finish(workspace)
    searches = []
    search = MlflowClient.search_runs
    monkeypatch.setattr(MlflowClient, "search_runs", lambda *a, **b: searches.append(a) or search(*a, **b))
    assert tracking.is_finished(workspace)
    assert len(searches) == 1
    (workspace.root / "mlflow.db").unlink()
    assert not tracking.is_finished(workspace)


def test_a_loop_that_goes_on_after_its_end_is_finished_anew(workspace: Workspace) -> None:
    tracking.record_round(workspace, 0, summary(0))
    tracking.finish(workspace)
    add_round(workspace, 1, last=True)
    assert not tracking.is_finished(workspace)
    tracking.record_round(workspace, 1, summary(1))
    tracking.finish(workspace)
    assert tracking.is_finished(workspace)
    client = tracking.connect(workspace)
    assert len(client.search_model_versions("name = 'fake'")) == 2
    champion = client.get_model_version_by_alias("fake", "champion")
    assert client.get_run(champion.run_id).data.tags["frugal.round"] == "001"


def test_a_last_round_has_no_acquisition_cache(workspace: Workspace) -> None:
    add_round(workspace, 1, last=True)
    assert not (workspace.round_dir(1) / "scores.parquet").exists()
    tracking.record_round(workspace, 1, summary(1))
    artifacts = content(workspace)[SECOND]["artifacts"]
    assert "scores.parquet" not in artifacts
    assert "selected.parquet" in artifacts


def test_the_name_of_a_loop_is_made_once(workspace: Workspace) -> None:
    name = loop_id(workspace)
    assert loop_id(workspace) == name
    assert len(name) == 36


def test_without_a_database_nothing_is_recorded_and_nothing_made(workspace: Workspace) -> None:
    (workspace.root / "mlflow.db").unlink()
    assert tracking.recorded_rounds(workspace) == set()
    assert not (workspace.root / "mlflow.db").exists()


def test_a_server_that_is_away_is_told_without_its_password(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ada:hunter2@127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    with pytest.raises(RecordError, match=r"MLflow refused the record.*catches up") as caught:
        tracking.record_round(workspace, 0, summary(0))
    assert "hunter2" not in str(caught.value)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    tracking.record_round(workspace, 0, summary(0))
    assert tracking.recorded_rounds(workspace) == {0}


@contextmanager
def full_server() -> Iterator[socket.socket]:
    """A server whose queue is full: the system swallows further attempts to connect, as a firewall does."""
    with socket.socket() as server, socket.socket() as first, socket.socket() as second:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for client in (first, second):
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield server


def test_a_server_that_swallows_packets_costs_seconds_and_only_once(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with full_server() as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ada:hunter2@127.0.0.1:{server.getsockname()[1]}")
        started = time.monotonic()
        with pytest.raises(RecordError, match=r"no connection to 127\.0\.0\.1:\d+: .*timed out.*catches up") as first:
            tracking.recorded_rounds(workspace)
        assert time.monotonic() - started < 8
        started = time.monotonic()
        for ask in (tracking.recorded_rounds, tracking.is_finished, tracking.finish):
            with pytest.raises(RecordError) as later:
                ask(workspace)
            assert str(later.value) == str(first.value)
        with pytest.raises(RecordError):
            tracking.record_round(workspace, 0, summary(0))
        assert time.monotonic() - started < 0.5
        # Another record is asked, and the same one again after a while.
        monkeypatch.delenv("MLFLOW_TRACKING_URI")
        assert tracking.recorded_rounds(workspace) == set()


def test_a_server_that_was_away_is_asked_again_after_a_while(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    asked = []

    def away(*address: Any, **_options: Any) -> None:
        asked.append(address)
        raise ConnectionRefusedError("refused")

    monkeypatch.setattr(socket, "create_connection", away)
    for _ in range(3):
        with pytest.raises(RecordError, match=r"no connection to 127\.0\.0\.1:9: refused"):
            tracking.is_finished(workspace)
    assert len(asked) == 1
    monkeypatch.setattr(tracking, "_AWAY_S", 0.0)
    with pytest.raises(RecordError, match="refused"):
        tracking.is_finished(workspace)
    assert len(asked) == 2


def test_a_server_that_takes_connections_and_never_answers_is_asked_once(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(RecordError, match="MLflow refused the record"):
            tracking.is_finished(workspace)
        started = time.monotonic()
        with pytest.raises(RecordError, match="MLflow refused the record"):
            tracking.is_finished(workspace)
        assert time.monotonic() - started < 0.5


@pytest.mark.parametrize("address", ["http://127.0.0.1:none", "https://127.0.0.1:99999"])
def test_an_impossible_address_is_told(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(RecordError, match=r"no connection to 127\.0\.0\.1:"):
        tracking.is_finished(workspace)


def test_a_password_that_splits_its_address_is_not_told(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:hunter/2@127.0.0.1:5000")
    with pytest.raises(RecordError, match="percent-encoded") as refused:
        tracking.is_finished(workspace)
    assert "hunter" not in str(refused.value)


def test_a_proxy_is_left_to_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    tracking_store.reach("http://nowhere.invalid:5000")
    monkeypatch.setenv("no_proxy", "nowhere.invalid")
    with pytest.raises(OSError, match="no connection"):
        tracking_store.reach("http://nowhere.invalid:5000")


def test_a_damaged_database_is_told(workspace: Workspace) -> None:
    (workspace.root / "mlflow.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(RecordError, match="MLflow refused the record"):
        tracking.record_round(workspace, 0, summary(0))


def test_prepare_copies_the_cached_database(workspace: Workspace, cache: Path) -> None:
    (workspace.root / "mlflow.db").unlink()
    started = time.monotonic()
    tracking.prepare(workspace)
    assert time.monotonic() - started < 2
    [empty] = (cache / "frugal-loop").glob("mlflow-*.db")
    assert (workspace.root / "mlflow.db").read_bytes() == empty.read_bytes()


def test_a_cache_that_cannot_be_written_is_done_without(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    (workspace.root / "mlflow.db").unlink()
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/nowhere")
    tracking.prepare(workspace)
    assert not (workspace.root / "mlflow.db").exists()


def test_where_the_record_is(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracking.uri(workspace) == f"sqlite:///{workspace.root}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert tracking.uri(workspace) == "http://tracking:5000"
    assert tracking_store.artifacts(workspace) is None


def test_rounds_of_a_false_start_are_tagged_and_stay(workspace: Workspace) -> None:
    tracking.record_round(workspace, 0, summary(0))
    tracking.mark_aborted(workspace, [0])
    tracking.mark_aborted(workspace, [0])
    assert content(workspace)[f"{FIRST} (aborted)"]["tags"]["frugal.aborted"] == "true"
    assert tracking.recorded_rounds(workspace) == {0}


def test_the_report_is_kept_with_the_loops_run_when_it_ends(workspace: Workspace, tmp_path: Path) -> None:
    tracking.record_round(workspace, 0, summary(0))
    page = tmp_path / "report.html"
    page.write_text("<p>")
    tracking.finish(workspace, lambda: [page])
    found = content(workspace)
    assert "report" in found[LOOP]["artifacts"]
    # What has ended is not drawn again.
    tracking.finish(workspace, lambda: [Path("nowhere")])
    assert content(workspace) == found


def test_a_model_that_ended_as_a_false_start_is_no_champion(workspace: Workspace) -> None:
    tracking.record_round(workspace, 0, summary(0))
    last = max(tracking.rounds(workspace))
    for number in range(1, last + 1):
        tracking.record_round(workspace, number, summary(number))
    path = workspace.round_dir(last) / "decision.json"
    files.write_json(path, files.read_json(path) | {"action": "stop", "policy": "false_start"})
    tracking.finish(workspace)
    assert tracking.is_finished(workspace)
    assert tracking.connect(workspace).search_registered_models() == []


# MLflow's own, when it is imported.
@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred")
def test_the_champion_predicts_and_shows_its_signature_its_data_and_its_bill(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow.pyfunc
    import numpy as np

    tracking.record_round(workspace, 0, summary(0))
    tracking.finish(workspace)
    # As its users name the record to MLflow's own functions.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking.uri(workspace))
    found = mlflow.models.get_model_info("models:/fake@champion")
    assert found.signature is not None
    assert [column.name for column in found.signature.outputs] == ["label", "confidence", "p(ant)", "p(bee)"]
    model = mlflow.pyfunc.load_model("models:/fake@champion")
    said = model.predict(np.zeros((3, 1, 2, 2), np.uint8))
    assert said["label"].tolist() == ["ant"] * 3
    assert said["confidence"].tolist() == pytest.approx([0.5] * 3)
    version = tracking.connect(workspace).get_model_version_by_alias("fake", "champion")
    assert version.tags["data.labeled"] == versions.md5s(workspace, 0)["data/rounds/000/labeled.parquet"]
    assert version.tags["git_sha"] == git.head(workspace)
    assert (version.tags["money"], version.tags["labels"]) == ("1.500 USD", "20")
    assert "models:/fake@champion" in version.description
