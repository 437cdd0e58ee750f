"""What the commands do: check, start the server while torch loads, run a Prefect flow, say how it ended."""

import os
from pathlib import Path
from typing import Any

from flows import tick
from tasks import loop, progress, stages
from tasks.compare import results
from tasks.compare.folder import Comparison
from tasks.compare.results import Results
from tasks.config import Config
from tasks.errors import AnswerError, ConfigError, WaitingForLabels, WorkspaceError
from tasks.label import answers as answer_files
from tasks.label import exchange, journal
from tasks.label.asked import asked
from tasks.label.labels import Answer
from tasks.rounds import Workspace, goes_on, load_config, stored_config, trains_target


def drive(workspace: Workspace, flow: str, conf: str | None, overrides: tuple[str, ...]) -> None:
    """Run one of the flows on a workspace that the caller holds.

    Raises:
        UserError: something in the request or the data is wrong; nothing was written.
        WaitingForLabels: a round is open and unanswered.
    """
    from flows import record, server, start
    from flows.console import screen
    from flows.record.catch_up import pending

    config = start.configuration(workspace, conf, overrides)
    record.check(workspace, config)
    if stored_config(workspace) is not None and loop.next_step(workspace) is None and not pending(workspace, config):
        loop.sync(workspace)
        return
    if flow == "open_round" and tick.nothing_to_open(workspace):
        if (step := loop.next_step(workspace)) is not None and step.name == "label":
            _exchange(workspace, step.round)
        return
    with server.embedded() as prefect_server:
        # The server starts in a process of its own meanwhile; threads of ours would only wait for each other's imports.
        start.start(workspace, config)
        screen.print("loading, while the Prefect server starts …")
        _warm_up(config)
        prefect_server.wait()
        _run(flow, workspace=str(workspace.root), conf=conf, overrides=list(overrides))


def compare(
    workspace: Workspace, confs: tuple[str, ...], overrides: tuple[str, ...], seeds: int, out: Path | None
) -> tuple[Comparison, Results]:
    """Run the loops of a comparison, or what is left of them, and say what came of it.

    Raises:
        UserError: the arms make no comparison, or one of them cannot run; nothing was written.
    """
    from flows import compare as comparing
    from flows import server
    from flows.console import screen

    comparison = comparing.wanted(workspace, confs, overrides, seeds, out)
    if (found := comparing.settled(comparison)) is not None:
        return comparison, found
    with server.embedded() as prefect_server:
        screen.print("loading, while the Prefect server starts …")
        with comparing.begun(workspace, comparison):
            _warm_up(comparison.first)
            prefect_server.wait()
            _run("compare_arms", folder=str(comparison.root))
            return comparison, results.write(comparison)


def close(workspace: Workspace, answers: Path | None) -> None:
    """Close the open round; ``answers`` are kept once they have been found to fit, also if they are not enough.

    Raises:
        WorkspaceError: no round is open.
        AnswerError: the answers do not fit the tasks; nothing was written.
        WaitingForLabels: too few tasks are answered.
    """
    from flows import record, server

    config = load_config(workspace)
    record.check(workspace, config)
    if answers is not None:
        take_in(workspace, answers)
    if (step := loop.next_step(workspace)) is not None and step.name == "label":
        _exchange(workspace, step.round)
    if idle := tick.nothing_to_close(workspace):
        if idle.state == tick.AWAITING:
            raise WaitingForLabels(idle.reason)
        raise WorkspaceError(f"{workspace.root}: {idle.reason}")
    with server.embedded() as prefect_server:
        _warm_up(config)
        prefect_server.wait()
        _run("close_round", workspace=str(workspace.root))


