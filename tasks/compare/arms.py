"""The arms of a comparison: configurations with one budget, a random one among them."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, count
from typing import Any

from tasks.config import Config, RecordConfig, differences, dump, flatten, override
from tasks.errors import ConfigError
from tasks.rounds import Workspace

#: What all arms must have in common: else a difference between them may come from the budget.
_BUDGET = ("seed", "device", "task", "dataset", "loop", "label", "prices")
#: What makes no other arm.
_BESIDE = ("name", "record")


def arms(loaded: Sequence[tuple[str, Config]]) -> dict[str, Config]:
    """The arms by their names, in order; the first with select.strategy=random is added where no arm is random.

    Args:
        loaded: each configuration with its origin, which messages name.

    Raises:
        ConfigError: people would have to label, a target is not trained in the end, two arms have the same name or the
            same settings, the budgets differ, or there is nothing to compare the one arm with.
    """
    for source, config in loaded:
        if config.label.by_people:
            raise ConfigError(
                f"{source}: label.labeler: {config.label.labeler!r} cannot answer each arm anew; a comparison needs "
                "label.labeler=oracle"
            )
        if config.proxy is not None and not config.proxy.target.end:
            raise ConfigError(
                f"{source}: proxy.target.end: false; arms are compared by what their targets come to in the end, so "
                "set proxy.target.end=true"
            )
    for one, other in combinations(loaded, 2):
        _check_differ(one, other)
    for other in loaded[1:]:
        _check_budget(loaded[0], other)
    found = {config.name: config for _, config in loaded}
    if all(config.select.strategy != "random" for config in found.values()):
        made = _random(loaded[0], next(name for name in _random_names(loaded[0][1].name) if name not in found))
        found[made.name] = made
    if len(found) < 2:
        raise ConfigError(f"{loaded[0][0]}: is the random arm itself; name a configuration to compare it with")
    return found


def unattended(config: Config, workspace: Workspace, mlflow: bool) -> Config:
    """``config`` for a loop that lies elsewhere than ``workspace``, and is recorded at most in MLflow."""

    def there(path: str | None) -> str | None:
        return path if path is None or path.startswith("~") else str((workspace.root / path).resolve())

    select = config.select
    return config.model_copy(
        update={
            "dataset": config.dataset.model_copy(update={"root": there(config.dataset.root)}),
            "select": select.model_copy(
                update={"features": there(select.features), "recorded": there(select.recorded)}
            ),
            "record": RecordConfig(git="off", dvc=False, mlflow=mlflow),
        }
    )


def variations(found: Mapping[str, Config]) -> dict[str, dict[str, Any]]:
    """By arm, the values of the dotted keys that are not the same in all arms; its name is not among them."""
    flat = {name: flatten(_without_beside(config)) for name, config in found.items()}
    keys = sorted({key for values in flat.values() for key in values})
    varied = [
        key for key in keys if any(values.get(key) != next(iter(flat.values())).get(key) for values in flat.values())
    ]
    return {name: {key: values.get(key) for key in varied} for name, values in flat.items()}


def changes(before: Mapping[str, Config], after: Mapping[str, Config]) -> list[str]:
    """How the arms differ from those of an earlier call, in words; empty if they do not."""
    if list(before) != list(after):
        return [f"arms: {', '.join(before)} → {', '.join(after)}"]
    told = []
    for name in before:
        told += [f"{name}: {difference}" for difference in differences(before[name], after[name])]
    return told


def _check_differ(one: tuple[str, Config], other: tuple[str, Config]) -> None:
    if _without_beside(one[1]) == _without_beside(other[1]):
        raise ConfigError(f"{other[0]}: the same settings as {one[0]}; the arms of a comparison must differ")
    if one[1].name == other[1].name:
        raise ConfigError(f"{other[0]}: name: {other[1].name!r} is that of {one[0]}; give each arm a name of its own")


def _check_budget(one: tuple[str, Config], other: tuple[str, Config]) -> None:
    first, second = flatten(dump(one[1])), flatten(dump(other[1]))
    for key in sorted(first.keys() | second.keys()):
        if key.partition(".")[0] in _BUDGET and first.get(key) != second.get(key):
            raise ConfigError(
                f"{key}: {first.get(key)!r} in {one[0]}, {second.get(key)!r} in {other[0]}; all arms must have the "
                f"same budget ({', '.join(_BUDGET)})"
            )


def _random_names(name: str) -> Iterator[str]:
    yield from ("random", f"{name}-random")
    yield from (f"{name}-random-{number}" for number in count(2))


def _random(first: tuple[str, Config], name: str) -> Config:
    # Nothing is scored, so there are no candidates to adapt.
    changed = [f"name={name}", "select.strategy=random", "policy.scope=fixed"]
    if first[1].select.recorded is not None:
        changed += ["select.initial=random", "select.recorded=null"]
    return override(first[1], tuple(changed), first[0])


def _without_beside(config: Config) -> dict[str, Any]:
    return {key: value for key, value in dump(config).items() if key not in _BESIDE}
