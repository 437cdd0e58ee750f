"""Addresses as they may be shown."""

import re

#: Up to the last @: a password may hold one.
_PASSWORD = re.compile(r"://[^/\s]+@")


def masked(text: str) -> str:
    """The text with the user and the password of every address in it left out."""
    return _PASSWORD.sub("://***@", text)
