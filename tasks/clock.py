"""Times as people read and write them."""

from datetime import UTC, datetime, timedelta

#: Clocks differ, and a time without a zone may be of one that is 14 hours ahead.
_AHEAD = timedelta(days=1)


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


def lies_ahead(time: datetime) -> bool:
    """Whether nobody's clock can say so yet."""
    return time > datetime.now(UTC) + _AHEAD
