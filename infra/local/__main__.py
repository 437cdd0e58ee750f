"""`infra/local.sh up | down | status`."""

import fcntl
import shlex
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click

from infra.local import credentials, postgres, servers, settings
from infra.local.postgres import Place
from infra.local.processes import Process, is_taken
from infra.local.servers import REFUSES, Server
from infra.local.settings import Settings
from tasks.errors import FrugalError, WorkspaceError

_START_S = 240.0
_NAMES = ("postgres", "s3", "prefect", "worker", "mlflow")


class _OneLine(click.Group):
    """Ends our own errors with one line and their exit status."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except FrugalError as error:
            click.echo(f"error: {error}", err=True)
            raise SystemExit(error.exit_code) from None
        except OSError as error:
            click.echo(f"error: {error.filename or 'the system'}: {error.strerror or error}", err=True)
            raise SystemExit(2 if error.filename else 1) from None


@click.group(cls=_OneLine, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="FRUGAL_STATE",
    default=Path(".local"),
    show_default=True,
    help="Where process numbers, logs, data and credentials are kept.",
)
@click.pass_context
def main(ctx: click.Context, state: Path) -> None:
    """PostgreSQL, an S3 store, Prefect, MLflow and a worker as plain processes of this machine."""
    ctx.obj = settings.load(state)


@main.command()
@click.argument("names", nargs=-1, type=click.Choice(_NAMES))
@click.pass_obj
def up(here: Settings, names: tuple[str, ...]) -> None:
    """Start what does not run yet: everything, or the servers named."""
    # Folders and files are their owner's; a PostgreSQL that runs as another user passes through to its own.
    here.state.mkdir(mode=0o711, parents=True, exist_ok=True)
    with _alone(here):
        secrets = credentials.load(here)
        place = _postgres(here, secrets)
        wanted = [server for server in servers.all_servers(here, secrets, place) if not names or server.name in names]
        started = [server for server in wanted if server.process.pid() is None]
        for server in started:
            _check_port(here, server)
        credentials.store(here, secrets)
        for server in started:
            # The worker asks Prefect, and gives up where it is not there.
            if server.port is not None:
                servers.start(server)
        for server in wanted:
            if server in started and server.port is None:
                servers.start(server)
            _wait(server)
            if server.name == "s3":
                servers.make_buckets(here, secrets)
            click.echo(f"{server.name:9}{server.address}")
        click.echo(f"clients: . {shlex.quote(str(here.state / 'env'))}")


@main.command()
@click.argument("names", nargs=-1, type=click.Choice(_NAMES))
@click.pass_obj
def down(here: Settings, names: tuple[str, ...]) -> None:
    """End what `up` started, or those of it that are named; what they keep stays."""
    if not here.state.exists():
        return
    with _alone(here):
        for name in reversed(_NAMES):
            # PostgreSQL waits for its clients to leave unless it is interrupted.
            kind = signal.SIGINT if name == "postgres" else signal.SIGTERM
            if (not names or name in names) and Process(name, here.state).stop(kind):
                click.echo(f"{name:9}ended")


@main.command()
@click.pass_context
def status(ctx: click.Context) -> None:
    """Say what answers; exit status 1 if something does not."""
    here: Settings = ctx.obj
    secrets = credentials.load(here)
    place = postgres.find(here, secrets["FRUGAL_POSTGRES_PASSWORD"])
    answers = [_tell("postgres", *_postgres_state(place))]
    for server in servers.all_servers(here, secrets, place or postgres.named()):
        answers.append(_tell(server.name, server.address, server.fault()))
    ctx.exit(0 if all(answers) else 1)


def _tell(name: str, address: str, fault: str | None) -> bool:
    click.echo(f"{name:9}{address:40} {fault or 'answers'}")
    return fault is None


def _postgres_state(place: Place | None) -> tuple[str, str | None]:
    shown = place or postgres.named()
    answers = place is not None and postgres.listens(place)
    return f"{shown.host}:{shown.port}", None if answers else "does not answer"


def _postgres(here: Settings, secrets: Mapping[str, str]) -> Place:
    """PostgreSQL with the servers' databases; ours is started where there is none."""
    password = secrets["FRUGAL_POSTGRES_PASSWORD"]
    place = postgres.find(here, password) or postgres.own(here, password)
    if place == postgres.own(here, password) and postgres.process(here).pid() is None:
        if is_taken(place.host, place.port):
            raise _taken("postgres", place.port)
        credentials.store(here, secrets)
        postgres.start(here, place)
        _until(lambda: postgres.listens(place), "postgres", postgres.process(here))
    for database in here.databases.values():
        postgres.create(place, database)
    click.echo(f"postgres {place.host}:{place.port}")
    return place


def _check_port(here: Settings, server: Server) -> None:
    if server.port is not None and is_taken(here.host, server.port):
        raise _taken(server.name, server.port)


def _taken(name: str, port: int) -> WorkspaceError:
    return WorkspaceError(f"{name}: port {port} is taken; choose another with FRUGAL_{name.upper()}_PORT")


def _wait(server: Server) -> None:
    _until(lambda: server.fault() is None, server.name, server.process, server.fault)


def _until(
    answers: Callable[[], bool], name: str, process: Process, fault: Callable[[], str | None] = lambda: None
) -> None:
    """Return once a server answers.

    Raises:
        FrugalError: it ended, or took too long.
    """
    deadline = time.monotonic() + _START_S
    while not answers():
        if process.pid() is None:
            raise FrugalError(f"{name}: ended by itself: {process.last_words()}; see {process.log}")
        if time.monotonic() > deadline or (fault() or "").startswith(REFUSES):
            raise FrugalError(f"{name}: {fault() or 'does not answer'}; see {process.log}")
        time.sleep(0.2)


@contextmanager
def _alone(here: Settings) -> Iterator[None]:
    """One command at a time changes anything."""
    with (here.state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WorkspaceError(f"{here.state}: another up or down works here; wait for it") from None
        yield


if __name__ == "__main__":
    main()
