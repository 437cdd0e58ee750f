"""PostgreSQL: the one that the PG* variables name, else one of our own; and the servers' databases in it."""

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from infra.local.credentials import plain_environment, write_private
from infra.local.processes import Process
from infra.local.settings import Settings
from tasks.errors import ConfigError, FrugalError

if TYPE_CHECKING:
    from psycopg2.extensions import connection

_OWNER = "frugal"
_PROBE_S = 5


@dataclass(frozen=True)
class Place:
    """Where PostgreSQL listens and who we are to it; addresses made of it hold no password."""

    host: str
    port: int
    user: str
    password: str | None

    def url(self, scheme: str, database: str) -> str:
        """The address of a database; the password comes from PGPASSWORD."""
        return f"{scheme}://{self.user}@{self.host}:{self.port}/{database}"

    def environment(self) -> dict[str, str]:
        """What a client needs besides the address."""
        return {"PGPASSWORD": self.password} if self.password else {}


def named(environ: Mapping[str, str] = os.environ) -> Place:
    """The PostgreSQL that the PG* variables name, by default the one on this machine.

    Raises:
        ConfigError: a variable cannot be used.
    """
    user = environ.get("PGUSER") or pwd.getpwuid(os.getuid()).pw_name
    port = environ.get("PGPORT") or "5432"
    if not port.isdecimal():
        raise ConfigError(f"PGPORT: {port!r} is no port; give a number from 1 to 65535")
    host = environ.get("PGHOST") or "127.0.0.1"
    if host.startswith("/"):
        raise ConfigError(f"PGHOST: {host} is a socket's folder; give a host's name or address")
    return Place(host, int(port), user, environ.get("PGPASSWORD") or None)


def own(settings: Settings, password: str) -> Place:
    """The one that we start where there is none."""
    return Place("127.0.0.1", settings.ports["postgres"], _OWNER, password)


def process(settings: Settings) -> Process:
    """The process of our own."""
    return Process("postgres", settings.state)


def find(settings: Settings, password: str) -> Place | None:
    """The PostgreSQL to use: the one named, or ours if it was made before; None if there is neither.

    Raises:
        FrugalError: one answers and refuses us.
    """
    place = named()
    if not os.environ.get("PGHOST") and (settings.state / "postgres").exists():
        return own(settings, password)
    if listens(place):
        return place
    if os.environ.get("PGHOST"):
        raise FrugalError(f"PostgreSQL: nothing answers at {place.host}:{place.port}, which PGHOST and PGPORT name")
    return None


def listens(place: Place) -> bool:
    """Whether PostgreSQL takes us there.

    Raises:
        FrugalError: it refuses us.
    """
    from psycopg2 import OperationalError

    try:
        socket.create_connection((place.host, place.port), timeout=_PROBE_S).close()
        with _connected(place, "postgres"):
            return True
    except OSError:
        return False
    except OperationalError as error:
        said = str(error).strip().splitlines()[-1]
        if "starting up" in said:
            return False
        raise FrugalError(
            f"PostgreSQL at {place.host}:{place.port} refuses {place.user}: {said}; set PGUSER and PGPASSWORD"
        ) from None


def start(settings: Settings, place: Place) -> None:
    """Start our own, making its files the first time.

    Raises:
        ConfigError: PostgreSQL is not installed, or this is root on a machine without a user for it.
    """
    user = _user()
    data = settings.state / "postgres"
    if not (data / "PG_VERSION").exists():
        _make(data, place, user)
    options = {"listen_addresses": place.host, "port": str(place.port), "unix_socket_directories": ""}
    arguments = [f"-c{name}={value}" for name, value in options.items()]
    command = [_program("postgres"), "-D", str(data), *arguments]
    process(settings).start(command, plain_environment(), user)


def create(place: Place, database: str) -> None:
    """Make a database unless it is there."""
    from psycopg2 import sql

    with _connected(place, "postgres") as link:
        link.autocommit = True
        with link.cursor() as cursor:
            cursor.execute("select 1 from pg_database where datname = %s", [database])
            if cursor.fetchone() is None:
                cursor.execute(sql.SQL("create database {}").format(sql.Identifier(database)))


@contextmanager
def _connected(place: Place, database: str) -> "Iterator[connection]":
    import psycopg2

    link = psycopg2.connect(
        host=place.host,
        port=place.port,
        user=place.user,
        password=place.password,
        dbname=database,
        connect_timeout=_PROBE_S,
    )
    try:
        yield link
    finally:
        link.close()


def _make(data: Path, place: Place, user: str | None) -> None:
    """Its files, whole or not at all."""
    making = data.with_name("postgres.making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(mode=0o700)
    secret = data.with_name("postgres.password")
    write_private(secret, f"{place.password}\n")
    if user is not None:
        for path in (making, secret):
            shutil.chown(path, user)
    options = [f"--username={place.user}", "--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8"]
    command = [_program("initdb"), "--pgdata", str(making), "--locale=C.UTF-8", *options]
    result = subprocess.run(
        command, cwd=data.parent, user=user, capture_output=True, text=True, check=False, env=plain_environment()
    )
    secret.unlink()
    if result.returncode:
        raise FrugalError(f"{data}: initdb: {(result.stderr or result.stdout).strip().splitlines()[-1]}")
    making.rename(data)


def _user() -> str | None:
    """Whom PostgreSQL runs as: us, but never root."""
    if os.getuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        raise ConfigError(
            "PostgreSQL does not run as root: be another user, make one called postgres, or name a server by PGHOST"
        ) from None


def _program(name: str) -> str:
    """Debian keeps them out of PATH, by version."""
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    found = shutil.which(name) or (str(versions[-1]) if versions else None)
    if found is None:
        raise ConfigError(
            f"PostgreSQL: nothing listens at {named().host}:{named().port}, and there is no {name} to start one; "
            "install PostgreSQL (Debian: postgresql), or name a server by PGHOST, PGPORT, PGUSER and PGPASSWORD"
        )
    return found
