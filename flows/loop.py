"""The Prefect flows: run_loop, open_round, close_round, compare_arms.

They order and show the work; the files are the truth.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.concurrency.sync import concurrency
from prefect.exceptions import Abort
from prefect.runtime import deployment, flow_run
from prefect.states import Cancelled, Completed, Failed

from flows import artifacts, compare, record, serve, server, start, tick
from flows.console import screen
from flows.record.catch_up import catch_up, one_line, pending
from tasks import loop, registry
from tasks.compare import folder as comparisons
from tasks.compare import results
from tasks.compare.folder import Comparison
from tasks.config import Config
from tasks.errors import FrugalError, HeldError
from tasks.label import exchange
from tasks.label.run import waiting
from tasks.loop import Step
from tasks.rounds import Workspace, decision, find_workspace, held, stored_config
from tasks.status import unreached

#: Stages that occupy a device.
_ON_DEVICE = {"train", "target", "infer"}


def _worth_another_try(_task: Any, _run: Any, state: State) -> bool:
    """A fault of ours or of the user's stays one; a fault of the machine may pass."""
    error = state.result(raise_on_failure=False)
    return not isinstance(error, FrugalError)


@task(retries=2, retry_delay_seconds=[2, 10], retry_condition_fn=_worth_another_try, cache_policy=NO_CACHE)
def run_step(workspace: Workspace, step: Step, config: Config) -> None:
    """One step of the loop; a second run of a finished one does nothing."""
    with device_slot(device_kind(config) if step.name in _ON_DEVICE else "cpu"):
        loop.run(workspace, step)


@task(retries=2, retry_delay_seconds=[2, 10], retry_condition_fn=_worth_another_try, cache_policy=NO_CACHE)
def record_rounds(workspace: Workspace, config: Config) -> None:
    """Enter every finished round that is not yet recorded in DVC, git and MLflow."""
    catch_up(workspace, config, flow_run.id)


@task(retries=2, retry_delay_seconds=[2, 10], retry_condition_fn=_worth_another_try, cache_policy=NO_CACHE)
def record_arms(comparison: Comparison) -> None:
    """Enter the arms' results in MLflow, above their loops, unless they are there."""
    compare.record(comparison)


@task(retries=2, retry_delay_seconds=[2, 10], retry_condition_fn=_worth_another_try, cache_policy=NO_CACHE)
def exchange_labels(workspace: Workspace, round_: int) -> None:
    """Publish what the labeler's hub lacks of an open round, and take in its new answers."""
    if told := exchange.sync(workspace, round_):
        screen.print(told, soft_wrap=True)
    serve.announce(workspace)


@flow(flow_run_name="run_loop {workspace}", persist_result=False)
def run_loop(workspace: str, conf: str | None = None, overrides: list[str] | None = None) -> State[Any]:
    """The whole loop, until a policy stops it or people have to label."""
    return _held(workspace, lambda place: _run(place, start.configuration(place, conf, tuple(overrides or ()))))


@flow(flow_run_name="open_round {workspace}", persist_result=False)
def open_round(workspace: str, conf: str | None = None, overrides: list[str] | None = None) -> State[Any]:
    """The first half of a round: plan, SELECT, tasks for people; where a round is open already, nothing."""
    return _held(workspace, lambda place: _open(place, start.configuration(place, conf, tuple(overrides or ()))))


@flow(flow_run_name="close_round {workspace}", persist_result=False)
def close_round(workspace: str) -> State[Any]:
    """The second half of a round: labels, TRAIN, decision, TARGET where one is due, INFER; while people label, nothing.

    It may be started as often as one likes: one that finds nothing to do, or another one at work, ends at once.
    """
    return _held(workspace, _close)


@flow(flow_run_name="compare_arms {folder}", persist_result=False)
def compare_arms(folder: str) -> State[Any]:
    """The loops of a comparison that `frugal compare` has laid out, seed by seed; its results after each seed."""
    comparison = comparisons.load(Path(folder))
    with held(comparison.place):
        for number, (arm, seed) in enumerate(comparison.loops, 1):
            told = _run_arm(comparison, arm, seed)
            screen.print(f"{number} of {len(comparison.loops)}: {arm}, seed {seed}: {told}", soft_wrap=True)
            if comparison.is_last_arm(arm):
                results.write(comparison)
        record_arms(comparison)
        return Completed(message="every loop has ended")


def _run_arm(comparison: Comparison, arm: str, seed: int) -> str:
    """One loop of a comparison, unless it has ended and is recorded; what it came to, in one line."""
    workspace, config = comparisons.make_workspace(comparison, arm, seed)
    start.start(workspace, config)
    if loop.next_step(workspace) is not None or pending(workspace, config):
        run_loop(str(workspace.root))
    return one_line(workspace, config, loop.finished_rounds(workspace)[-1])


