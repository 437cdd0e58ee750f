"""What a labeler gives back."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """What one annotator said of one item."""

    id: str
    #: An index into the classes, or a number; None: the item was skipped.
    label: int | float | None
    annotator: str
    #: ISO 8601, or None where nobody looked at a clock.
    labeled_at: str | None
    #: Time the answer took, or None if unknown.
    seconds: float | None

    @property
    def skipped(self) -> bool:
        """Whether the annotator gave no label."""
        return self.label is None
