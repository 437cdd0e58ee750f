"""What can be known to be impossible before anything is spent."""

from tasks.config import Config
from tasks.errors import ConfigError


def fits_pool(config: Config, items: int, known_labels: int) -> None:
    """Refuse a loop that the pool cannot feed.

    Args:
        items: size of the unlabelled pool.
        known_labels: how many of its items the oracle can answer.

    Raises:
        ConfigError: more labels asked for than there are, or an oracle that does not know them.
    """
    loop = config.loop
    wanted = loop.initial + (loop.rounds - 1) * loop.query_size
    if loop.max_labels is not None:
        if loop.max_labels < loop.initial:
            raise ConfigError(f"loop.max_labels: {loop.max_labels} is less than loop.initial ({loop.initial})")
        wanted = min(wanted, loop.max_labels)
    if wanted > items:
        raise ConfigError(
            f"loop: {loop.rounds} rounds ask for {wanted} labels, more than the pool's {items} items; "
            "lower loop.rounds, loop.query_size or loop.initial, or set loop.max_labels"
        )
    if known_labels < items and (config.label.labeler == "oracle" or config.select.initial == "class_balanced"):
        raise ConfigError(
            f"label.labeler: the pool has labels for {known_labels} of its {items} items only, so it cannot be "
            "simulated; let people label with label.labeler=files and select.initial=random"
        )
