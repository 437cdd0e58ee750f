"""What the blocks of a configuration are made of."""

import difflib
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def one_of(table: Mapping[str, str]) -> AfterValidator:
    """A validator that refuses names which ``table`` does not hold."""

    def check(name: str) -> str:
        if name not in table:
            raise ValueError(f"unknown name {name!r}{nearest(name, list(table))}; known: {', '.join(table)}")
        return name

    return AfterValidator(check)


def nearest(name: str, known: list[str]) -> str:
    """A hint at the known name that is meant, or nothing."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


Share = Annotated[float, Field(ge=0, lt=1)]
#: A share of something that may be all of it, and is not nothing.
Ratio = Annotated[float, Field(gt=0, le=1)]
Part = Annotated[float, Field(ge=0, le=1)]
#: At least one, and no more than arrays of such a size can be thought of.
Count = Annotated[int, Field(ge=1, le=10**9)]
#: In seconds, or in the currency of the prices: no more, so that no sum of them is ever infinite.
LARGEST = 1e9
Price = Annotated[float, Field(ge=0, le=LARGEST)]
#: The same above 0.
Amount = Annotated[float, Field(gt=0, le=LARGEST)]
#: Hours, a hundred years: no more, so that such a time from now has a date.
LONGEST = 876_600.0
Positive = Annotated[float, Field(gt=0)]
#: YAML and JSON have lists where the frozen models have tuples.
Numbers = Annotated[tuple[float, ...], Field(strict=False, min_length=1)]


class Model(BaseModel):
    """A block of a configuration: no other keys, no conversions, no infinities, no changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
