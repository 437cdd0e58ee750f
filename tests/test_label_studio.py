"""What Label Studio is told and what it answers, piece by piece; tests/e2e talks to the real one."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.config import LabelStudioConfig
from tasks.datasets.pages import Part
from tasks.errors import ConfigError, DataError, HubError
from tasks.label import exchange
from tasks.label.answers import RowError, Tasks
from tasks.label.label_studio import client as api
from tasks.label.label_studio import posted
from tasks.label.label_studio.annotations import Users, answer
from tasks.label.label_studio.client import connect
from tasks.label.label_studio.page import configuration, result
from tasks.label.label_studio.posted import Posted, Stub
from tasks.label.labels import Answer
from tasks.task_type import Classification, Regression
from tests.people_helpers import asking
from tests.pools import CLASSIFICATION, PRICE, snapshot

TOKEN = "0123456789abcdef0123456789abcdef-planted"
SHOWN = [Part("Text", "text", "anything")]
USERS = Users({1: "ann@example.com", 2: "bob@example.com"})
AT = "2026-11-28T17:06:52.616007Z"


def annotation(value: Any, **others: Any) -> dict[str, Any]:
    """As the server tells one."""
    given = [{"from_name": "label", "to_name": "text", "type": "choices", "value": value}]
    whole = {"id": 7, "result": given, "was_cancelled": False, "lead_time": 3.5, "completed_by": 1, "updated_at": AT}
    return whole | others


def read(made: dict[str, Any], numbers: bool = False, item: str | None = "x/1") -> Answer:
    return answer(made, item, USERS, Tasks({"x/1"}, PRICE if numbers else CLASSIFICATION))


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=8, unique=True))
def test_every_class_comes_back_from_the_page_as_it_was_or_is_refused(names: list[str]) -> None:
    task = Classification(tuple(names))
    if any(name.startswith("$") or name != name.strip() or not name.isprintable() for name in names):
        with pytest.raises(DataError, match="Label Studio cannot show it"):
            configuration(SHOWN, task)
        return
    page = configuration(SHOWN, task)
    root = ElementTree.fromstring(page.encode())
    assert [choice.get("value") for choice in root.iter("Choice")] == names
    for label, name in enumerate(names):
        made = annotation({"choices": [name]})
        assert answer(made, "x/1", USERS, Tasks({"x/1"}, task)).label == label


def test_odd_names_are_written_so_that_xml_reads_them(tmp_path: Path) -> None:
    page = configuration(SHOWN, Classification(('a "b" <c> & d', "Äöü 猫", "it's")))
    assert 'value="a &quot;b&quot; &lt;c&gt; &amp; d"' in page
    assert 'value="$text"' in page


def test_numbers_are_asked_for_within_their_bounds() -> None:
    asked = ElementTree.fromstring(configuration(SHOWN, PRICE)).find("Number")
    assert asked is not None
    assert (asked.get("min"), asked.get("max"), asked.get("toName")) == ("0.0", "100.0", "text")
    asked = ElementTree.fromstring(configuration(SHOWN, Regression("x"))).find("Number")
    assert asked is not None
    assert "min" not in asked.attrib


def test_a_proposal_looks_like_an_answer() -> None:
    for task, told, label in ((CLASSIFICATION, "bee", 1), (PRICE, 12.5, 12.5)):
        made = annotation(None, result=result(task, told, "text"))
        assert answer(made, "x/1", USERS, Tasks({"x/1"}, task)).label == label


def test_an_annotation_is_an_answer() -> None:
    made = read(annotation({"choices": ["bee"]}))
    assert made == Answer("x/1", 1, "ann@example.com", "2026-11-28T17:06:52.616007+00:00", 3.5)
    assert read(annotation({"number": 12}), numbers=True).label == 12.0
    assert read(annotation({"choices": ["bee"]}, completed_by={"id": 2})).annotator == "bob@example.com"
    assert read(annotation({"choices": ["bee"]}, completed_by=9)).annotator == "user 9"
    assert read(annotation({"choices": ["bee"]}, completed_by=None, lead_time=None)).seconds is None
    assert read(annotation(None, result=[], was_cancelled=True)).skipped


WRONG = [
    (annotation({"choices": ["dog"]}), "unknown class 'dog'"),
    (annotation({"choices": []}), "must choose one class"),
    (annotation({"choices": ["ant", "bee"]}), "must choose one class"),
    (annotation({"choices": "ant"}), "must choose one class"),
    (annotation({"choices": [1]}), "1 is not a text"),
    (annotation({"choices": ["\ud800"]}), "not valid Unicode"),
    (annotation({"choices": [{"a": 1}]}), "is not a text"),
    (annotation(None), "has no value"),
    (annotation({"number": True}), "True is not a number"),
    (annotation({}), "must choose one class"),
    (annotation(None, result=None), "0 answers"),
    (annotation(None, result="x"), "0 answers"),
    (annotation(None, result=[]), "0 answers"),
    (annotation(None, result=[1, None, {"from_name": "other"}]), "0 answers"),
    (annotation({"choices": ["ant"]}, was_cancelled=None), "whether it was skipped"),
    (annotation({"choices": ["ant"]}, was_cancelled="no"), "whether it was skipped"),
    (annotation({"choices": ["ant"]}, lead_time=-1), "seconds '-1.0' is not a number"),
    (annotation({"choices": ["ant"]}, lead_time="fast"), "is not a number"),
    (annotation({"choices": ["ant"]}, lead_time=10**400), "seconds 'inf' is not a number"),
    (annotation({"choices": ["ant"]}, updated_at="yesterday"), "not an ISO 8601 time"),
    (annotation({"choices": ["ant"]}, updated_at=12), "12 is not a text"),
    (annotation({"choices": ["ant"]}, completed_by="ann"), "who made it"),
    (annotation({"choices": ["ant"]}, completed_by=True), "who made it"),
    ({}, "whether it was skipped"),
]


@pytest.mark.parametrize(("made", "why"), WRONG, ids=[why for _, why in WRONG])
def test_an_annotation_that_makes_no_sense_is_refused_with_the_reason(made: dict[str, Any], why: str) -> None:
    with pytest.raises(RowError, match=why):
        read(made)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -0.5, 100.5, 10**400, "12", None, True])
def test_a_number_that_cannot_be_is_refused(number: Any) -> None:
    with pytest.raises(RowError):
        read(annotation({"number": number}), numbers=True)


def test_an_annotation_of_no_task_of_ours_is_refused() -> None:
    with pytest.raises(RowError, match="not a task of the loop's"):
        read(annotation({"choices": ["ant"]}), item=None)
    with pytest.raises(RowError, match="unknown id 'y'"):
        read(annotation({"choices": ["ant"]}), item="y")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(annotation(None), _JSON)), st.booleans())
def test_whatever_the_server_says_is_an_answer_or_refused(made: dict[str, Any], numbers: bool) -> None:
    try:
        found = read(made, numbers)
    except RowError:
        return
    assert found.id == "x/1"


def served(answers: dict[str, Any], status: int = 200) -> httpx.MockTransport:
    """A server that answers alike at all times, by the end of the path."""

    def handle(request: httpx.Request) -> httpx.Response:
        path = request.url.path
        value = next((value for end, value in answers.items() if path.endswith(end)), None)
        if isinstance(value, Exception):
            raise value
        return httpx.Response(status, content=value if isinstance(value, bytes) else json.dumps(value).encode())

    return httpx.MockTransport(handle)


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(api.TOKEN, TOKEN)
    monkeypatch.delenv(api.URL, raising=False)


@pytest.mark.usefixtures("token")
@pytest.mark.parametrize(
    ("value", "status", "why"),
    [
        (httpx.ConnectError("refused"), 0, "Label Studio is away"),
        (httpx.ReadTimeout("slow"), 0, "does not answer in time"),
        (httpx.RemoteProtocolError("gone"), 0, "Label Studio is away"),
        ({"detail": "database is locked"}, 500, r"refuses GET .*\(500\): database is locked"),
        (b"<html>502</html>", 502, r"\(502\): Bad Gateway"),
        (b"<html>hello</html>", 200, "not the answer of a Label Studio"),
        (b"[" * 100_000, 200, "not the answer of a Label Studio"),
        ([], 200, "not a list of tasks"),
        ({"tasks": [1]}, 200, "not a list of tasks"),
        ({"tasks": [{"id": 1}], "total": 1}, 200, "task 1 of project 5"),
        ({"tasks": [{"id": {}, "meta": None, "is_labeled": 0, "annotations": []}], "total": 1}, 200, "of project 5"),
        ({"tasks": [{"id": 1, "meta": 3, "is_labeled": 0, "annotations": [7]}], "total": 1}, 200, "task 1 of project"),
    ],
)
def test_a_server_that_is_away_or_makes_no_sense_is_one_line(value: Any, status: int, why: str) -> None:
    with connect(LabelStudioConfig(), served({"/api/tasks/": value}, status)) as client:
        with pytest.raises(HubError, match=why) as caught:
            posted.of_round(client, 5, 0)
        assert TOKEN not in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("token")
def test_a_token_that_is_not_known_is_the_users_mistake() -> None:
    server = served({"/api/tasks/": {"detail": "Invalid token."}}, 401)
    wrong = pytest.raises(ConfigError, match="does not know the token in LABEL_STUDIO_API_KEY")
    with connect(LabelStudioConfig(), server) as client, wrong:
        posted.of_round(client, 5, 0)


@pytest.mark.parametrize("token", ["", "  ", "two words", "ümlaut", "line\nbreak"])
def test_without_a_token_nothing_is_asked_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    workspace = asking(tmp_path / "w", labeler="label_studio")
    monkeypatch.setenv(api.TOKEN, token)
    before = snapshot(workspace.root)
    with pytest.raises(ConfigError, match=api.TOKEN):
        exchange.sync(workspace, 0)
    assert snapshot(workspace.root) == before


@pytest.mark.usefixtures("token")
@pytest.mark.parametrize("address", ["ftp://x", "localhost", "http://me:secret@host", "http://[bad", "http://h:999999"])
def test_an_address_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv(api.URL, address)
    with pytest.raises(ConfigError, match="LABEL_STUDIO_URL") as caught, connect(LabelStudioConfig()):
        pass
    assert "secret" not in str(caught.value)


@pytest.mark.usefixtures("token")
def test_of_copies_the_annotated_stays_and_of_equals_the_oldest() -> None:
    stub = Stub(1, 1, AT)
    given = [
        Posted(1, "a", 0, False, (), frozenset(), 1),
        Posted(2, "b", 0, False, (), frozenset(), 1),
        Posted(3, "a", 0, False, (stub,), frozenset({1}), 1),
        Posted(4, "b", 0, False, (), frozenset(), 1),
        Posted(5, None, None, False, (), frozenset(), 1),
        Posted(6, None, None, False, (), frozenset(), 1),
    ]
    with connect(LabelStudioConfig(), served({})) as client:
        assert [one.id for one in posted.withdraw_copies(client, given)] == [2, 3, 5, 6]
