"""Label Studio's HTTP API: asks, and trusts no answer."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import httpx

from tasks.config import LabelStudioConfig
from tasks.errors import ConfigError, HubError

URL, TOKEN = "LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"
#: Seconds to reach the server, and to wait for its answer: it may be at an import of many tasks.
_TIMEOUT = httpx.Timeout(60.0, connect=10.0)
_PAGE = 500
#: Tasks that are asked for by their numbers in one address.
_AT_ONCE = 100


class Client:
    """One session with a server."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self.url = str(http.base_url).rstrip("/")

    def get(self, path: str, **parameters: Any) -> Any:
        """Raises HubError as ``_ask`` does."""
        return self._ask("GET", path, params=parameters)

    def post(self, path: str, value: Any) -> Any:
        """Raises HubError as ``_ask`` does."""
        return self._ask("POST", path, json=value)

    def patch(self, path: str, value: Any) -> Any:
        """Raises HubError as ``_ask`` does."""
        return self._ask("PATCH", path, json=value)

    def delete(self, path: str) -> None:
        """Raises HubError as ``_ask`` does."""
        self._ask("DELETE", path)

    def projects(self) -> Iterator[dict[str, Any]]:
        """Every project, with its description."""
        page = 1
        while True:
            found = self.get("/api/projects/", include="id,title,description", page=page, page_size=_PAGE)
            yield from _objects(found, "results", "a list of projects")
            if found.get("next") is None:
                return
            page += 1

    def tasks(
        self, project: int, fields: Sequence[str], conditions: Sequence[Mapping[str, Any]]
    ) -> Iterator[dict[str, Any]]:
        """The tasks that meet all conditions, in the order in which they were made, with nothing but ``fields``."""
        query = {"filters": {"conjunction": "and", "items": list(conditions)}, "ordering": ["tasks:id"]}
        return self._pages(project, fields, query)

    def chosen(self, project: int, fields: Sequence[str], ids: Sequence[int]) -> Iterator[dict[str, Any]]:
        """The tasks of these numbers, with nothing but ``fields``."""
        for start in range(0, len(ids), _AT_ONCE):
            some = list(ids[start : start + _AT_ONCE])
            yield from self._pages(project, fields, {"selectedItems": {"all": False, "included": some}})

    def _pages(self, project: int, fields: Sequence[str], query: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        page = seen = 0
        while True:
            page += 1
            found = self.get(
                "/api/tasks/",
                project=project,
                fields="all",
                include=",".join(fields),
                query=json.dumps(query),
                page=page,
                page_size=_PAGE,
            )
            tasks = _objects(found, "tasks", "a list of tasks")
            yield from tasks
            seen += len(tasks)
            # A page after the last one is an error to the server.
            if not tasks or not isinstance(found.get("total"), int) or seen >= found["total"]:
                return

    def _ask(self, method: str, path: str, **request: Any) -> Any:
        """The server's answer, parsed; None if it is empty.

        Raises:
            ConfigError: the token is not valid.
            HubError: the server is away, too slow, refuses, or does not answer in JSON.
        """
        try:
            answer = self._http.request(method, path, **request)
        except httpx.TimeoutException:
            raise HubError(f"{self.url}: Label Studio does not answer in time; the same command tries again") from None
        # A port above 65535 is no number of a port to the system.
        except (httpx.HTTPError, httpx.InvalidURL, OverflowError) as error:
            raise HubError(
                f"{self.url}: Label Studio is away ({error or type(error).__name__}); start it, or set {URL}"
            ) from None
        if answer.status_code == 401:
            raise ConfigError(f"{self.url}: Label Studio does not know the token in {TOKEN}; copy a valid one from it")
        if not answer.is_success:
            refused = f"Label Studio refuses {method} {path} ({answer.status_code})"
            raise HubError(f"{self.url}: {refused}: {_reason(answer)}")
        if not answer.content:
            return None
        try:
            return answer.json()
        except (ValueError, RecursionError):
            raise HubError(f"{self.url}{path}: not the answer of a Label Studio; correct {URL}") from None


@contextmanager
def connect(config: LabelStudioConfig, transport: httpx.BaseTransport | None = None) -> Iterator[Client]:
    """A session with the configured server.

    Raises:
        ConfigError: there is no token in the environment, or it or the address is not valid.
        HubError: the server is away.
    """
    token = os.environ.get(TOKEN, "").strip()
    if not token:
        raise ConfigError(f"label.labeler=label_studio: {TOKEN} is not set; export the access token of a user there")
    if not re.fullmatch(r"[A-Za-z0-9._=-]+", token):
        raise ConfigError(f"{TOKEN}: holds what no access token does; copy it again")
    with httpx.Client(base_url=_address(config), timeout=_TIMEOUT, transport=transport) as http:
        client = Client(http)
        http.headers["Authorization"] = _authorization(client, token)
        yield client


def _address(config: LabelStudioConfig) -> str:
    address = os.environ.get(URL) or config.url
    try:
        return str(httpx.URL(LabelStudioConfig(url=address).url))
    except (ValueError, httpx.InvalidURL):
        raise ConfigError(
            f"{URL}, or label.label_studio.url: not an address such as http://127.0.0.1:8080, without a password in it"
        ) from None


def _authorization(client: Client, token: str) -> str:
    """A personal access token buys one that is valid for some minutes; a legacy token is sent as it is."""
    if token.count(".") != 2:
        return f"Token {token}"
    bought = client.post("/api/token/refresh/", {"refresh": token})
    if not isinstance(bought, dict) or not isinstance(bought.get("access"), str):
        raise HubError(f"{client.url}: Label Studio gives no access for the token in {TOKEN}; copy a valid one from it")
    return f"Bearer {bought['access']}"


def _objects(value: Any, key: str, what: str) -> list[dict[str, Any]]:
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise HubError(f"Label Studio's answer is not {what}; is its release a supported one?")
    return found


def _reason(answer: httpx.Response) -> str:
    """What the server says of a refusal, in one short line."""
    try:
        told = answer.json()
    except (ValueError, RecursionError):
        return answer.reason_phrase or "no reason given"
    words = (told.get("validation_errors") or told.get("detail")) if isinstance(told, dict) else told
    return " ".join(str(words).split())[:300]
