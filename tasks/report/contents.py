"""What an item says of itself, cut to what a page can hold."""

from dataclasses import dataclass

from tasks.datasets.shown import Shown
from tasks.report import words

#: Characters that are seen at once, and those that the page holds.
EXCERPT, WHOLE = 200, 5000
#: Fields that the page holds.
FIELDS = 12
#: By signs that nobody sees, and some of which no page may hold, what stands for them: most have a picture.
_UNSEEN = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n\r"}
_UNSEEN |= {0x7F: 0x2421} | dict.fromkeys(range(0x80, 0xA0), 0xFFFD)


@dataclass(frozen=True)
class Contents:
    """What is said, and what columns say of the item; only one of them may be there."""

    #: The beginning in one line, or None where nothing can be said.
    excerpt: str | None
    #: All up to ``WHOLE`` characters; None where the excerpt is all.
    whole: str | None
    #: Characters beyond them.
    left_out: int
    #: Names and values of the first fields, and the number of the others.
    fields: list[tuple[str, str]]
    more_fields: int


def contents(item: Shown) -> Contents | None:
    """What a page tells of an item besides its picture, or None."""
    if item.excerpt is None and not item.fields:
        return None
    fields = [(_visible(name), _visible(words.value(value))) for name, value in (item.fields or {}).items()]
    excerpt, whole = _cut(item.excerpt)
    left_out = max(len(item.excerpt or "") - WHOLE, 0)
    return Contents(excerpt, whole, left_out, fields[:FIELDS], len(fields[FIELDS:]))


def _cut(text: str | None) -> tuple[str | None, str | None]:
    if text is None:
        return None, None
    start = " ".join(_visible(text.lstrip()[:EXCERPT]).split())
    if len(text) <= EXCERPT:
        return start, _visible(text) if "\n" in text.strip() else None
    return f"{start} …", _visible(text[:WHOLE])


def _visible(text: str) -> str:
    return text.translate(_UNSEEN)
