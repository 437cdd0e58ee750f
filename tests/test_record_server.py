"""MLflow as a server: what it is asked for, and what becomes of the record when it stops, hangs or refuses."""

import http.server
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from flows.record import catch_up, tracking
from flows.record import tracking_find as find
from tasks.errors import RecordError
from tasks.rounds import Workspace
from tests.mlflow_helpers import Server, serving
from tests.record_helpers import add_round, make_workspace
from tests.test_record_mlflow import content, summary

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("mlflow")) as running:
        yield running


@pytest.fixture(autouse=True)
def _nothing_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "_away", {})
    monkeypatch.setattr(catch_up, "_told", {})


@pytest.fixture
def workspace(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A loop of its own name, with one finished round, that is recorded on the server."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    made = make_workspace(tmp_path / "loop", name=uuid4().hex, record={"git": "off"})
    add_round(made, 0)
    return made


def asked(monkeypatch: pytest.MonkeyPatch, workspace: Workspace, round_: int) -> Counter[str]:
    """The requests by which a round is recorded after the search for what is missing, and the runs they bring back."""
    from mlflow import MlflowClient
    from mlflow.utils import rest_utils

    found: Counter[str] = Counter()
    with monkeypatch.context() as patched:
        send, search = rest_utils._get_http_response_with_retries, MlflowClient.search_runs

        def sent(method: str, url: str, *arguments: Any, **options: Any) -> Any:
            found[f"{method} {'artifact' if 'mlflow-artifacts' in url else url.rpartition('/')[2]}"] += 1
            return send(method, url, *arguments, **options)

        def searched(*arguments: Any, **options: Any) -> Any:
            page = search(*arguments, **options)
            found["runs"] += len(page)
            return page

        patched.setattr(rest_utils, "_get_http_response_with_retries", sent)
        patched.setattr(MlflowClient, "search_runs", searched)
        assert round_ not in tracking.recorded_rounds(workspace)
        tracking.record_round(workspace, round_, summary(round_))
    return found


def test_a_round_costs_the_same_requests_however_many_there_are(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking.record_round(workspace, 0, summary(0))
    costs = []
    for number in range(1, 5):
        add_round(workspace, number)
        costs.append(asked(monkeypatch, workspace, number))
    assert costs[0] == costs[-1]
    assert costs[-1]["runs"] == 2
    assert costs[-1].total() < 40


def test_a_loop_of_an_earlier_release_is_gone_on_with(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        add_round(workspace, number)
        tracking.record_round(workspace, number, summary(number))
    client = tracking.connect(workspace)
    place = tracking._place(client, workspace)
    loop = find.loop_run(client, place)
    assert loop is not None
    client.delete_tag(loop.info.run_id, find.UP_TO)
    assert tracking.recorded_rounds(workspace) == {0, 1, 2}
    add_round(workspace, 3)
    tracking.record_round(workspace, 3, summary(3))
    loop = find.loop_run(client, place)
    assert loop is not None
    assert loop.data.tags[find.UP_TO] == "003"
    add_round(workspace, 4)
    assert asked(monkeypatch, workspace, 4)["runs"] == 2


@pytest.mark.parametrize("step", ["create_run", "log_batch", "log_artifact", "set_terminated"])
def test_a_server_that_hangs_in_mid_record_is_caught_up_with_once(
    server: Server, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    from mlflow import MlflowClient

    undisturbed = getattr(MlflowClient, step)
    started = time.monotonic()
    with monkeypatch.context() as patched:

        def hang(*arguments: Any, **options: Any) -> Any:
            with server.frozen():
                return undisturbed(*arguments, **options)

        patched.setattr(MlflowClient, step, hang)
        patched.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
        with pytest.raises(RecordError, match=r"MLflow refused the record: .*the next run catches up$"):
            tracking.record_round(workspace, 0, summary(0))
    # A quarter of what a loop waits for.
    assert time.monotonic() - started < 30
    monkeypatch.setattr(tracking, "_away", {})
    # What the server was sent while it hung it does afterwards, sooner or later.
    time.sleep(1)
    assert tracking.recorded_rounds(workspace) == set()
    tracking.record_round(workspace, 0, summary(0))
    runs = content(workspace)
    assert runs.keys() == {"entropy · 50 a round · seed 7", "round 000 · 20 labels · 50.0 %"}
    curve, first = sorted(runs.values(), key=lambda run: run["tags"]["frugal.kind"])
    assert curve["points"]["accuracy"] == first["points"]["accuracy"] == [(20, 0.5)]
    assert first["points"]["epoch/loss"] == [(0, 1.0), (1, 0.5), (2, 0.25)]
    assert (curve["status"], first["status"]) == ("RUNNING", "FINISHED")


def test_a_server_that_is_killed_in_mid_record_costs_one_warning_and_no_round(
    server: Server, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mlflow import MlflowClient

    with monkeypatch.context() as patched:
        undisturbed = MlflowClient.log_inputs

        def die(*arguments: Any, **options: Any) -> Any:
            server.kill()
            return undisturbed(*arguments, **options)

        patched.setattr(MlflowClient, "log_inputs", die)
        catch_up._attempt("mlflow", lambda: tracking.record_round(workspace, 0, summary(0)))
    for number in (1, 2):
        add_round(workspace, number)
        catch_up._attempt("mlflow", lambda number=number: tracking.record_round(workspace, number, summary(number)))
    assert capsys.readouterr().err.count("warning: ") == 1
    server.start()
    monkeypatch.setattr(tracking, "_away", {})
    for number in range(3):
        assert number not in tracking.recorded_rounds(workspace)
        catch_up._attempt("mlflow", lambda number=number: tracking.record_round(workspace, number, summary(number)))
    assert capsys.readouterr().err == ""
    runs = content(workspace)
    (curve,) = [run for run in runs.values() if run["tags"]["frugal.kind"] == "loop"]
    assert curve["points"]["accuracy"] == [(20, 0.5), (40, 0.6), (60, 0.7)]
    assert sorted(run["status"] for run in runs.values()) == ["FINISHED"] * 3 + ["RUNNING"]


class Refusing(http.server.BaseHTTPRequestHandler):
    """Answers every request in the same way."""

    status = 500

    def do_GET(self) -> None:
        body = b"no entry"
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_server_that_refuses_is_told_once_in_one_line(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], status: int
) -> None:
    monkeypatch.setattr(Refusing, "status", status)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as refusing:
        threading.Thread(target=refusing.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ada:hunter2@127.0.0.1:{refusing.server_port}")
        started = time.monotonic()
        for _ in range(3):
            catch_up._attempt("mlflow", lambda: tracking.record_round(workspace, 0, summary(0)))
        refusing.shutdown()
    assert time.monotonic() - started < 30
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "MLflow refused the record: " in told
    assert "hunter2" not in told
