"""What one round's MLflow run holds."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.record import Summary, git, versions
from flows.record.notes import Origin
from flows.record.tracking_curve import GLANCE
from tasks import files
from tasks.rounds import Workspace, load_config
from tasks.task_type import headline

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Metric, Run

_ARTIFACTS = (
    "plan.json",
    "forecast.json",
    "cost.json",
    "decision.json",
    "metrics.json",
    "selected.parquet",
    "scores.parquet",
)
_POOLS = {"labeled": "training", "unlabeled": "pool"}
#: MLflow's limits for one batch.
_METRICS_A_BATCH, _PARAMS_A_BATCH, _VALUE_LENGTH, _DIGEST_LENGTH = 1000, 100, 6000, 36


def write(
    client: "MlflowClient",
    workspace: Workspace,
    round_: int,
    summary: Summary,
    loop: "Run",
    run: "Run",
    gallery: Path | None,
    tags: Mapping[str, str],
) -> None:
    """Fill a round's run and add its point to the loop's; written again, everything stays as it is."""
    run_id, at = run.info.run_id, int(run.info.start_time)
    log_params(client, run_id, summary.params)
    reached = _reached(round_, summary)
    points = [point for prefix, step, epoch in epochs(summary.history) for point in _points(epoch, at, step, prefix)]
    points += _points(reached, at, summary.labels)
    for start in range(0, len(points), _METRICS_A_BATCH):
        client.log_batch(run_id, metrics=points[start : start + _METRICS_A_BATCH])
    client.log_inputs(run_id, _datasets(workspace, round_))
    for name in _ARTIFACTS:
        log_file(client, run_id, workspace.round_dir(round_) / name)
    log_file(client, run_id, workspace.round_dir(round_) / "target" / "metrics.json", "target")
    if gallery is not None:
        log_file(client, run_id, gallery)
    glance = {key: reached[key] for key in (headline.among(reached).name, "money", "device_hours")}
    points = [*_points(reached, at, summary.labels), *_points(glance, at, summary.labels, GLANCE)]
    client.log_batch(loop.info.run_id, metrics=points)
    set_tags(client, run_id, {**tags, **summary.tags})


def epochs(history: Sequence[Mapping[str, float]]) -> Iterator[tuple[str, int, dict[str, float]]]:
    """Prefix, step from 0, and metrics of each epoch; every member of an ensemble has a prefix and steps of its own."""
    steps: Counter[str] = Counter()
    for epoch in history:
        metrics = dict(epoch)
        prefix = f"epoch/member_{metrics.pop('member')}/" if "member" in metrics else "epoch/"
        yield prefix, steps[prefix], metrics
        steps[prefix] += 1


def _reached(round_: int, summary: Summary) -> dict[str, float]:
    """The numbers that make the learning curve, drawn over the labels bought."""
    sums = {"labels": summary.labels, "money": summary.money, "device_hours": summary.device_hours, "round": round_}
    name = headline.among(summary.metrics).name
    # The pages list them in this order.
    return {name: summary.metrics[name], **sums, **summary.metrics}


def _points(values: Mapping[str, float], at: int, step: int, prefix: str = "") -> list["Metric"]:
    from mlflow.entities import Metric

    return [Metric(f"{prefix}{key}", float(value), at, step) for key, value in values.items()]


def log_params(client: "MlflowClient", run_id: str, values: Mapping[str, Any]) -> None:
    """Log values by dotted key, as text; the same values may be logged again."""
    from mlflow.entities import Param

    params = [Param(key, str(value)[:_VALUE_LENGTH]) for key, value in _flat(values)]
    for start in range(0, len(params), _PARAMS_A_BATCH):
        client.log_batch(run_id, params=params[start : start + _PARAMS_A_BATCH])


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _datasets(workspace: Workspace, round_: int) -> list["DatasetInput"]:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    md5s = versions.md5s(workspace, round_)
    inputs = []
    for name, context in _POOLS.items():
        path = workspace.round_dir(round_) / f"{name}.parquet"
        digest = md5s.get(workspace.relative(path)) or files.digest(path)[:_DIGEST_LENGTH]
        source = json.dumps({"uri": workspace.relative(path)})
        inputs.append(DatasetInput(Dataset(name, digest, "local", source), [InputTag("mlflow.data.context", context)]))
    return inputs


def log_file(client: "MlflowClient", run_id: str, path: Path, folder: str | None = None) -> None:
    """Copy a file into the run's artifacts if it is there."""
    if path.exists():
        client.log_artifact(run_id, str(path), folder)


def origin(workspace: Workspace, round_: int) -> Origin:
    """Where a round is found in git and DVC."""
    record = load_config(workspace).record
    commit = git.commit_of(workspace, round_) if record.git == "commit" else None
    return Origin(round_, commit, versions.md5s(workspace, round_) if record.dvc else {})


def origin_tags(workspace: Workspace, found: Origin) -> dict[str, str]:
    """The commit, and the digest of the dvc.lock in it."""
    tags = {"git_sha": found.commit} if found.commit else {}
    if found.md5s and (lock := _dvc_lock(workspace, found.commit)):
        tags["dvc_lock_md5"] = hashlib.md5(lock, usedforsecurity=False).hexdigest()
    return tags


def _dvc_lock(workspace: Workspace, commit: str | None) -> bytes:
    if commit:
        return git.file_at(workspace, commit, "dvc.lock")
    path = workspace.root / "dvc.lock"
    return path.read_bytes() if path.exists() else b""


def set_tags(client: "MlflowClient", run_id: str, tags: Mapping[str, str]) -> None:
    """Set tags, as much of each as MLflow takes."""
    from mlflow.entities import RunTag

    client.log_batch(run_id, tags=[RunTag(key, value[:_VALUE_LENGTH]) for key, value in tags.items()])
