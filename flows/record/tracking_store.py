"""Where a workspace's MLflow record is kept, and how a new database comes to be at once.

The loops of a comparison are recorded together, in the comparison's folder.

MLflow takes up to ten seconds to build its tables. So an empty, migrated database is kept in the user's cache folder,
one for each release of MLflow, and copied into each new workspace.
"""

import http.client
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from tasks import files
from tasks.compare.folder import comparison_of
from tasks.rounds import Workspace

_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_MODEL_CATALOG_URI": "",
    # It would print the address of each run, which may hold a password.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # A server that is away is told within seconds; the record is caught up later.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
#: Seconds in which a server must take a connection; MLflow's own limit is for connecting and answering alike.
_CONNECT_S = 3.0
#: Seconds in which it must say something, which a busy one may need.
_ANSWER_S = 10.0
_PORTS = {"http": 80, "https": 443}
_MAKE = """
import sys
from sqlalchemy import create_engine
from mlflow.store.db import utils
utils._initialize_tables(create_engine(sys.argv[1]))
"""


def home(workspace: Workspace) -> Path:
    """The folder that holds the record unless a server does: the workspace, or the comparison that it belongs to."""
    return comparison_of(workspace) or workspace.root


def uri(workspace: Workspace) -> str:
    """The tracking server that MLFLOW_TRACKING_URI names, else the workspace's own database."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{_database(workspace)}"


def artifacts(workspace: Workspace) -> str | None:
    """Where artifacts go: into the workspace, or where the server puts them."""
    return (home(workspace) / "mlartifacts").as_uri() if _is_local() else None


def exists(workspace: Workspace) -> bool:
    """Whether there is anything to ask: a server, or a database already made."""
    return not _is_local() or _database(workspace).exists()


def quiet() -> None:
    """Keep MLflow from telling others of its use and from logging; what the environment says already stays."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)


def warm_up() -> None:
    """Load MLflow, and have an empty database made if this machine has none; touches no workspace.

    The first time on a machine this takes some ten seconds, mostly another process's; later only as long as the import.
    Call it before a wait that hides it, such as that for the Prefect server.
    """
    quiet()
    if _is_local() and not _empty().exists():
        _make(_empty())
    import mlflow.tracking  # noqa: F401


def is_server(tracking_uri: str) -> bool:
    """Whether a machine answers at the address, and not a file of this one."""
    return urlsplit(tracking_uri).hostname is not None


def reach(tracking_uri: str) -> None:
    """Find out within seconds whether a web server answers; other kinds of addresses are not tried.

    Raises:
        OSError: it does not.
    """
    address = urlsplit(tracking_uri)
    if address.scheme not in _PORTS or not address.hostname:
        return
    if {address.scheme, "all"} & getproxies().keys() and not proxy_bypass(address.hostname):
        return
    place = address.netloc.rpartition("@")[2]
    try:
        port = address.port or _PORTS[address.scheme]
    except ValueError:
        # Its words would quote what may be the password.
        raise ConnectionError(
            f"no connection to {address.hostname}: no port follows it, or its password is not percent-encoded"
        ) from None
    try:
        socket.create_connection((address.hostname, port), timeout=_CONNECT_S).close()
    except OSError as error:
        raise ConnectionError(f"no connection to {place}: {error}") from error
    if address.scheme == "http":
        _knock(place, address.hostname, port)


def _knock(place: str, host: str, port: int) -> None:
    """Have the server answer, be it with a refusal: one that hangs takes connections all the same."""
    connection = http.client.HTTPConnection(host, port, timeout=_ANSWER_S)
    try:
        connection.request("GET", "/health")
        connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionError(f"no answer from {place}: {error or type(error).__name__}") from error
    finally:
        connection.close()


def prepare(workspace: Workspace) -> None:
    """Give the workspace its database if it needs one."""
    database = _database(workspace)
    if not _is_local() or database.exists():
        return
    empty = _empty()
    if empty.exists() or _make(empty):
        # Without it MLflow builds its tables in the workspace itself.
        files.write_atomic(database, lambda target: _copy(empty, target))


def _is_local() -> bool:
    return not os.environ.get("MLFLOW_TRACKING_URI")


def _database(workspace: Workspace) -> Path:
    return home(workspace) / "mlflow.db"


def _empty() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "frugal-loop" / f"mlflow-{metadata.version('mlflow')}.db"


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def _make(empty: Path) -> bool:
    """Build an empty database in another process; False if the cache folder or MLflow does not allow it."""
    try:
        empty.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".making-", dir=empty.parent) as folder:
            made = Path(folder) / "mlflow.db"
            command = [sys.executable, "-c", _MAKE, f"sqlite:///{made}"]
            result = subprocess.run(command, capture_output=True, check=False, env={**os.environ, **_QUIET})
            if result.returncode:
                return False
            made.replace(empty)
    except OSError:
        return False
    return True
