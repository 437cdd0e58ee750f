"""The documentation names everything that a user can type."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from flows.cli import main
from tasks import registry
from tasks.config import Config

CONFIGURATION = Path("docs/configuration.md").read_text()


def keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """The dotted paths of all keys."""
    found = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found += keys(field.annotation, f"{prefix}{name}.")
        else:
            found.append(prefix + name)
    return found


@pytest.mark.parametrize("key", keys(Config))
def test_every_key_is_documented(key: str) -> None:
    assert re.search(rf"`{re.escape(key)}[`.]", CONFIGURATION)


@pytest.mark.parametrize(
    "table",
    [
        "DATASETS",
        "MODELS",
        "INITIAL_POOLS",
        "ALL_STRATEGIES",
        "ALL_ACQUISITIONS",
        "SCOPES",
        "LABELERS",
    ],
)
def test_every_registered_name_is_documented_and_can_be_imported(table: str) -> None:
    for name in getattr(registry, table):
        assert f"`{name}`" in CONFIGURATION
        assert callable(registry.resolve(getattr(registry, table), name))


@pytest.mark.parametrize("command", sorted(main.commands))
def test_every_command_has_an_example_and_stands_in_the_readme(command: str) -> None:
    assert "Example:" in (main.commands[command].help or "")
    assert f"frugal {command}" in Path("README.md").read_text()
