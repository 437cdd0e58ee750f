"""What a start of open_round or close_round finds to do, read off the files before anything heavy is loaded."""

from dataclasses import dataclass

from tasks import loop
from tasks.label.run import waiting
from tasks.rounds import Workspace, decision, load_config, rounds, stored_config

#: The names of states in which a flow ends. AWAITING: a round waits for people. ENDED: a policy has ended the loop.
AWAITING, ENDED = "AwaitingLabels", "LoopEnded"
#: Of a start that found nothing to do; REFUSED as another process holds the workspace.
NOTHING_TO_OPEN, NOTHING_TO_CLOSE, REFUSED = "NothingToOpen", "NothingToClose", "Refused"

_BEFORE_LABEL = ("pool", "plan", "select")


@dataclass(frozen=True)
class Idle:
    """Why there is nothing to do: the name of the state to end in, and its message."""

    state: str
    reason: str


def nothing_to_open(workspace: Workspace) -> Idle | None:
    """Why no round can be opened, or None: one can, or its opening was interrupted."""
    if stored_config(workspace) is None:
        return None
    step = loop.next_step(workspace)
    if step is None:
        return Idle(NOTHING_TO_OPEN, ended(workspace))
    if step.name in _BEFORE_LABEL:
        return None
    if step.name == "label":
        return Idle(NOTHING_TO_OPEN, waiting(workspace, step.round) or f"round {step.round:03d} can be closed")
    return Idle(NOTHING_TO_OPEN, f"round {step.round:03d} is not closed yet: {step.name} comes next")


def nothing_to_close(workspace: Workspace) -> Idle | None:
    """Why there is no round to close, or None: one has its labels, or its closing was interrupted.

    Raises:
        WorkspaceError: no loop has begun.
        AnswerError: the answers do not fit the tasks.
    """
    load_config(workspace)
    step = loop.next_step(workspace)
    if step is None:
        return Idle(NOTHING_TO_CLOSE, ended(workspace))
    if step.name in _BEFORE_LABEL:
        return Idle(NOTHING_TO_CLOSE, "no round is open; open one with `frugal open`")
    if step.name == "label" and (reason := waiting(workspace, step.round)):
        return Idle(AWAITING, reason)
    return None


def ended(workspace: Workspace) -> str:
    """That the loop has ended, and why."""
    made = decision(workspace, rounds(workspace)[-1])
    return f"the loop has ended: {made['reason']}" if made else "the loop has ended"
