"""What policies answer: a value, a verdict or an action, always with its reason and the numbers behind it."""

from dataclasses import dataclass, field
from typing import Any, Literal

Action = Literal["continue", "stop", "restart"]


@dataclass(frozen=True)
class Choice:
    """One decision of a round's plan; any JSON values."""

    value: Any
    reason: str
    numbers: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """What one rule says of a history: whether it holds, why or why not, on which numbers (plain, finite JSON values).

    A rule that cannot tell yet does not hold, and its reason says what is missing.
    """

    holds: bool
    reason: str
    numbers: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """Whether another round is worth it, by which policy, on which numbers."""

    action: Action
    policy: str
    reason: str
    numbers: dict[str, Any] = field(default_factory=dict)
