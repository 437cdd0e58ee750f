"""Whether the target of a proxy can score items as the proxy does, and in how many passes of each of its models."""

from tasks import registry
from tasks.config import Config


def passes(config: Config) -> int:
    """Of each of the target's models, as ``infer.passes`` of the proxy's; a model without dropout takes one."""
    return config.infer.passes if config.train.drops else 1


def obstacle(config: Config) -> str | None:
    """Why infer.acquisition says nothing of the target, or None if it does."""
    name, train = config.infer.acquisition, config.train
    if name in registry.LOSS_PREDICTING and train.loss_prediction is None:
        return f"infer.acquisition = {name} needs a model that learnt to predict its loss (train.loss_prediction)"
    if name in registry.MODEL_ACQUISITIONS and train.members > 1:
        return f"infer.acquisition = {name} looks into one model, and train.members = {train.members}"
    if name in registry.COMPARING and passes(config) * train.members < 2:
        return (
            f"infer.acquisition = {name} compares several predictions of an item, and the target makes one "
            "(train.members = 1, no dropout)"
        )
    return None
