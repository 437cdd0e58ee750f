"""What a round's training begins with, and how much of the older labels it meets: the plan's `retrain`.

Every mode but scratch begins with θ = shrink · θ_before + perturb · θ_new, where θ_before are the parameters of an
earlier round's model and θ_new those of a newly drawn one: warm and resume with 1 and 0, shrink_perturb with both.

Source: Ash & Adams, On Warm-Starting Neural Network Training, NeurIPS 2020, section 4, θ ← λ θ + p; the noise p is a
newly drawn network's parameters times a factor, as in the code published with it, so that each layer gets noise of
its own scale. All parameters are shrunk, those of batch normalisation too, as there. Its running statistics are no
parameters: they go on from the earlier model's, so that 1 and 0 is exactly a warm start, and soon follow the batches.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

from tasks import files
from tasks.config_base import Model
from tasks.config_policy import ResumeConfig, ShrinkPerturbConfig, WarmConfig
from tasks.errors import ConfigError
from tasks.models import stored
from tasks.models.scaled import Scaled
from tasks.rounds import Workspace

#: The settings that a plan gives besides from_round and digest.
_MODES: dict[str, type[Model]] = {"warm": WarmConfig, "resume": ResumeConfig, "shrink_perturb": ShrinkPerturbConfig}


@dataclass(frozen=True)
class Start:
    """From scratch, unless ``states`` says otherwise."""

    #: Of each member, on the CPU.
    states: tuple[stored.State, ...] | None = None
    shrink: float = 1.0
    perturb: float = 0.0
    #: Share of the older labels that an epoch meets.
    replay: float = 1.0
    #: Instead of train.epochs.
    epochs: int | None = None

    def build(self, fresh: Callable[[], nn.Module], member: int) -> nn.Module:
        """The model that the training of a member begins with; ``fresh`` draws its weights.

        The random numbers that it takes are those of ``fresh``, whatever the mode.
        """
        model = fresh()
        if self.states is None:
            return model
        before = model.restated(self.states[member]) if isinstance(model, Scaled) else self.states[member]
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.mul_(self.perturb).add_(before[name], alpha=self.shrink)
            for name, buffer in model.named_buffers():
                buffer.copy_(before[name])
        return model


def read(workspace: Workspace, round_: int, members: int, fresh: Callable[[], nn.Module]) -> Start:
    """What the round's plan says, with the weights that it names.

    Args:
        members: models of the ensemble; each goes on from its own former self.
        fresh: makes the configured model.

    Raises:
        ConfigError: the plan asks for an unknown mode or an impossible setting, or the weights are of another model.
        DataError: the plan or the weights are missing or damaged, or the weights are not those that the plan means.
    """
    path = workspace.round_dir(round_) / "plan.json"
    value = files.read_object(path, "retrain")["retrain"]["value"]
    if value == "scratch":
        return Start()
    settings = _settings(path, value, round_)
    states = stored.read_states(workspace.round_dir(settings.pop("from_round")), settings.pop("digest"), members)
    _check_architecture(path, fresh, states)
    return Start(tuple(states), **settings)


def _settings(path: Path, value: Any, round_: int) -> dict[str, Any]:
    mode = value.get("mode") if isinstance(value, dict) else value
    if not isinstance(value, dict) or mode not in _MODES:
        raise ConfigError(f"{path}: retrain is {mode!r}; known: scratch, {', '.join(_MODES)}")
    before, digest = value.get("from_round"), value.get("digest")
    if not isinstance(before, int) or not 0 <= before < round_ or not isinstance(digest, str):
        raise ConfigError(f"{path}: retrain needs from_round, an earlier round, and the digest of its model's weights")
    given = {name: setting for name, setting in value.items() if name not in ("mode", "from_round", "digest")}
    try:
        settings = _MODES[mode].model_validate(given).model_dump()
    except ValidationError as error:
        fault = error.errors()[0]
        raise ConfigError(f"{path}: retrain.{'.'.join(map(str, fault['loc']))}: {fault['msg']}") from None
    return {**settings, "from_round": before, "digest": digest}


def _check_architecture(path: Path, fresh: Callable[[], nn.Module], states: list[stored.State]) -> None:
    # On the meta device a model has shapes, but no numbers.
    with torch.device("meta"):
        wanted = {name: tensor.shape for name, tensor in fresh().state_dict().items()}
    for state in states:
        if {name: tensor.shape for name, tensor in state.items()} != wanted:
            raise ConfigError(
                f"{path}: retrain goes on from the weights of another model than the train.model of this loop; "
                "plan the round with retrain scratch"
            )
