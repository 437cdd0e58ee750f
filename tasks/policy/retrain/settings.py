"""What a plan says of a training that goes on from weights."""

from typing import Any

from tasks.config import Config
from tasks.config_policy import settings_of


def value(config: Config, mode: str) -> dict[str, Any]:
    """The mode and its settings as the plan has them; the epochs are policy.<mode>.epochs, or else train.epochs."""
    settings = settings_of(config.policy, mode)
    return {"mode": mode, **settings, "epochs": settings["epochs"] or config.selecting.epochs}
