"""People label in a real Label Studio: two annotators, a server that goes away, calls and edits that come late."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from flows import drive, start, webhook
from tasks import files, loop
from tasks.config import parse
from tasks.errors import ConfigError, HubError, WaitingForLabels
from tasks.label import exchange, journal
from tasks.label.label_studio import client as api
from tasks.label.label_studio import webhook as hook
from tasks.label.run import waiting
from tasks.rounds import Workspace
from tests.e2e import browser
from tests.e2e.label_studio import ANN, BOB, Studio, annotate, begin, edit
from tests.people_helpers import RECORD, selected, tasks
from tests.pools import PRICES, snapshot
from tests.test_modalities import numbers, texts

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.server, pytest.mark.timeout(600)]

SECRET = "0123456789abcdef-planted"
ASKED, NEXT = 6, 4


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A server with two users."""
    found = begin(tmp_path_factory.mktemp("studio") / "data")
    try:
        yield found
    finally:
        found.stop()


@pytest.fixture(scope="module")
def bobs_token(studio: Studio) -> str:
    return studio.invite(BOB)


@pytest.fixture(scope="module")
def carls_token(studio: Studio) -> str:
    return studio.invite("carl@example.com")


@pytest.fixture(autouse=True)
def _connected(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(api.URL, studio.url)
    monkeypatch.setenv(api.TOKEN, studio.token)


def opened(root: Path, **values: Any) -> Workspace:
    """A loop on digits whose round 000 is open and is in nobody's hands yet."""
    (root / "conf").mkdir(parents=True)
    (root / "dvc.yaml").touch()
    workspace = Workspace(root)
    base = {
        "name": "digits",
        "prices": PRICES,
        "dataset": {"name": "digits", "limit": 60},
        "loop": {"rounds": 3, "initial": ASKED, "query_size": NEXT},
        "label": {"labeler": "label_studio", "annotators": 2},
        "train": {"model": "linear", "epochs": 2},
        "record": RECORD,
    }
    start.start(workspace, parse(base | values, "test"))
    open_next(workspace)
    return workspace


def open_next(workspace: Workspace) -> None:
    while (step := loop.next_step(workspace)) is not None and step.name != "label":
        loop.run(workspace, step)


def truth(workspace: Workspace) -> dict[str, str]:
    table = files.read_table(workspace.pool / "oracle.parquet")
    return dict(zip(table["id"].to_pylist(), map(str, table["label"].to_pylist()), strict=True))


def told(workspace: Workspace, round_: int = 0) -> str:
    line = exchange.sync(workspace, round_)
    assert line is not None
    return line


def project(workspace: Workspace) -> int:
    found = re.search(r"project (\d+)", told(workspace))
    assert found is not None
    return int(found[1])


def there(user: httpx.Client, project: int) -> list[dict[str, Any]]:
    """All tasks of a project, as the server tells them."""
    query = {"project": project, "fields": "all", "page_size": 100}
    found: list[dict[str, Any]] = user.get("/api/tasks/", params=query).raise_for_status().json()["tasks"]
    return sorted(found, key=lambda task: task["id"])


def test_a_round_is_labelled_by_two_people_and_the_loop_goes_on(
    tmp_path: Path, studio: Studio, bobs_token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = opened(tmp_path / "w")
    right = truth(workspace)
    assert f"{ASKED} tasks published; 0 new answers" in told(workspace)
    number = project(workspace)
    with studio.user() as ann, studio.user(bobs_token) as bob:
        posted = there(ann, number)
        assert [task["data"]["id"] for task in posted] == [line["id"] for line in tasks(workspace)]
        assert [task["data"]["priority"] for task in posted] == list(range(ASKED))
        # The most wanted comes first.
        assert ann.get(f"/api/projects/{number}/next").json()["data"]["priority"] == 0
        for task in posted:
            annotate(ann, task["id"], right[task["data"]["id"]], 3.0)
        given = [annotate(bob, task["id"], right[task["data"]["id"]]) for task in posted[:3]]
        assert "0 tasks published; 9 new answers, 0 revised" in told(workspace)
        assert "0 tasks published; 0 new answers, 0 revised" in told(workspace)
    assert "3 more labels" in str(waiting(workspace, 0))

    studio.stop()
    before = snapshot(workspace.root)
    with pytest.raises(HubError, match="Label Studio is away"):
        drive.close(workspace, None)
    assert snapshot(workspace.root) == before
    studio.start()
    assert "0 tasks published; 0 new answers, 0 revised" in told(workspace)
    with studio.user() as ann, studio.user(bobs_token) as bob:
        assert len(there(ann, number)) == ASKED

        heard = threading.Semaphore(0)
        lines: list[str] = []

        def on_event() -> None:
            lines.append(told(workspace))
            heard.release()

        monkeypatch.setenv(webhook.SECRET, SECRET)
        with webhook.listening(on_event, pause=0.2) as address:
            for _ in range(2):
                assert hook.register(workspace, address, webhook.secret())
            assert len(ann.get("/api/webhooks/", params={"project": number}).json()) == 1
            annotate(bob, posted[3]["id"], right[posted[3]["data"]["id"]])
            assert heard.acquire(timeout=60)
            kept = journal.load(workspace, 0)
            assert len(kept.answers) == 10
            # The same call again.
            for _ in range(2):
                httpx.post(address, headers={hook.HEADER: SECRET}, json={}, trust_env=False).raise_for_status()
            assert heard.acquire(timeout=60)
            assert journal.load(workspace, 0) == kept
        assert "1 new answers" in lines[0]
        assert "0 new answers, 0 revised" in lines[-1]

        item = posted[0]["data"]["id"]
        edit(bob, given[0]["id"], "1" if right[item] == "0" else "0")
        assert "0 new answers, 1 revised" in told(workspace)
        with pytest.raises(WaitingForLabels, match="annotators disagree on 1"):
            drive.close(workspace, None)
        edit(bob, given[0]["id"], right[item])
        for task in posted[4:]:
            annotate(bob, task["id"], right[task["data"]["id"]])
        close(workspace)

    answers = files.read_table(workspace.round_dir(0) / "answers.parquet").to_pylist()
    assert sorted({(row["annotator"], row["seconds"]) for row in answers}) == [(ANN, 3.0), (BOB, 2.0)]
    assert len(answers) == 2 * ASKED
    labels = files.read_table(workspace.round_dir(0) / "labels.parquet")
    assert {row["id"]: str(row["label"]) for row in labels.to_pylist()} == {
        id_: right[id_] for id_ in selected(workspace)
    }

    open_next(workspace)
    step = loop.next_step(workspace)
    assert step is not None
    assert (step.name, step.round) == ("label", 1)
    with studio.user() as ann, studio.user(bobs_token) as bob:
        closed = snapshot(workspace.round_dir(0))
        # Somebody thinks again of what is closed.
        edit(bob, given[1]["id"], "7" if right[posted[1]["data"]["id"]] != "7" else "8")
        line = told(workspace, 1)
        assert f"{NEXT} tasks published" in line
        assert "1 annotations of closed rounds are new or were edited, and change nothing" in line
        assert snapshot(workspace.round_dir(0)) == closed
        new = [task for task in there(ann, number) if task["data"]["round"] == 1]
        assert [task["data"]["priority"] for task in new] == list(range(NEXT))
        for task, asked in zip(new, tasks(workspace, 1), strict=True):
            (prediction,) = task["predictions"]
            assert prediction["result"][0]["value"] == {"choices": [asked["proposals"][0]["label"]]}
            assert prediction["score"] == pytest.approx(asked["proposals"][0]["confidence"])
        assert ann.get(f"/api/projects/{number}/next").json()["id"] == new[0]["id"]


def close(workspace: Workspace) -> None:
    """`frugal close`, as a user types it."""
    frugal = str(Path(sys.executable).parent / "frugal")
    environment = os.environ | {"PREFECT_HOME": str(workspace.root.parent / "prefect")}
    done = subprocess.run(
        [frugal, "close", "-w", str(workspace.root)], env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 tasks published; 2 new answers, 1 revised" in done.stderr


def test_an_import_that_is_lost_or_comes_twice_leaves_no_copies(
    tmp_path: Path, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = opened(tmp_path / "w")
    imports: list[Any] = []
    post = api.Client.post

    def losing(self: api.Client, path: str, value: Any) -> Any:
        answer = post(self, path, value)
        if "/import" in path:
            imports.append(value)
            raise HubError("does not answer in time")
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(api.Client, "post", losing)
        with pytest.raises(HubError, match="in time"):
            exchange.sync(workspace, 0)
    assert "0 tasks published" in told(workspace)
    number = project(workspace)
    with studio.user() as ann:
        # What seemed lost comes in after all, behind the back of another exchange.
        ann.post(f"/api/projects/{number}/import", json=imports[0]).raise_for_status()
        copies = there(ann, number)
        assert len(copies) == 2 * ASKED
        annotate(ann, copies[ASKED]["id"], "3")
        assert "0 tasks published; 1 new answers" in told(workspace)
        left = there(ann, number)
        assert sorted(task["data"]["id"] for task in left) == sorted(selected(workspace))
        assert copies[ASKED]["id"] in [task["id"] for task in left]


def test_a_dispute_is_offered_to_one_more_annotator(
    tmp_path: Path, studio: Studio, bobs_token: str, carls_token: str
) -> None:
    workspace = opened(tmp_path / "w")
    number = project(workspace)
    with studio.user() as ann, studio.user(bobs_token) as bob, studio.user(carls_token) as carl:
        first, second, *rest = there(ann, number)
        # Who says two things counts once, and twice to the server.
        annotate(ann, first["id"], "3")
        for user, choice in ((ann, "1"), (bob, "2")):
            annotate(user, first["id"], choice)
            for task in rest:
                annotate(user, task["id"], "5")
        annotate(bob, second["id"], "5")
        assert offered(carl, number) == second["id"]
        annotate(carl, second["id"], "5")
        # As far as the server is concerned, everything is done.
        assert offered(carl, number) is None
        assert "1 tasks opened for one more annotator" in told(workspace)
        assert "tasks opened" not in told(workspace)
        assert first["data"]["id"] in str(waiting(workspace, 0))
        assert (offered(bob, number), offered(carl, number)) == (None, first["id"])
        annotate(carl, first["id"], "3")
        # Three say three things.
        assert "1 tasks opened for one more annotator" in told(workspace)
        edit(bob, annotation(ann, first["id"], BOB), "1")
        assert "1 revised" in told(workspace)
        assert waiting(workspace, 0) is None


def test_an_annotation_that_is_deleted_takes_its_answer_back(tmp_path: Path, studio: Studio, bobs_token: str) -> None:
    workspace = opened(tmp_path / "w")
    number = project(workspace)
    with studio.user() as ann, studio.user(bobs_token) as bob:
        first, *rest = there(ann, number)
        made = [annotate(user, task["id"], "5") for task in (first, *rest) for user in (ann, bob)]
        assert f"{2 * ASKED} new answers" in told(workspace)
        ann.delete(f"/api/annotations/{made[0]['id']}/").raise_for_status()
        assert "1 answers withdrawn" in told(workspace)
        assert "withdrawn" not in told(workspace)
        assert "1 more labels" in str(waiting(workspace, 0))
        assert offered(ann, number) == first["id"]
        annotate(ann, first["id"], "6")
        annotate(ann, first["id"], "5")
        assert "1 new answers" in told(workspace)
        assert waiting(workspace, 0) is None
        # A project that is lost takes no answer with it.
        ann.delete(f"/api/projects/{number}/").raise_for_status()
        assert f"{ASKED} tasks published; 0 new answers, 0 revised" in told(workspace)
        assert "withdrawn" not in told(workspace)
        assert waiting(workspace, 0) is None


def offered(user: httpx.Client, project: int) -> int | None:
    """The task that the server asks somebody about next."""
    answer = user.get(f"/api/projects/{project}/next")
    return None if answer.status_code == 404 else int(answer.raise_for_status().json()["id"])


def annotation(user: httpx.Client, task: int, email: str) -> int:
    """What somebody has said of a task, by its number."""
    people = {one["email"]: one["id"] for one in user.get("/api/users/").raise_for_status().json()}
    found = user.get(f"/api/tasks/{task}/annotations/").raise_for_status().json()
    (own,) = [one["id"] for one in found if one["completed_by"] == people[email]]
    return int(own)


def test_what_makes_no_sense_is_refused_and_told_until_it_is_mended(tmp_path: Path, studio: Studio) -> None:
    workspace = opened(tmp_path / "w")
    number = project(workspace)
    with studio.user() as ann:
        posted = there(ann, number)
        wrong = annotate(ann, posted[0]["id"], "eleven")
        annotate(ann, posted[1]["id"], "1")
        annotate(ann, posted[2]["id"], None)
        # Somebody else's task, with a round.
        own = {"data": {"image": "x", "round": 0, "id": posted[1]["data"]["id"]}}
        ann.post(f"/api/projects/{number}/import", json=[own]).raise_for_status()
        annotate(ann, there(ann, number)[-1]["id"], "2")
        for _ in range(2):
            line = told(workspace)
            assert "2 annotations refused: task " in line
            assert f"({posted[0]['data']['id']}): unknown class 'eleven'" in line
            assert "(None): not a task of the loop's" in line
        kept = {answer.id: answer.label for answer in journal.load(workspace, 0).answers}
        assert kept == {posted[1]["data"]["id"]: 1, posted[2]["data"]["id"]: None}
        edit(ann, wrong["id"], "5")
        assert "1 new answers" in told(workspace)


@pytest.mark.parametrize(("modality", "answer", "label"), [(texts, "good", 1), (numbers, 12.5, 12.5)])
def test_whatever_an_item_is_it_goes_out_and_comes_back(
    tmp_path: Path, studio: Studio, modality: Any, answer: Any, label: Any
) -> None:
    own = modality(tmp_path / "data")
    workspace = opened(tmp_path / "w", **own, label={"labeler": "label_studio"}, name="other")
    number = project(workspace)
    with studio.user() as ann:
        task = there(ann, number)[0]
        kind, value = ("number", {"number": answer}) if label == answer else ("choices", {"choices": [answer]})
        shown = "fields" if modality is numbers else "text"
        assert task["data"][shown] == tasks(workspace)[0][shown]
        result = [{"from_name": "label", "to_name": shown, "type": kind, "value": value}]
        ann.post(f"/api/tasks/{task['id']}/annotations/", json={"result": result}).raise_for_status()
        assert "1 new answers" in told(workspace)
    (given,) = journal.load(workspace, 0).answers
    assert (given.id, given.label, given.annotator, given.seconds) == (task["data"]["id"], label, ANN, None)


def test_a_personal_access_token_is_as_good_as_a_legacy_one(
    tmp_path: Path, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = opened(tmp_path / "w")
    with studio.user() as ann:
        settings = {"api_tokens_enabled": True, "legacy_api_tokens_enabled": True}
        ann.post("/api/jwt/settings", json=settings).raise_for_status()
        token = ann.post("/api/token/").raise_for_status().json()["token"]
    assert token.count(".") == 2
    monkeypatch.setenv(api.TOKEN, token)
    assert f"{ASKED} tasks published" in told(workspace)


@pytest.mark.parametrize("token", ["0" * 40, "a.b.c"])
def test_a_token_that_is_not_known_is_told_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    workspace = opened(tmp_path / "w")
    monkeypatch.setenv(api.TOKEN, token)
    before = {name for name in snapshot(workspace.root) if not name.endswith("loop_id")}
    with pytest.raises(ConfigError, match="does not know the token in LABEL_STUDIO_API_KEY"):
        exchange.sync(workspace, 0)
    assert {name for name in snapshot(workspace.root) if not name.endswith("loop_id")} == before


def test_the_project_shows_people_what_to_do(tmp_path: Path, studio: Studio) -> None:
    workspace = opened(tmp_path / "w")
    number = project(workspace)
    with studio.user() as ann, studio.session(ANN) as session, browser.page() as page:
        task = there(ann, number)[0]
        cookies = [{"name": name, "value": value, "url": studio.url} for name, value in session.cookies.items()]
        page.context.add_cookies(cookies)  # type: ignore[arg-type]
        page.goto(f"{studio.url}/projects/{number}/data", wait_until="domcontentloaded")
        page.get_by_text("Frugal Loop: digits").first.wait_for()
        page.get_by_text(task["data"]["id"]).first.wait_for()
        shown = page.inner_text("body")
        assert f"Tasks: {ASKED} / {ASKED}" in shown
        assert all(line["id"] in shown for line in tasks(workspace))
        page.wait_for_function(f"{_PICTURES}.length == {ASKED}")
        page.goto(f"{studio.url}/projects/{number}/data?task={task['id']}", wait_until="domcontentloaded")
        page.get_by_role("button", name="Submit").first.wait_for()
        # It draws the task once, and again when it has read the rest: both have to be there at the same time.
        asked = "document.body.innerText.includes('Which is it?')"
        page.wait_for_function(f"{asked} && {_PICTURES}.some(one => one.clientWidth >= 256)")
        shown = page.inner_text("body")
        assert all(re.search(rf"^{digit}\b|^{digit}\[", shown, re.M) for digit in range(10))
        settle(page)
        browser.screenshot(page, Path(os.environ.get("FRUGAL_SCREENSHOTS") or tmp_path) / "label-studio.png")


def settle(page: "Page") -> None:
    """Wait until the page looks the same for a second: nothing is loading any more."""
    before = b""
    for _ in range(30):
        now = page.screenshot()
        if now == before:
            return
        before = now
        page.wait_for_timeout(1000)
    raise AssertionError("the page does not come to rest")


#: The pictures that the page has drawn, as large as they were sent.
_PICTURES = "[...document.images].filter(one => one.naturalWidth == 256)"
