"""A trained model on disk: model.safetensors and model.json."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from tasks import files, registry
from tasks.errors import DataError
from tasks.models.view import View

_WEIGHTS, _CARD = "model.safetensors", "model.json"


def write(folder: Path, model: nn.Module, card: dict[str, Any]) -> None:
    """Write the whole state of ``model``, buffers included, and ``card`` with its parameters and digest added.

    Args:
        card: plain JSON values; holds at least what ``read`` and ``view`` need: model (a name in the registry), shape,
            classes, mean, std, precision, channels_last.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    content = save(state)
    files.write_bytes(folder / _WEIGHTS, content)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    digest = hashlib.sha256(content).hexdigest()
    files.write_json(folder / _CARD, {**card, "parameters": parameters, "digest": digest})


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


def read(folder: Path, device: torch.device) -> tuple[nn.Module, View, dict[str, Any]]:
    """The model in evaluation mode, the view that it was trained with, on ``device``, and model.json.

    Raises:
        DataError: a file is missing or damaged, or the two do not belong together.
    """
    card = read_card(folder)
    try:
        view = View(device, tuple(card["mean"]), tuple(card["std"]), card["precision"], card["channels_last"])
        model = registry.resolve(registry.MODELS, card["model"])(tuple(card["shape"]), len(card["classes"]))
        model.load_state_dict(load((folder / _WEIGHTS).read_bytes()))
    except (KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{folder}: the stored model does not load ({reason}); restore it with `dvc checkout`"
        ) from None
    return view.placed(model).eval(), view, card
