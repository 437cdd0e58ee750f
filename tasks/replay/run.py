"""A replay from recordings to files."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tasks import files
from tasks.compare.tables import to_csv
from tasks.config import Config
from tasks.config_base import LARGEST
from tasks.config_policy import StopConfig
from tasks.errors import ConfigError
from tasks.replay import figures, panel, regret, results, sizes
from tasks.replay.recording import Recording
from tasks.replay.results import Mean, Row
from tasks.replay.sizes import Size
from tasks.task_type.headline import Headline


@dataclass(frozen=True)
class Replay:
    """Everything that was found."""

    recordings: list[Recording]
    rows: list[Row]
    #: Over the recordings; as many as there are policies.
    means: list[Mean]
    sizes: list[Size]
    currency: str
    #: What a percentage point is worth, in the currency; null where nobody said and the curves do not tell.
    value_per_point: float | None
    notes: list[str]

    @property
    def headline(self) -> Headline:
        """What rows and sizes call accuracy."""
        return self.recordings[0].headline

    def plain(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "curves": [one.name for one in self.recordings],
            "currency": self.currency,
            "value_per_point": self.value_per_point,
            "notes": self.notes,
            "rows": [self.headline.shown(asdict(row)) for row in self.rows],
            "means": [asdict(mean) for mean in self.means],
            "sizes": [self.headline.shown(asdict(size)) for size in self.sizes],
        }


def replay(
    recordings: Sequence[Recording],
    *,
    policies: Config | None = None,
    preset: StopConfig | None = None,
    value_per_point: float | None = None,
) -> Replay:
    """Every policy of the panel on every recording.

    Args:
        policies: whose policy.stop, policy.metric and query sizes are tried; None: each recording's own.
        preset: another policy to try.
        value_per_point: of a percentage point of accuracy, or a hundredth of R², in the currency of the recordings;
            None: as the policies have it, else the value at which the recorded loops were just worth it.

    Raises:
        ConfigError: the recordings are in different currencies, or of different tasks, or the value is no finite
            amount above 0 and up to 1e9.
    """
    if value_per_point is not None and not 0 < value_per_point <= LARGEST:
        raise ConfigError(
            f"--value-per-point: {value_per_point:g} is no finite amount above 0 and up to {LARGEST:,.0f}"
        )
    currency = _currency(recordings)
    _check_one_task(recordings)
    ready = [panel.prepared(one, policies or one.config) for one in _named_apart(recordings)]
    value, note, hindsight = _value(ready, policies, value_per_point, currency)
    rows, landed = [], []
    for one in ready:
        configured = (policies or one.config).policy.stop
        rows += results.rows(one, panel.panel(configured, preset, value, hindsight), value)
        landed += [size for name in sizes.POLICIES for size in sizes.landings(one, name)]
    notes = [note, *panel.all_notes(ready), *([sizes.note(ready[0].headline)] if landed else [])]
    return Replay(ready, rows, results.means(rows), landed, currency, value, notes)


def write(found: Replay, folder: Path) -> list[Path]:
    """Write stops.csv, for several curves means.csv, sizes.csv where there are any, and a picture; say where."""
    tables = {"stops.csv": to_csv(Row, found.rows, found.headline)}
    if len(found.recordings) > 1:
        tables["means.csv"] = to_csv(Mean, found.means)
        picture = figures.bars(found.means, len(found.recordings), found.currency)
    else:
        picture = figures.curve(found.recordings[0], found.rows)
    if found.sizes:
        tables["sizes.csv"] = to_csv(Size, found.sizes, found.headline)
    for name, content in {**tables, "replay.png": picture}.items():
        files.write_bytes(folder / name, content)
    return [folder / name for name in (*tables, "replay.png")]


def _currency(recordings: Sequence[Recording]) -> str:
    currencies = {one.config.prices.currency: one.name for one in recordings}
    if len(currencies) > 1:
        told = ", ".join(f"{name} in {currency}" for currency, name in currencies.items())
        raise ConfigError(f"prices.currency: {told}; replay curves together that are in one currency")
    return next(iter(currencies))


def _check_one_task(recordings: Sequence[Recording]) -> None:
    tasks = {one.config.task: one.name for one in recordings}
    if len(tasks) > 1:
        told = ", ".join(f"{name} of a {task}" for task, name in tasks.items())
        raise ConfigError(f"task: {told}; replay curves together that are of one")


def _named_apart(recordings: Sequence[Recording]) -> list[Recording]:
    """The second curve of a name gets a number."""
    names = [one.name for one in recordings]
    seen = [names[:position].count(name) for position, name in enumerate(names)]
    return [replace(one, name=f"{one.name} ({n + 1})") if n else one for one, n in zip(recordings, seen, strict=True)]


def _value(
    recordings: Sequence[Recording], policies: Config | None, given: float | None, currency: str
) -> tuple[float | None, str, bool]:
    """The value of a percentage point, where it comes from, in words, and whether it is from the records themselves."""
    point, metric = recordings[0].headline.point, recordings[0].headline.title
    priced = [one for one in recordings if "money" in one.known]
    if not priced:
        return given, "no money in the curve: regret, and the best stopping point, are left out", False
    if given is not None:
        return given, f"a {point} is worth {given:g} {currency} (--value-per-point)", False
    asked = [policies] if policies is not None else [one.config for one in recordings]
    for config in asked:
        if (value := panel.value_of(config.policy.stop)) is not None:
            return value, f"a {point} is worth {value:g} {currency} (marginal_value.value_per_point)", False
    value = regret.break_even_value([one.history for one in priced])
    if value is None:
        why = f"{metric} did not rise, so the curve gives a point no value: regret is left out; --value-per-point"
        return None, why, False
    # Shortest number that is as good: the same in the rule, the table and the note.
    value = float(f"{value:.4g}")
    why = (
        f"a {point} is taken to be worth {value:g} {currency}, at which going on after the first round just "
        "pays over the whole record, seen in hindsight, so marginal_value, which goes by it, is not ranked (no "
        "regret); say what it is worth to you with --value-per-point"
    )
    return value, why, True
