"""Numbers of things as verdicts say them."""


def rounds(count: int) -> str:
    """`1 round`, `2 rounds`."""
    return f"{count} round" if count == 1 else f"{count} rounds"


def more_rounds(count: int) -> str:
    """`1 more round`, `2 more rounds`."""
    return f"{count} more {rounds(count).partition(' ')[2]}"
