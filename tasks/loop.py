"""What the loop does next, read off the files alone; so any process may die, and the next one goes on."""

from dataclasses import dataclass
from typing import Literal

from tasks import curve_file, stages
from tasks.rounds import Workspace, decision, is_followed, load_config, rounds, sync_rounds_file

StepName = Literal["pool", "plan", "select", "label", "train", "decide", "target", "infer"]

_BEFORE_DECISION = (stages.SELECT, stages.LABEL, stages.TRAIN)
_AFTER_DECISION = (stages.TARGET, stages.INFER)


@dataclass(frozen=True)
class Step:
    """One step of the loop; ``round`` is 0 for the pool."""

    name: StepName
    round: int


def next_step(workspace: Workspace) -> Step | None:
    """The first step that has not been done, or None when the loop has ended."""
    if not (workspace.pool / "pool.json").exists():
        return Step("pool", 0)
    opened = rounds(workspace)
    if not opened:
        return Step("plan", 0)
    last = opened[-1]
    return _within(workspace, last) or (Step("plan", last + 1) if is_followed(workspace, last) else None)


def _within(workspace: Workspace, round_: int) -> Step | None:
    for stage in _BEFORE_DECISION:
        if not stages.is_done(workspace, stage, round_):
            return Step(stage.name, round_)  # type: ignore[arg-type]
    if decision(workspace, round_) is None:
        return Step("decide", round_)
    for stage in stages.wanted(workspace, round_):
        if stage in _AFTER_DECISION and not stages.is_done(workspace, stage, round_):
            return Step(stage.name, round_)  # type: ignore[arg-type]
    return None


def finished_rounds(workspace: Workspace) -> list[int]:
    """The rounds in which nothing is left to do, ascending; only the last opened one can be unfinished."""
    opened = rounds(workspace)
    return [number for number in opened if number != opened[-1] or _within(workspace, number) is None]


def run(workspace: Workspace, step: Step) -> None:
    """Do one step, and bring conf/rounds.yaml and data/curve.csv up to date."""
    from tasks.policy import run as policies

    if step.name == "pool":
        from tasks.datasets.run import run as build_pool

        build_pool(workspace, load_config(workspace))
    elif step.name == "plan":
        policies.plan(workspace, step.round)
    elif step.name == "decide":
        policies.decide(workspace, step.round)
    else:
        stages.run(workspace, stages.BY_NAME[step.name], step.round)
    sync_rounds_file(workspace)
    if step.name in ("decide", "target", "infer"):
        curve_file.sync(workspace)


def sync(workspace: Workspace) -> None:
    """Bring what is made from the rounds' files up to date: conf/rounds.yaml and data/curve.csv."""
    sync_rounds_file(workspace)
    curve_file.sync(workspace)
