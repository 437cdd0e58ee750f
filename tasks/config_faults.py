"""What is wrong with a configuration, in the words of its file."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel

from tasks.config_base import nearest

_BLOCK = ("model_type", "dict_type", "model_attributes_type")
_LIST = ("tuple_type", "list_type")
#: Such a value stands in an example of a key.
_SAMPLES: Mapping[Any, str] = {int: "5", float: "0.9"}


def describe(fault: Any, root: type[BaseModel]) -> str:
    """One of pydantic's errors about a ``root`` as `key: what is wrong and how to mend it`."""
    location = [str(part) for part in fault["loc"]]
    # Where a key itself is wrong, pydantic adds a part to its name.
    of_key = bool(location) and location[-1] == "[key]"
    location = location[:-1] if of_key else location
    key, kind = ".".join(location), fault["type"]
    if kind == "extra_forbidden":
        return f"{key}: unknown key{nearest(location[-1], _keys(_model_at(location[:-1], root)))}"
    if kind == "missing":
        return f"{key}: missing" + (" (conf/prices.yaml sets it)" if location[0] == "prices" else "")
    message = _words(fault, key, _model_at(location, root))
    if of_key:
        message = message.replace("Input", "the key", 1)
    if isinstance(fault["input"], str | int | float | bool | None) and kind != "value_error":
        message += f", not {fault['input']!r}"
    return f"{key}: {message}" if key else message


def _words(fault: Any, key: str, model: type[BaseModel] | None) -> str:
    kind = fault["type"]
    if kind in _BLOCK:
        return f"must be a block of keys{_example(key, model)}"
    if kind in _LIST:
        return "must be a list, such as [1, 2]"
    if kind == "too_short":
        least = fault["ctx"]["min_length"]
        return f"must have at least {least} item{'s' * (least > 1)}"
    message: str = fault["msg"].removeprefix("Value error, ")
    return message


def _example(key: str, model: type[BaseModel] | None) -> str:
    """How the block of ``key`` may be written."""
    if model is None:
        return ""
    needed = [(name, field) for name, field in model.model_fields.items() if field.is_required()]
    if not needed:
        return f", such as {key}={{}}, which takes its defaults"
    name, field = needed[0]
    return f", such as {key}.{name}={_SAMPLES.get(field.annotation, '…')}"


def _model_at(location: Sequence[str], root: type[BaseModel]) -> type[BaseModel] | None:
    """The block of keys that stands there, or None if that is no block."""
    model = root
    for part in location:
        field = model.model_fields.get(part)
        kinds = (field.annotation, *get_args(field.annotation)) if field is not None else ()
        blocks = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not blocks:
            return None
        model = blocks[0]
    return model


def _keys(model: type[BaseModel] | None) -> list[str]:
    return [] if model is None else list(model.model_fields)
