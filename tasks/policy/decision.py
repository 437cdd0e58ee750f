"""What policies answer: a value or an action, always with its reason."""

from dataclasses import dataclass, field
from typing import Any, Literal

Action = Literal["continue", "stop", "restart"]


@dataclass(frozen=True)
class Choice:
    """One decision of a round's plan."""

    value: Any
    reason: str


@dataclass(frozen=True)
class Decision:
    """Whether another round is worth it, by which policy, on which numbers."""

    action: Action
    policy: str
    reason: str
    numbers: dict[str, Any] = field(default_factory=dict)
