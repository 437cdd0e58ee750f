"""The learning rate over a training."""

import math

from tasks.config_train import TrainConfig

#: The rise of `one_cycle`: its share of the training, and the share of the highest rate from which it starts.
_RISE, _START = 0.3, 1 / 25


def learning_rate(settings: TrainConfig, done: float) -> float:
    """The learning rate once the share ``done`` in [0, 1) of all steps has been taken.

    - constant: ``lr``.
    - linear: falls to 0, lr (1 - done), as fastText's does.
    - step: ``lr`` times ``step_factor`` for each share in ``step_at`` that has passed.
    - cosine: lr (1 + cos(π done)) / 2, Loshchilov & Hutter, SGDR, ICLR 2017, eq. 5, one period.
    - one_cycle: rises from lr/25 to lr in the first 30 % and falls to 0, both along half a cosine; the learning rates
      of Smith & Topin, Super-Convergence, 2018, without their cycle of the momentum.
    """
    if settings.schedule == "step":
        passed = sum(done >= share for share in settings.step_at)
        return float(settings.lr * settings.step_factor**passed)
    if settings.schedule == "linear":
        return settings.lr * (1 - done)
    if settings.schedule == "cosine":
        return settings.lr * _falling(done)
    if settings.schedule == "one_cycle":
        if done < _RISE:
            return settings.lr * (1 - (1 - _START) * _falling(done / _RISE))
        return settings.lr * _falling((done - _RISE) / (1 - _RISE))
    return settings.lr


def _falling(share: float) -> float:
    return (1 + math.cos(math.pi * share)) / 2