def _held(root: str, work: Callable[[Workspace], State[Any]]) -> State[Any]:
    """What ``work`` ends in; a workspace that another process holds, or a mistake, ends in a state of one line."""
    serve.tether()
    try:
        workspace = find_workspace(Path(root))
        with held(workspace):
            return work(workspace)
    except HeldError as refused:
        return Cancelled(name=tick.REFUSED, message=str(refused), data=_raised(refused))
    except FrugalError as error:
        return Failed(message=" ".join(str(error).split()), data=_raised(error))


def _raised(error: FrugalError) -> BaseException:
    """What the state that we end in raises for our caller: to the process of a deployment's run, that it may go home.

    It would print the error with its traceback otherwise, whose one line the state holds already.
    """
    return error if deployment.id is None else Abort(str(error))


def _run(workspace: Workspace, config: Config) -> State[Any]:
    def waits(step: Step) -> bool:
        _exchange(workspace, config, step)
        return waiting(workspace, step.round) is not None

    return _end(workspace, _advance(workspace, config, lambda step: step.name == "label" and waits(step)))


def _open(workspace: Workspace, config: Config) -> State[Any]:
    if stored_config(workspace) is not None:
        # A hub that was away when the round was opened gets its tasks now.
        _exchange(workspace, config, loop.next_step(workspace))
    if idle := tick.nothing_to_open(workspace):
        return Completed(name=idle.state, message=idle.reason)
    step = _advance(workspace, config, lambda step: step.name == "label")
    _exchange(workspace, config, step)
    state = _end(workspace, step)
    if step is not None and state.name == tick.AWAITING:
        with server.needed():
            artifacts.ask(workspace, step.round, state.message or "")
    return state


def _close(workspace: Workspace) -> State[Any]:
    if (config := stored_config(workspace)) is None:
        return Completed(name=tick.NOTHING_TO_CLOSE, message="no loop has begun; open its first round")
    step = loop.next_step(workspace)
    _exchange(workspace, config, step)
    if idle := tick.nothing_to_close(workspace):
        if step is None and pending(workspace, config):
            record_rounds(workspace, config)
        return Completed(name=idle.state, message=idle.reason)
    return _end(workspace, _advance(workspace, config, lambda step: step.name == "plan"))


def _exchange(workspace: Workspace, config: Config, step: Step | None) -> None:
    if step is not None and step.name == "label" and config.label.labeler in registry.HUBS:
        exchange_labels(workspace, step.round)


def _end(workspace: Workspace, step: Step | None) -> State[Any]:
    """The state of a flow that leaves ``step`` to another one."""
    if step is None:
        return Completed(name=tick.ENDED, message=tick.ended(workspace))
    if step.name != "label":
        return Completed(message="the round is closed")
    reason = waiting(workspace, step.round)
    return Completed(name=tick.AWAITING if reason else None, message=reason or "the round can be closed")


def _advance(workspace: Workspace, config: Config, leave: Callable[[Step], bool]) -> Step | None:
    """Do step after step until the loop has ended or ``leave`` says to leave one, which is returned."""
    record.check(workspace, config)
    start.start(workspace, config)
    record_rounds(workspace, config)
    while (step := loop.next_step(workspace)) is not None and not leave(step):
        run_step.with_options(name=step.name, task_run_name=f"{step.name} {step.round:03d}")(workspace, step, config)
        if step.name == "decide":
            with server.needed():
                artifacts.publish(workspace, step.round)
            if comparisons.comparison_of(workspace) is None:
                _tell(workspace, config, step.round)
        if step.round in loop.finished_rounds(workspace):
            record_rounds(workspace, config)
    return step


def _tell(workspace: Workspace, config: Config, round_: int) -> None:
    """One line on the round, and one for each target that is out of reach."""
    screen.print(one_line(workspace, config, round_), soft_wrap=True)
    for warning in unreached(decision(workspace, round_) or {"action": "continue", "numbers": {}}):
        screen.print(f"warning: {warning}", style="yellow", soft_wrap=True)


def device_kind(config: Config) -> str:
    """The kind of device that the loop's models run on."""
    from tasks.models.device import resolve

    return resolve(config.device).type


@contextmanager
def device_slot(kind: str) -> Iterator[None]:
    """Occupy one of this machine's GPUs among all runs of a Prefect server that stays; a CPU needs no slot."""
    if kind == "cpu" or not server.lends_slots():
        yield
        return
    _ensure_slots()
    # If the server goes away, the stage goes on.
    with concurrency("gpu", occupy=1, strict=True, raise_on_lease_renewal_failure=False):
        yield


def _ensure_slots() -> None:
    """Create the `gpu` limit, one slot per GPU seen here, unless somebody has set one."""
    import torch
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        try:
            client.read_global_concurrency_limit_by_name("gpu")
        except ObjectNotFound:
            client.upsert_global_concurrency_limit_by_name("gpu", max(torch.cuda.device_count(), 1))
