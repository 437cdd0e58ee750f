"""A model of the registry, as a configuration asks for it."""

from typing import Any

from torch import nn

from tasks import registry
from tasks.config_train import TrainConfig
from tasks.errors import ConfigError
from tasks.models.loss_prediction import LossPredicting
from tasks.models.scaled import Scaled
from tasks.models.taps import taps_of


def build(
    name: str,
    shape: tuple[int, ...],
    outputs: int,
    loss_prediction: bool = False,
    settings: Any = None,
    labels: tuple[float, float] | None = None,
) -> nn.Module:
    """The model, its weights drawn from PyTorch's generator; on the meta device shapes alone.

    Args:
        name: in the registry.
        shape: of one item as the model takes it, such as (channels, height, width).
        outputs: numbers per item, such as the logits of the classes; the model returns float (batch, outputs).
        loss_prediction: whether it also predicts its losses; the network's own weights are the same in either case.
        settings: the model's own block of the configuration, as ``settings_of`` gives it.
        labels: of a regression the mean and standard deviation of its labels, in whose unit the model answers.

    Raises:
        ConfigError: the model does not take the items, or has no stages and is to predict its losses.
    """
    own = (settings,) if name in registry.SETTLED else ()
    network: nn.Module = registry.resolve(registry.MODELS, name)(shape, outputs, *own)
    if labels is not None:
        return Scaled(network, *labels)
    if not loss_prediction:
        return network
    if not taps_of(network).stages:
        raise ConfigError(
            f"train.loss_prediction: the model {name} has no stages whose features could predict a loss; choose "
            "another train.model, such as ceal_cnn or resnet18, or set train.loss_prediction=null"
        )
    return LossPredicting(network, shape)


def settings_of(train: TrainConfig) -> Any:
    """The configuration's block of its model, or None where it has none."""
    block = registry.SETTINGS.get(train.model)
    return None if block is None else getattr(train, block)


def settings_from(name: str, stored: Any) -> Any:
    """The block of a model from plain JSON values, as model.json has them; None where it has none.

    Raises:
        ValueError: they are not such as the model has.
    """
    if name not in registry.SETTLED:
        return None
    kind: Any = TrainConfig.model_fields[registry.SETTINGS[name]].annotation
    return kind.model_validate(stored)
