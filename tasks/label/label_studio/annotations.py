"""Annotations as answers: each is checked as a row of a file of answers is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.errors import HubError
from tasks.label import answers
from tasks.label.answers import RowError, Tasks
from tasks.label.label_studio.client import Client
from tasks.label.label_studio.page import QUESTION
from tasks.label.labels import Answer


@dataclass(frozen=True)
class Users:
    """Who is meant by the number of a user."""

    names: Mapping[int, str]

    def name(self, number: int | None) -> str:
        """An e-mail address, or the number of a user who is gone."""
        return self.names.get(number, f"user {number}") if number is not None else answers.UNKNOWN


def users(client: Client) -> Users:
    """The users of the server.

    Raises:
        HubError: the server is away, refuses or makes no sense.
    """
    found = client.get("/api/users/")
    if not isinstance(found, list):
        raise HubError(f"{client.url}: Label Studio's answer is not a list of users; is its release a supported one?")
    known = [one for one in found if isinstance(one, dict) and isinstance(one.get("id"), int)]
    return Users({one["id"]: one["email"] for one in known if isinstance(one.get("email"), str) and one["email"]})


def answer(annotation: Mapping[str, Any], item: str | None, users: Users, tasks: Tasks) -> Answer:
    """The answer that an annotation of an item's task gives.

    Raises:
        RowError: it gives none, or one that does not fit.
    """
    if item is None:
        raise RowError("not a task of the loop's")
    skipped = annotation.get("was_cancelled")
    if not isinstance(skipped, bool):
        raise RowError("does not say whether it was skipped")
    fields = {
        "id": item,
        "annotator": users.name(_user(annotation.get("completed_by"))),
        "labeled_at": _text(annotation.get("updated_at")),
        "seconds": _number("lead_time", annotation.get("lead_time")),
        "status": "skipped" if skipped else "done",
        "label": "" if skipped else _label(annotation.get("result")),
    }
    return answers.parsed(fields, tasks)


def _user(value: Any) -> int | None:
    number = value.get("id") if isinstance(value, dict) else value
    if number is not None and (not isinstance(number, int) or isinstance(number, bool)):
        raise RowError("does not say who made it")
    return number


def _label(result: Any) -> str:
    given = [one for one in result if _is_answer(one)] if isinstance(result, list) else []
    if len(given) != 1:
        raise RowError(f"{len(given)} answers to the question {QUESTION!r}; it must have one")
    value = given[0].get("value")
    if not isinstance(value, dict):
        raise RowError("its answer has no value")
    if "number" in value:
        return _number("label", value["number"])
    choices = value.get("choices")
    if not isinstance(choices, list) or len(choices) != 1:
        raise RowError("must choose one class")
    return _text(choices[0])


def _is_answer(one: Any) -> bool:
    return isinstance(one, dict) and one.get("from_name") == QUESTION


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise RowError(f"{value!r:.40} is not a text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise RowError("holds a character that is not valid Unicode") from None
    return value


def _number(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RowError(f"{name} {value!r:.40} is not a number")
    # Python refuses to write whole numbers of thousands of digits.
    return repr(value) if isinstance(value, float) else repr(float(value)) if abs(value) < 10**300 else "inf"
