"""A model of the registry, as a configuration asks for it."""

from torch import nn

from tasks import registry
from tasks.errors import ConfigError
from tasks.models.loss_prediction import LossPredicting
from tasks.models.taps import taps_of


def build(name: str, shape: tuple[int, ...], classes: int, loss_prediction: bool = False) -> nn.Module:
    """The model, its weights drawn from PyTorch's generator; on the meta device shapes alone.

    Args:
        name: in the registry.
        shape: (channels, height, width) of one item.
        classes: number of classes; the model returns float logits (batch, classes).
        loss_prediction: whether it also predicts its losses; the network's own weights are the same in either case.

    Raises:
        ConfigError: the model does not take the items, or has no stages and is to predict its losses.
    """
    network: nn.Module = registry.resolve(registry.MODELS, name)(shape, classes)
    if not loss_prediction:
        return network
    if not taps_of(network).stages:
        raise ConfigError(
            f"train.loss_prediction: the model {name} has no stages whose features could predict a loss; choose "
            "another train.model, such as ceal_cnn or resnet18, or set train.loss_prediction=null"
        )
    return LossPredicting(network, shape)
