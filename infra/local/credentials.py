"""Credentials: the environment's, or generated once into the state folder's `env`, which clients source."""

import os
import secrets
import shlex
from collections.abc import Mapping
from pathlib import Path

from infra.local.settings import Settings
from tasks.errors import ConfigError

#: The first line of `env`.
_HEAD = "# Credentials of the local servers; keep them to yourself. Clients: `. ./env`\n"

#: Of the store; one of the user's own may want others, such as a profile.
_STORE = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
#: What is made up where the environment does not give it.
_GENERATED = (
    "MLFLOW_FLASK_SERVER_SECRET_KEY",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_USERNAME",
    "PREFECT_API_AUTH_STRING",
    "FRUGAL_POSTGRES_PASSWORD",
)
#: For servers only: no client needs them.
_SERVERS_OWN = {"MLFLOW_FLASK_SERVER_SECRET_KEY", "FRUGAL_POSTGRES_PASSWORD"}
#: Variables that hold a secret, or an address that may hold one, by their names' ends.
_SECRET = ("PASSWORD", "SECRET", "KEY", "KEY_ID", "AUTH_STRING", "TOKEN", "CREDENTIALS", "_URI", "_URL")


def load(settings: Settings, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """All credentials of the servers: the environment's first, then those generated before."""
    kept = read(settings)
    wanted = _GENERATED if settings.s3_url else _GENERATED + _STORE
    return {name: environ.get(name) or kept.get(name) or _make(name) for name in wanted}


def store(settings: Settings, credentials: Mapping[str, str], environ: Mapping[str, str] = os.environ) -> None:
    """Write `env` for clients and for the next start; what the environment gave is not written down."""
    kept = read(settings)
    lines = {name: value for name, value in credentials.items() if kept.get(name) == value or not environ.get(name)}
    lines |= addresses(settings)
    write_private(
        settings.state / "env", _HEAD + "".join(f"export {k}={shlex.quote(v)}\n" for k, v in sorted(lines.items()))
    )


def addresses(settings: Settings) -> dict[str, str]:
    """Where clients find the servers."""
    return {
        "PREFECT_API_URL": f"{settings.url('prefect')}/api",
        "MLFLOW_TRACKING_URI": settings.url("mlflow"),
        "AWS_ENDPOINT_URL_S3": settings.url("s3"),
        "MLFLOW_S3_ENDPOINT_URL": settings.url("s3"),
        "AWS_DEFAULT_REGION": os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
    }


def read(settings: Settings) -> dict[str, str]:
    """What `env` holds; empty before the first start.

    Raises:
        ConfigError: it is not what `up` has written.
    """
    path = settings.state / "env"
    try:
        text = path.read_text(encoding="utf-8")
        words = shlex.split(text, comments=True)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (IsADirectoryError, ValueError):
        text, words = "", []
    if not text.startswith(_HEAD):
        raise ConfigError(f"{path}: not written by infra/local.sh; choose another state folder, or move it away")
    pairs = [line.removeprefix("export ").partition("=") for line in words if "=" in line]
    return {name: value for name, _, value in pairs}


def plain_environment() -> dict[str, str]:
    """The environment without secrets and addresses, to which each server's own are added."""
    return {name: value for name, value in os.environ.items() if not name.endswith(_SECRET)} | _quiet()


def _quiet() -> dict[str, str]:
    """No telemetry, and no proxy between processes of one machine."""
    local = ",".join(filter(None, [os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), "127.0.0.1"]))
    return {"DO_NOT_TRACK": "1", "NO_PROXY": local, "no_proxy": local}


def client_environment(settings: Settings, credentials: Mapping[str, str]) -> dict[str, str]:
    """The environment of a client of all servers, such as the worker, whose flows need the user's own secrets too."""
    own = {name: value for name, value in credentials.items() if name not in _SERVERS_OWN}
    return {**os.environ, **_quiet(), **addresses(settings), **own}


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _make(name: str) -> str:
    if name == "MLFLOW_TRACKING_USERNAME":
        return "admin"
    if name == "PREFECT_API_AUTH_STRING":
        return f"admin:{secrets.token_urlsafe(24)}"
    # Digits and letters only: the store takes its keys as two fields of a comma-separated line.
    return secrets.token_hex(10 if name == "AWS_ACCESS_KEY_ID" else 20)
