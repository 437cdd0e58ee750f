"""What `frugal plan` shows."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from tasks.cost.rates import Rates
from tasks.forecast.alternatives import Alternative
from tasks.forecast.plan import Plan, Row

_UNITS = ("labels", "record-\nepochs", "items\nscored", "forward\npasses", "hours")
_LINES = ("labels", "training", "inference", "selection", "overhead", "total")


def show(plan: Plan, alternatives: Sequence[Alternative]) -> None:
    """Print the rounds and their sum, what is exact, and the alternatives if there are any."""
    out = Console(highlight=False, markup=False)
    out.print(units_table(plan))
    if plan.exact:
        out.print("Labels, record-epochs, items and passes are exact.")
    for note in plan.notes:
        out.print(f"not exact: {note}", soft_wrap=True)
    out.print(money_table(plan))
    out.print(rates_line(plan.rates), soft_wrap=True)
    if alternatives:
        out.print(alternatives_table(plan, alternatives))
        out.print("One lever at a time, for as many labels; what the models learn by it is not compared.")


def units_table(plan: Plan) -> Table:
    """What each round uses, and all of them."""
    table = Table(title=f"{plan.name}: forecast for a pool of {plan.sizes.pool:,}", pad_edge=False)
    _add_columns(table, "round", *_UNITS)
    for number, row in enumerate(plan.rounds):
        table.add_row(f"{number:03d}", *_units(row), end_section=row is plan.rounds[-1])
    table.add_row("all", *_units(plan.total))
    return table


def money_table(plan: Plan) -> Table:
    """What each round costs, and all of them."""
    table = Table(title=f"{plan.name}: the bill in {plan.currency}", pad_edge=False)
    _add_columns(table, "round", *_LINES)
    for number, row in enumerate(plan.rounds):
        table.add_row(f"{number:03d}", *_money(row), end_section=row is plan.rounds[-1])
    table.add_row("all", *_money(plan.total))
    return table


def alternatives_table(plan: Plan, alternatives: Sequence[Alternative]) -> Table:
    """A line for each alternative, by lever."""
    table = Table(title=f"{plan.name}: the same labels otherwise", pad_edge=False)
    table.add_column("", no_wrap=True)
    _add_columns(table, "rounds", *_UNITS[1:], f"money\n({plan.currency})")
    lever = ""
    for one in alternatives:
        if one.lever != lever:
            table.add_section()
            table.add_row(lever := one.lever, style="bold")
        total = one.plan.total
        table.add_row(f"  {one.name}", str(len(one.plan.rounds)), *_units(total)[1:], f"{total.money:,.2f}")
    return table


def rates_line(rates: Rates) -> str:
    """How long a unit takes, in words."""
    target = (
        f"of the target {rates.target_record_epoch:.3g} s and {rates.target_forward_pass:.3g} s, "
        if rates.target_record_epoch is not None and rates.target_forward_pass is not None
        else ""
    )
    return (
        f"On {rates.device}: {rates.record_epoch:.3g} s a record-epoch, {rates.forward_pass:.3g} s a forward pass, "
        f"{target}{rates.stage:.3g} s a stage besides (data/calibration.json, or rates.* of the configuration)."
    )


def _add_columns(table: Table, *names: str) -> None:
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)


def _units(row: Row) -> list[str]:
    counts = (row.labels, row.record_epochs, row.work.items_scored, row.passes)
    return [*(f"{count:,}" for count in counts), f"{row.wall_hours:.3f}"]


def _money(row: Row) -> list[str]:
    bill = row.bill
    compute = (bill.training, bill.inference, bill.selection, bill.overhead)
    return [f"{bill.labels:,.2f}", *(f"{amount:,.4f}" for amount in compute), f"{row.money:,.2f}"]
