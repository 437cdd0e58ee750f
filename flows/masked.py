"""Addresses as they may be shown."""

import re

_PASSWORD = re.compile(r"://[^/@\s]+@")


def masked(text: str) -> str:
    """The text with the user and the password of every address in it left out."""
    return _PASSWORD.sub("://***@", text)
