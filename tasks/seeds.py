"""All randomness of a loop comes from (experiment seed, round, stage)."""

import numpy as np

_STREAMS = {"pool": 0, "select": 1, "label": 2, "train": 3, "infer": 4}


def seed_sequence(seed: int, round_: int, stage: str) -> np.random.SeedSequence:
    """The seed sequence of one stage of one round; distinct stages and rounds are independent."""
    return np.random.SeedSequence(entropy=seed, spawn_key=(round_, _STREAMS[stage]))


def generator(seed: int, round_: int, stage: str) -> np.random.Generator:
    """A NumPy generator on the stage's seed sequence."""
    return np.random.default_rng(seed_sequence(seed, round_, stage))


def torch_seed(seed: int, round_: int, stage: str) -> int:
    """A 63-bit seed for ``torch.manual_seed`` from the stage's seed sequence."""
    return int(seed_sequence(seed, round_, stage).generate_state(1, np.uint64)[0] >> np.uint64(1))
