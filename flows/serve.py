"""`frugal serve`: open_round and close_round on a schedule, by one process on one machine.

Prefect's runner starts each run in a process of its own. A round that waits for people holds none.
"""

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from flows import record, server, start
from flows import webhook as endpoint
from flows.masked import masked
from tasks import registry
from tasks.errors import ConfigError, HeldError
from tasks.rounds import Workspace, held, load_config

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.deployments.runner import RunnerDeployment
    from prefect.schedules import Schedule

#: Tells a run's process who has started it.
_SERVER_PID = "FRUGAL_SERVE_PID"
#: Tells a run's process where its labelling server is to call.
_WEBHOOK = "FRUGAL_SERVE_WEBHOOK"
#: Minutes between two runs.
_SHORTEST, _LONGEST = 1 / 60, 525_600
#: Not in names of deployments.
_BANNED = dict.fromkeys("/%&<>").keys()
#: When the first run is due: what is due at once would be past before it is scheduled.
_SOON = timedelta(seconds=10)
#: And that of the other half, which would have nothing to do before.
_AFTER_IT = timedelta(seconds=20)


@dataclass(frozen=True)
class Times:
    """When the two halves of a round are started: by a cron expression each, else every so many minutes."""

    open: str | None
    close: str | None
    every: float
    timezone: str


def serve(
    workspace: Workspace,
    conf: str | None,
    overrides: tuple[str, ...],
    name: str | None,
    times: Times,
    port: int,
    webhook: int | None,
) -> None:
    """Start open_round and close_round of a workspace as ``times`` say, until interrupted.

    Where ``webhook`` is a port, a labelling server that calls it starts close_round at once.

    Raises:
        UserError: the configuration or a cron expression is not valid, a port is taken, or the webhook has no secret.
        ServerError: the Prefect server did not come up, or ended by itself.
    """
    record.check(workspace, start.configuration(workspace, conf, overrides))
    name = _valid_name(name or workspace.root.name)
    if webhook is not None:
        endpoint.secret()
    with server.scheduling(port) as prefect_server, _marked():
        _schedule(times, times.open), _schedule(times, times.close)
        prefect_server.wait()
        # Only now: an interval begins when it is made.
        with server.needed():
            deployments = asyncio.run(_deployments(workspace, conf, overrides, name, times))
        click.echo(f"Prefect: {masked(prefect_server.url.removesuffix('/api'))}")
        click.echo("Press Ctrl-C to stop.")
        # Prefect's runner leaves open connections behind when it is interrupted.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        try:
            with _listening(f"close-round/{name}", webhook), server.needed():
                asyncio.run(_work(workspace, deployments, prefect_server))
        except KeyboardInterrupt:
            click.echo("stopped")


def _valid_name(name: str) -> str:
    """The name if Prefect takes it.

    Raises:
        ConfigError: it does not.
    """
    if not name.strip() or set(name) & _BANNED:
        raise ConfigError(f"{name!r}: no name for deployments; give another with --name, without {' '.join(_BANNED)}")
    return name


@contextmanager
def _marked() -> Iterator[None]:
    os.environ[_SERVER_PID] = str(os.getpid())
    try:
        yield
    finally:
        del os.environ[_SERVER_PID]


def tether() -> None:
    """In the process of a run that `frugal serve` has started: end with it, also if it is killed."""
    if parent := os.environ.get(_SERVER_PID):
        server.die_with(int(parent))


@contextmanager
def _listening(deployment: str, port: int | None) -> Iterator[None]:
    """Start a run of ``deployment`` with each call from outside; while one is at work, the next is refused."""
    if port is None:
        yield
        return
    from prefect.deployments import run_deployment

    def look() -> None:
        run_deployment(deployment, timeout=0, as_subflow=False)

    with endpoint.listening(look, port=port) as address:
        click.echo(f"Webhook: {address}")
        os.environ[_WEBHOOK] = address
        try:
            yield
        finally:
            del os.environ[_WEBHOOK]


def announce(workspace: Workspace) -> None:
    """Have the labelling server call the webhook of the `frugal serve` that has started this process, if there is one.

    Raises:
        FrugalError: the server is away or refuses.
    """
    labeler = load_config(workspace).label.labeler
    if labeler in registry.TELLING and (address := os.environ.get(_WEBHOOK)):
        registry.resolve(registry.TELLING, labeler)(workspace, address, endpoint.secret())


async def _deployments(
    workspace: Workspace, conf: str | None, overrides: tuple[str, ...], name: str, times: Times
) -> "list[RunnerDeployment]":
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.types.entrypoint import EntrypointType

    from flows.loop import close_round, open_round

    root = str(workspace.root)
    common: dict[str, Any] = {
        "name": name,
        # A start that comes while another is at work is refused; it would find the same, later.
        "concurrency_limit": ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
        "entrypoint_type": EntrypointType.MODULE_PATH,
    }
    opened = {"workspace": root, "conf": conf, "overrides": list(overrides)}
    return [
        await open_round.ato_deployment(parameters=opened, schedule=_schedule(times, times.open), **common),
        await close_round.ato_deployment(
            parameters={"workspace": root}, schedule=_schedule(times, times.close, _AFTER_IT), **common
        ),
    ]


def _schedule(times: Times, cron: str | None, begins: timedelta = _SOON) -> "Schedule":
    """A schedule by ``cron``, or every so often, the first time after ``begins``."""
    from prefect.schedules import Cron, Interval

    try:
        zone = str(ZoneInfo(times.timezone))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(f"--timezone {times.timezone}: no such time zone, such as Europe/Berlin") from None
    if cron is None:
        # Not a number is neither.
        if not _SHORTEST <= times.every <= _LONGEST:
            raise ConfigError(f"--every {times.every:g}: must be minutes, from a second to a year")
        return Interval(timedelta(minutes=times.every), anchor_date=datetime.now(UTC) + begins, timezone=zone)
    try:
        return Cron(cron, timezone=zone)
    except ValueError:
        raise ConfigError(f"{cron!r}: no cron expression, such as '0 8 * * 1-5'") from None


async def _work(workspace: Workspace, deployments: "list[RunnerDeployment]", prefect_server: server.Server) -> None:
    from prefect.runner import Runner

    # Each deployment has a limit of its own; a run that had to wait for another half's would be late, not refused.
    runner = Runner(limit=None)
    await _bury(workspace, [await runner.aadd_deployment(deployment) for deployment in deployments])
    work, watch = asyncio.create_task(runner.start()), asyncio.create_task(_watch(prefect_server))
    done, pending = await asyncio.wait((work, watch), return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    for task in done:
        task.result()


async def _bury(workspace: Workspace, deployments: "list[UUID]") -> None:
    """Mark the runs that a killed `frugal serve` has left as crashed: their places would be taken for minutes."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas import filters
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    alive = filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING]))
    ours = filters.DeploymentFilter(id=filters.DeploymentFilterId(any_=deployments))
    # Nobody is at work while we hold the workspace.
    with suppress(HeldError), held(workspace):
        async with get_client() as client:
            runs = await client.read_flow_runs(
                deployment_filter=ours, flow_run_filter=filters.FlowRunFilter(state=alive)
            )
            for run in runs:
                await client.set_flow_run_state(run.id, Crashed(message="its process was killed"))


async def _watch(prefect_server: server.Server) -> None:
    while (last_words := prefect_server.ended()) is None:
        await asyncio.sleep(1)
    raise server.ServerError(f"the Prefect server ended by itself: {last_words}")
