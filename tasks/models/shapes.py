"""What models ask of the items that they are given."""

from tasks.errors import ConfigError


def image_shape(model: str, shape: tuple[int, ...], smallest: int) -> tuple[int, int, int]:
    """``shape`` as (channels, height, width) for a model that takes images with sides of at least ``smallest`` pixels.

    Raises:
        ConfigError: the items are not images, or are too small.
    """
    if len(shape) != 3 or min(shape[1:]) < smallest:
        raise ConfigError(
            f"train.model: {model} takes images (channels, height, width) with sides of at least {smallest} px, "
            f"not items of shape {shape}; choose train.model=linear or another dataset"
        )
    channels, height, width = shape
    return channels, height, width
