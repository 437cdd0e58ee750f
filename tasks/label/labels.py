"""What a labeler gives back."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Label:
    """One answer."""

    id: str
    #: Index into the classes.
    label: int
    annotator: str
    #: ISO 8601, or None where nobody looked at a clock.
    labeled_at: str | None
    #: Time the answer took, or None if unknown.
    seconds: float | None
