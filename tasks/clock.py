"""Times as people read and write them."""

from datetime import UTC, datetime


def told(time: datetime) -> str:
    """To the minute, in UTC, whatever its zone."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def moment(text: str) -> datetime:
    """A time of ISO 8601; one without a zone is taken for UTC.

    Raises:
        ValueError: it is none.
    """
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)
