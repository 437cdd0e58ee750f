"""A loop as it was recorded, wherever that was, with what policies have to know of it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from tasks import files
from tasks.config import Config
from tasks.cost import calibration, ledger
from tasks.cost.rates import Rates
from tasks.errors import ConfigError, DataError
from tasks.history import Measured, Outcome, history
from tasks.rounds import Workspace, load_config
from tasks.task_type import headline
from tasks.task_type.headline import Headline

#: What a curve may lack because nothing measured it.
MEASURED = ("validation_accuracy", *(field.name for field in fields(Measured)))
#: Sums over the rounds so far.
SUMS = (
    "money",
    "money_labels",
    "money_compute",
    "device_hours",
    "wall_hours",
    "record_epochs",
    "items_scored",
    "forward_passes",
    "bought",
)

_ENDLESS = 10**9


@dataclass(frozen=True)
class Recording:
    """A recorded loop. Sums are as they stood when the policies were asked, before a round's INFER."""

    name: str
    history: tuple[Outcome, ...]
    #: Of MEASURED and SUMS, what the record holds; of anything else the outcomes hold no more than a filling.
    known: frozenset[str]
    config: Config
    #: Items of the whole pool; None where nobody has written it down.
    pool: int | None
    held_out: int
    rates: Rates | None = None
    #: Whether the configuration's prices are the loop's or the user's, and no mere examples.
    has_prices: bool = True
    #: What a reader of the results has to know.
    notes: tuple[str, ...] = ()

    @property
    def headline(self) -> Headline:
        """What outcomes call accuracy."""
        return headline.of(self.config.task)

    @property
    def items(self) -> int:
        """Items of the pool; as good as endless where their number is not known."""
        return _ENDLESS if self.pool is None else self.pool

    def noted(self, note: str) -> "Recording":
        """The same with another note."""
        return replace(self, notes=(*self.notes, note))


def of_workspace(workspace: Workspace, name: str | None = None) -> Recording:
    """The loop of a workspace, finished or not.

    Raises:
        WorkspaceError: no loop has begun here.
        ConfigError: a proxy selects.
        DataError: no round is trained yet.
    """
    config = load_config(workspace)
    check_judged(str(workspace.root) if name is None else name, proxied=config.proxy is not None)
    outcomes = tuple(_when_asked(workspace, outcome) for outcome in history(workspace))
    if not outcomes:
        raise DataError(f"{workspace.root}: no round is trained yet, so there is no curve; go on with `frugal run`")
    pool = files.count_rows(workspace.pool / "start" / "unlabeled.parquet")
    return Recording(
        name=name or config.name,
        history=outcomes,
        known=frozenset(SUMS) | measured(outcomes),
        config=config,
        pool=pool,
        held_out=files.count_rows(workspace.pool / "test.parquet"),
        rates=calibration.load(workspace, config, pool),
    )


def check_judged(source: str, proxied: bool) -> None:
    """Refuse a curve whose metric is not that of the model which the money is for.

    Raises:
        ConfigError: it is the proxy's; ``source`` is named.
    """
    if proxied:
        raise ConfigError(
            f"{source}: proxy: a proxy selects here, so each round's accuracy is the proxy's, and the money is for the "
            "target too; replay a loop without a proxy, or see with `frugal compare` what this one is worth"
        )


def measured(outcomes: Sequence[Outcome]) -> frozenset[str]:
    """Of MEASURED, what at least one of the outcomes holds."""
    held = [{**vars(outcome), **vars(outcome.measured)} for outcome in outcomes]
    return frozenset(name for name in MEASURED if any(values[name] is not None for values in held))


def _when_asked(workspace: Workspace, outcome: Outcome) -> Outcome:
    """The sums without the round's INFER, which follows the decision to go on."""
    entry = ledger.entry(workspace.round_dir(outcome.round), "infer")
    if entry is None:
        return outcome
    used = list(ledger.all_used({"infer": entry}))
    money = sum(sum(item["money"].values()) for item in used)
    return replace(
        outcome,
        money=round(outcome.money - money, 6),
        money_compute=round(outcome.money_compute - money, 6),
        device_hours=round(outcome.device_hours - sum(sum(item["device_s"].values()) for item in used) / 3600, 8),
        wall_hours=round(outcome.wall_hours - sum(item["wall_s"] for item in used) / 3600, 8),
        items_scored=outcome.items_scored - sum(item["items_scored"] for item in used),
        forward_passes=outcome.forward_passes - sum(item["forward_passes"] for item in used),
        bill=replace(outcome.bill, inference=round(outcome.bill.inference - money, 6)),
        stage_seconds={name: seconds for name, seconds in outcome.stage_seconds.items() if name != "infer"},
    )
