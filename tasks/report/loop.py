"""A loop as its report tells it: every round's plan, decision, forecast, bill and outcome, read off the files."""

from dataclasses import dataclass
from typing import Any

from tasks import config, files
from tasks.config import Config
from tasks.cost import ledger
from tasks.datasets.store import load_task
from tasks.errors import WorkspaceError
from tasks.history import Outcome, history
from tasks.rounds import Workspace, decision, load_config, rounds
from tasks.task_type import Classification, Regression, TaskType, headline
from tasks.task_type.headline import Headline


@dataclass(frozen=True)
class Round:
    """One round, finished or in the making."""

    number: int
    #: 0, and one more after each restart.
    attempt: int
    #: Whether its attempt was given up.
    aborted: bool
    #: plan.json: each choice's value, reason and numbers by its name.
    plan: dict[str, dict[str, Any]]
    #: decision.json, or None before it.
    decision: dict[str, Any] | None
    #: forecast.json, or None where nobody forecast anything.
    forecast: dict[str, Any] | None
    #: cost.json: what each finished stage used.
    stages: dict[str, Any]
    #: None before the round is trained.
    outcome: Outcome | None


@dataclass(frozen=True)
class Loop:
    """What a workspace holds."""

    workspace: Workspace
    config: Config
    #: What a label is.
    task: TaskType
    #: Items of the whole pool, and of the held-out set.
    pool: int
    held_out: int
    rounds: tuple[Round, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """What items are told apart by; none in a regression."""
        return self.task.classes if isinstance(self.task, Classification) else ()

    @property
    def target(self) -> str:
        """What a label is called."""
        return self.task.target if isinstance(self.task, Regression) else "class"

    @property
    def metric(self) -> Headline:
        """What outcomes call accuracy."""
        return headline.of(self.task.name)

    @property
    def trained(self) -> list[Round]:
        """The rounds that have an outcome."""
        return [round_ for round_ in self.rounds if round_.outcome is not None]

    @property
    def settings(self) -> dict[str, Any]:
        """The configuration by dotted keys."""
        return config.flatten(config.dump(self.config))


def read(workspace: Workspace) -> Loop:
    """The loop in a workspace.

    Raises:
        WorkspaceError: no loop has begun, or none of its rounds is trained.
        DataError: a file is missing or damaged.
    """
    settings = load_config(workspace)
    outcomes = {outcome.round: outcome for outcome in history(workspace)}
    if not outcomes:
        raise WorkspaceError(
            f"{workspace.root}: no round is trained yet, so there is nothing to report; go on with `frugal run`"
        )
    return Loop(
        workspace=workspace,
        config=settings,
        task=load_task(workspace),
        pool=files.read_object(workspace.pool / "pool.json", "items")["items"],
        held_out=files.count_rows(workspace.pool / "test.parquet"),
        rounds=tuple(_rounds(workspace, outcomes)),
    )


def _rounds(workspace: Workspace, outcomes: dict[int, Outcome]) -> list[Round]:
    opened = rounds(workspace)
    decisions = {number: decision(workspace, number) for number in opened}
    restarts = [number for number, made in decisions.items() if made is not None and made["action"] == "restart"]
    return [
        Round(
            number=number,
            attempt=sum(restart < number for restart in restarts),
            aborted=any(restart >= number for restart in restarts),
            plan=_plan(workspace, number),
            decision=decisions[number],
            forecast=_forecast(workspace, number),
            stages=ledger.ledger(workspace.round_dir(number))["stages"],
            outcome=outcomes.get(number),
        )
        for number in opened
    ]


def _plan(workspace: Workspace, number: int) -> dict[str, dict[str, Any]]:
    plan = files.read_object(workspace.round_dir(number) / "plan.json")
    return {name: choice for name, choice in plan.items() if isinstance(choice, dict) and "value" in choice}


def _forecast(workspace: Workspace, number: int) -> dict[str, Any] | None:
    path = workspace.round_dir(number) / "forecast.json"
    return files.read_object(path) if path.exists() else None