def single_stage(workspace: Workspace, name: str, round_: int | None) -> str:
    """Run one stage without an orchestrator and say what came of it.

    Raises:
        ConfigError: no such stage, or its round is missing.
    """
    if name not in stages.BY_NAME:
        raise ConfigError(f"{name!r}: no such stage; the stages are {', '.join(stages.BY_NAME)}")
    if name == stages.POOL.name:
        from tasks.datasets.run import run as build_pool

        build_pool(workspace, load_config(workspace))
        return "pool: done"
    if round_ is None:
        raise ConfigError(f"stage {name} needs --round, such as --round 002")
    if name == stages.INFER.name and not goes_on(workspace, round_):
        raise ConfigError(f"stage infer of round {round_:03d}: the loop did not go on after it, so nothing is scored")
    if name == stages.TARGET.name and not trains_target(workspace, round_):
        raise ConfigError(f"stage target of round {round_:03d}: no target is trained on its labels (decision.json)")
    with progress.shown_by(_listener()):
        ran = stages.run(workspace, stages.BY_NAME[name], round_)
    other = stages.differing(workspace, stages.BY_NAME[name], round_)
    note = f"; other bytes than in the run that was billed: {', '.join(other)}" if other else ""
    return f"{name} {round_:03d}: {'done' if ran else 'up to date'}{note}"


def take_in(workspace: Workspace, answers: Path) -> journal.Taken:
    """Keep the answers of a file to the tasks of the open round, which stays open.

    Raises:
        WorkspaceError: no loop has begun.
        AnswerError: nobody waits for answers, or they do not fit the tasks; nothing was written.
    """
    return journal.take_in_file(workspace, _asking(workspace, answers), answers)


def check_answers(workspace: Workspace, answers: Path) -> list[Answer]:
    """The answers of a file that fits the tasks of the open round; writes nothing.

    Raises:
        WorkspaceError: no loop has begun.
        AnswerError: nobody waits for answers, or they do not fit the tasks; each fault is listed.
    """
    return answer_files.read(answers, asked(workspace, _asking(workspace, answers)))


def _asking(workspace: Workspace, answers: Path) -> int:
    """The round that waits for people; refuses answers that nobody waits for."""
    config, step = load_config(workspace), loop.next_step(workspace)
    if not config.label.by_people:
        raise AnswerError(f"{answers}: this loop asks its {config.label.labeler} (label.labeler) and takes no files")
    if step is None:
        raise AnswerError(f"{answers}: the loop has ended and asks for no more answers; `frugal status` says why")
    if step.name in ("pool", "plan", "select"):
        raise AnswerError(f"{answers}: no round is open; open one with `frugal open`")
    if step.name != "label":
        raise AnswerError(f"{answers}: round {step.round:03d} has its labels already; go on with `frugal close`")
    return step.round


def _exchange(workspace: Workspace, round_: int) -> None:
    from flows.console import screen

    if told := exchange.sync(workspace, round_):
        screen.print(told, soft_wrap=True)


def _run(flow: str, **parameters: Any) -> None:
    # Our own errors reach the user as one line; Prefect would log each with its traceback.
    for level in ("PREFECT_LOGGING_LEVEL", "PREFECT_LOGGING_INTERNAL_LEVEL"):
        os.environ.setdefault(level, "CRITICAL")
    from flows import loop as flows
    from flows import server

    with server.needed():
        with progress.shown_by(_listener()):
            state = getattr(flows, flow)(**parameters, return_state=True)
        state.result()
    if flow == "run_loop" and state.name == tick.AWAITING:
        raise WaitingForLabels(state.message)


def _listener() -> progress.Progress:
    from flows.console import listener

    return listener()


def _warm_up(config: Config) -> None:
    """Load what the stages and their record need while the server starts."""
    import torch._dynamo  # noqa: F401 - torch's optimisers import it at their first step, for seconds

    import tasks.infer.run
    import tasks.target.run
    import tasks.train.run  # noqa: F401

    if config.record.dvc:
        from flows.record.versions import quiet_dvc

        with quiet_dvc():
            import dvc.repo  # noqa: F401
    if config.record.mlflow:
        from flows.record import tracking_store

        tracking_store.warm_up()
