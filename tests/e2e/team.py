"""All servers of a team, brought up by infra/local.sh on free ports, in a folder and databases of their own."""

import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    from psycopg2.extensions import connection

SCRIPT = Path(__file__).resolve().parents[2] / "infra" / "local.sh"
#: What this machine's user may have set for servers of their own.
_FOREIGN = ("AWS_", "FRUGAL_", "MLFLOW_", "PREFECT_")
_TICK_S = "1"


@dataclass(frozen=True)
class Team:
    """The running servers, and the environment of their clients."""

    state: Path
    #: Of `local.sh`.
    settings: dict[str, str]
    #: Everything that `local.sh` and the clients' commands said.
    said: list[str] = field(default_factory=list)

    def local(self, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run `infra/local.sh`."""
        result = subprocess.run(
            [str(SCRIPT), *arguments], env=self.settings, capture_output=True, text=True, timeout=280, check=False
        )
        self.said.append(result.stdout + result.stderr)
        if check:
            assert result.returncode == 0, self.said[-1]
        return result

    def client(self, root: Path, *command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run a client's command in a workspace."""
        path = f"{Path(sys.executable).parent}:{self.settings['PATH']}"
        result = subprocess.run(
            command,
            cwd=root,
            env=self.environment | {"PATH": path} | environment,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        self.said.append(result.stdout + result.stderr)
        return result

    def sever(self) -> None:
        """End the servers' connections to PostgreSQL, as its restart does."""
        with _connected("postgres") as link, link.cursor() as cursor:
            names = [self.settings["FRUGAL_PREFECT_DATABASE"], self.settings["FRUGAL_MLFLOW_DATABASE"]]
            cursor.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = any(%s)", [names])
            assert cursor.rowcount

    def rows(self) -> Iterator[tuple[str, bytes]]:
        """Every row of both servers' databases, after its table's name."""
        for database in (self.settings["FRUGAL_PREFECT_DATABASE"], self.settings["FRUGAL_MLFLOW_DATABASE"]):
            with _connected(database) as link, link.cursor() as cursor:
                cursor.execute("select table_name from information_schema.tables where table_schema = 'public'")
                for (table,) in cursor.fetchall():
                    cursor.execute(f'select t::text from "{table}" t')
                    yield from ((f"{database}.{table}", row.encode()) for (row,) in cursor.fetchall())

    @property
    def environment(self) -> dict[str, str]:
        """What a client has after `. ./env`."""
        lines = shlex.split((self.state / "env").read_text(), comments=True)
        pairs = [line.partition("=") for line in lines if "=" in line]
        return self.settings | {name: value for name, _, value in pairs}

    @contextmanager
    def without(self, name: str) -> Iterator[None]:
        """One of the servers is away for the length of the block."""
        self.local("down", name)
        try:
            yield
        finally:
            self.local("up", name)


@contextmanager
def running(state: Path, **settings: str) -> Iterator[Team]:
    """The servers for the length of the block; their databases go with them."""
    mark = uuid4().hex[:8]
    databases = {f"FRUGAL_{name}_DATABASE": f"frugal_test_{mark}_{name.lower()}" for name in ("PREFECT", "MLFLOW")}
    ports = {f"FRUGAL_{name}_PORT": str(free_port()) for name in ("PREFECT", "MLFLOW", "S3", "POSTGRES")}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    own = {
        **kept,
        **databases,
        **ports,
        "FRUGAL_STATE": str(state),
        "FRUGAL_PYTHON": sys.executable,
        # Asked often, and given up soon, so that a test waits less.
        "PREFECT_CLIENT_MAX_RETRIES": "3",
        "PREFECT_WORKER_QUERY_SECONDS": _TICK_S,
        "PREFECT_WORKER_HEARTBEAT_SECONDS": "3",
        **settings,
    }
    team = Team(state.resolve(), own)
    try:
        team.local("up")
        yield team
    finally:
        team.local("down", "mlflow", "worker", "prefect", "s3")
        _drop(team, list(databases.values()))
        team.local("down")


def free_port() -> int:
    """A port that nothing uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _drop(team: Team, databases: list[str]) -> None:
    if not (team.state / "postgres").exists():
        with _connected("postgres") as link, link.cursor() as cursor:
            for database in databases:
                cursor.execute(f'drop database if exists "{database}" with (force)')


@contextmanager
def _connected(database: str) -> Iterator["connection"]:
    import psycopg2

    link = psycopg2.connect(host=os.environ.get("PGHOST", "127.0.0.1"), dbname=database)
    try:
        link.autocommit = True
        yield link
    finally:
        link.close()
