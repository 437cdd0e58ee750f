"""How long a unit of compute takes on a machine."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Rates:
    """Seconds of one device, by unit of work."""

    device: Literal["cpu", "cuda"]
    #: Of one training item in one epoch: forward, backward and the step.
    record_epoch: float
    #: Of one forward pass of one item, as INFER makes them.
    forward_pass: float
    #: Of a stage besides: reading, writing, building the model; on the machine, not on the device.
    stage: float = 0.0
    #: Of one pass in TRAIN's evaluations, without dropout; None: as in INFER.
    evaluation: float | None = None
    #: The same of the target, where a proxy selects; None: as of the model that selects.
    target_record_epoch: float | None = None
    target_forward_pass: float | None = None
