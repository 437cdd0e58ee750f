"""All randomness of a loop comes from (experiment seed, round, stage)."""

import numpy as np

_STREAMS = {"pool": 0, "select": 1, "label": 2, "train": 3, "infer": 4, "stop": 5, "target": 6, "checks": 7}


def seed_sequence(seed: int, round_: int, stage: str, index: int = 0) -> np.random.SeedSequence:
    """The seed sequence of one stage of one round; distinct stages, rounds and indices are independent.

    Args:
        index: tells apart what a stage does several times; 0 is the stage's own sequence, all others are its children.
    """
    child = (index,) if index else ()
    return np.random.SeedSequence(entropy=seed, spawn_key=(round_, _STREAMS[stage], *child))


def generator(seed: int, round_: int, stage: str) -> np.random.Generator:
    """A NumPy generator on the stage's seed sequence."""
    return np.random.default_rng(seed_sequence(seed, round_, stage))


def torch_seed(seed: int, round_: int, stage: str, index: int = 0) -> int:
    """A 63-bit seed for ``torch.manual_seed`` from the stage's seed sequence; ``index`` as there."""
    return int(seed_sequence(seed, round_, stage, index).generate_state(1, np.uint64)[0] >> np.uint64(1))
