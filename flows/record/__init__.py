"""The record of finished rounds: versions in DVC, commits in git, runs in MLflow.

The files of a round are the truth. Each recorder can be asked again at any time: what is recorded already stays as it
is, and what is missing, because a process died or a server was away, is caught up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flows.record import git, remote, versions
from tasks import registry, stages
from tasks.config import Config
from tasks.rounds import Workspace
from tasks.task_type import headline


@dataclass(frozen=True)
class Summary:
    """What a finished round has come to; all sums are made by the caller."""

    #: Bought so far, with this round's.
    labels: int
    #: Spent so far, with this round's.
    money: float
    currency: str
    #: Used so far, all kinds of devices together.
    device_hours: float
    #: Held-out metrics by name; `accuracy`, or `r2`, is among them.
    metrics: Mapping[str, float]
    #: The round's plan and whatever else is worth comparing between rounds; any JSON values.
    params: Mapping[str, Any]
    #: Metrics of each epoch, in order.
    history: Sequence[Mapping[str, float]] = ()
    #: By which rounds are found and told apart; none of them is drawn.
    tags: Mapping[str, str] = field(default_factory=dict)


def subject(round_: int, summary: Summary) -> str:
    """The one line that names a round in `git log`."""
    own = round(summary.metrics.get("attempt_labels", summary.labels))
    bought = f" ({summary.labels} bought)" if own != summary.labels else ""
    metric = headline.among(summary.metrics).name
    return (
        f"round {round_:03d}: {own} labels{bought}, {metric} {summary.metrics[metric]:.4f}, "
        f"{summary.money:.2f} {summary.currency}"
    )


def check(workspace: Workspace, wanted: Config) -> None:
    """Refuse a workspace that cannot take the record which its configuration wants.

    Raises:
        WorkspaceError: git or DVC is missing there, the workspace lies inside a larger git repository, or its dvc.yaml
            is of a release that knew no proxies, or no features.
    """
    if wanted.record.git == "commit":
        git.check(workspace)
    if wanted.record.push:
        remote.check(workspace)
    if wanted.record.dvc:
        versions.check(workspace, [] if wanted.proxy is None else [stages.TARGET.name])
        if wanted.select.strategy in registry.FEATURE_STRATEGIES:
            versions.check_output(workspace, stages.INFER.name, "features.parquet")
