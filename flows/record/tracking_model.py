"""The model that a loop ends with, as MLflow registers it: with a signature, its data and its bill.

What is registered are the model's own files and an MLmodel that names ``flows.record.champion`` as their reader, so
`mlflow.pyfunc.load_model` gives a model that predicts, and nothing is pickled.
"""

import platform
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from flows.record import notes, tracking_run
from tasks.datasets.store import PoolInfo, load_info
from tasks.errors import DataError, RecordError
from tasks.rounds import Workspace, load_config, trains_target
from tasks.task_type import Classification

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.models import ModelSignature
    from mlflow.types import Schema

_FOLDER, _ALIAS = "model", "champion"


def register(client: "MlflowClient", workspace: Workspace, round_: int, run: "Run", tags: Mapping[str, str]) -> str:
    """Register the model of a round as the champion, and say where it is; a second call changes nothing.

    Raises:
        RecordError: a file of the model or of the pool is missing or damaged.
    """
    from mlflow.exceptions import MlflowException

    settings, run_id = load_config(workspace), run.info.run_id
    with TemporaryDirectory() as made:
        for path in _files(workspace, round_, run_id, Path(made)):
            tracking_run.log_file(client, run_id, path, _FOLDER)
    try:
        client.create_registered_model(settings.name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    known = [each for each in client.search_model_versions(f"run_id = '{run_id}'") if each.name == settings.name]
    if not known:
        about = _about(run, settings.prices.currency)
        note = notes.of_model(settings.name, round_, about)
        source = f"{run.info.artifact_uri}/{_FOLDER}"
        known = [client.create_model_version(settings.name, source, run_id, {**tags, **about}, description=note)]
    client.set_registered_model_alias(settings.name, _ALIAS, known[0].version)
    return notes.of_champion(settings.name, round_, known[0].version)


def _about(run: "Run", currency: str) -> dict[str, str]:
    """What the model was trained on and what it cost, as its round's run has it."""
    metrics = run.data.metrics
    data = {f"data.{one.dataset.name}": one.dataset.digest for one in (run.inputs.dataset_inputs if run.inputs else ())}
    bill = {f"bill.{key.removeprefix('bill/')}": value for key, value in metrics.items() if key.startswith("bill/")}
    money = {**bill, "money": metrics["money"]}
    return {
        "labels": f"{metrics['labels']:.0f}",
        **{key: notes.amount(value, currency) for key, value in money.items()},
        "device_hours": f"{metrics['device_hours']:.4f}",
        **data,
        **({"git_sha": run.data.tags["git_sha"]} if "git_sha" in run.data.tags else {}),
    }


def _files(workspace: Workspace, round_: int, run_id: str, made: Path) -> list[Path]:
    from tasks.models import predictor

    settings, folder = load_config(workspace), workspace.round_dir(round_)
    # What a proxy selects for is what the loop is for.
    target = trains_target(workspace, round_)
    try:
        if target:
            packed = predictor.pack(workspace, folder / "target", settings.train, made)
        else:
            packed = predictor.pack(workspace, folder, settings.selecting, made)
        return [*packed, _mlmodel(workspace, run_id, made)]
    except DataError as error:
        raise RecordError(f"no champion is registered yet: {error}") from error


def _mlmodel(workspace: Workspace, run_id: str, folder: Path) -> Path:
    from mlflow.models import Model

    model = Model(artifact_path=_FOLDER, run_id=run_id, signature=signature(load_info(workspace)))
    # What mlflow.pyfunc writes itself; importing it takes seconds.
    model.add_flavor("python_function", loader_module="flows.record.champion", python_version=platform.python_version())
    path = folder / "MLmodel"
    model.save(str(path))
    return path


def signature(info: PoolInfo) -> "ModelSignature":
    """What the models of a pool take and give, whichever they are."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    from tasks.models import predictor

    columns = [("label", DataType.double)]
    if isinstance(info.task, Classification):
        columns = [("label", DataType.string)]
    columns += [(name, DataType.double) for name in predictor.numbers(info.task)]
    return ModelSignature(_inputs(info), Schema([ColSpec(kind, name) for name, kind in columns]))


def _inputs(info: PoolInfo) -> "Schema":
    import numpy as np
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec

    if info.kind == "texts":
        return Schema([ColSpec(DataType.string, "text")])
    return Schema([TensorSpec(np.dtype(info.dtype), (-1, *info.shape))])
