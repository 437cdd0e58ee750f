"""Times as people read them."""

from datetime import UTC, datetime


def told(time: datetime) -> str:
    """To the minute, in UTC, whatever its zone."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
