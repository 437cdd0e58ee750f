"""What a labeler gives back."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Label:
    """One answer."""

    id: str
    #: An index into the classes, or a number.
    label: int | float
    annotator: str
    #: ISO 8601, or None where nobody looked at a clock.
    labeled_at: str | None
    #: Time the answer took, or None if unknown.
    seconds: float | None
