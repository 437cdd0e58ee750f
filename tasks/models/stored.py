"""A trained model on disk: model.safetensors and model.json.

Several models that predict together lie in one file, the names of their tensors preceded by `member.0.`, `member.1.`…,
and model.json says how many `members` there are. A single model has neither. `loss_prediction` is true in model.json
where the models predict their losses, and absent elsewhere.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from tasks import files
from tasks.errors import DataError
from tasks.models.building import build, settings_from
from tasks.models.loss_prediction import LossPredicting
from tasks.models.view import View
from tasks.task_type import Regression, TaskType, from_description

#: Parameters and buffers of one model by name.
State = dict[str, Tensor]

#: The files of a model.
FILES = _WEIGHTS, _CARD = "model.safetensors", "model.json"


def write(folder: Path, models: Sequence[nn.Module], card: dict[str, Any]) -> None:
    """Write the whole state of ``models``, buffers included, and ``card`` with parameters, digest and the like added.

    Args:
        models: at least one; several have one architecture.
        card: plain JSON values; holds at least what ``read`` needs: model (a name in the registry), shape, what a label
            is, mean, std, precision, channels_last, and where the model has settings of its own, settings.
    """
    content = save(_state(models))
    files.write_bytes(folder / _WEIGHTS, content)
    several = {"members": len(models)} if len(models) > 1 else {}
    predicting = {"loss_prediction": True} if isinstance(models[0], LossPredicting) else {}
    parameters = sum(parameter.numel() for model in models for parameter in model.parameters())
    digest = hashlib.sha256(content).hexdigest()
    added = {**several, **predicting, "parameters": parameters, "digest": digest}
    files.write_json(folder / _CARD, {**card, **added})


def _state(models: Sequence[nn.Module]) -> State:
    return {
        (f"member.{member}.{name}" if len(models) > 1 else name): tensor.detach().cpu().contiguous()
        for member, model in enumerate(models)
        for name, tensor in model.state_dict().items()
    }


def read_card(folder: Path) -> dict[str, Any]:
    """model.json, once the weights beside it have proved to be the ones it speaks of.

    Raises:
        DataError: a file is missing or damaged, or the two do not belong together.
    """
    card: dict[str, Any] = files.read_json(folder / _CARD)
    weights = folder / _WEIGHTS
    if not weights.exists():
        raise DataError(f"{weights}: missing; restore it with `dvc checkout`")
    if files.digest(weights) != card.get("digest"):
        raise DataError(f"{weights}: not the weights that {folder / _CARD} speaks of; restore both with `dvc checkout`")
    return card


def read(folder: Path, device: torch.device) -> tuple[list[nn.Module], View, dict[str, Any]]:
    """The models in evaluation mode, the view that they were trained with, on ``device``, and model.json.

    Raises:
        DataError: a file is missing or damaged, or the two do not belong together.
    """
    card = read_card(folder)
    try:
        means, side = (tuple(card["mean"]), tuple(card["std"])), card.get("side")
        task = from_description(card, str(folder / _CARD))
        view = View(device, *means, card["precision"], card["channels_last"], side, task)
        states = _split(load((folder / _WEIGHTS).read_bytes()), card.get("members", 1))
        models = [_model(card, task, state) for state in states]
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{folder}: the stored model does not load ({reason}); restore it with `dvc checkout`"
        ) from None
    return [view.placed(model).eval() for model in models], view, card


def read_states(folder: Path, digest: str, members: int) -> list[State]:
    """The members' whole states, buffers included, on the CPU: of model.safetensors alone, without model.json.

    Args:
        digest: SHA-256 of the file, in hexadecimal.
        members: how many models it holds.

    Raises:
        DataError: the file is missing or damaged, has other bytes, or holds another number of models.
    """
    weights = folder / _WEIGHTS
    if not weights.exists():
        raise DataError(f"{weights}: missing; restore it with `dvc checkout`")
    if files.digest(weights) != digest:
        raise DataError(
            f"{weights}: not the weights that are asked for ({digest[:12]}…); restore it with `dvc checkout`"
        )
    try:
        return _split(load(weights.read_bytes()), members)
    except (ValueError, SafetensorError) as error:
        raise DataError(f"{weights}: does not load ({error}); restore it with `dvc checkout`") from None


def _split(weights: State, members: int) -> list[State]:
    """The members' states; tensors of none of them raise ValueError."""
    if members == 1:
        return [weights]
    states = [
        {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}
        for prefix in (f"member.{member}." for member in range(members))
    ]
    if sum(map(len, states)) < len(weights):
        raise ValueError(f"it holds tensors of none of {members} members")
    return states


def _model(card: dict[str, Any], task: TaskType, state: State) -> nn.Module:
    settings = settings_from(card["model"], card.get("settings"))
    # The labels' own mean and scale are in the state.
    labels = (0.0, 1.0) if isinstance(task, Regression) else None
    predicting = card.get("loss_prediction", False)
    model = build(card["model"], tuple(card["shape"]), task.outputs, predicting, settings, labels)
    model.load_state_dict(state)
    return model
