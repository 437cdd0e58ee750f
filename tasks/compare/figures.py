"""Learning curves of the arms, with 95 % bands, over what they cost."""

import io
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tasks.compare.summary import Row
from tasks.task_type.headline import ACCURACY, Headline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Characters of a line of the title.
_TITLE = 80
#: What the headline metric is drawn over: a field of Row, and how the axis is called.
AXES = {
    "labels": "labels bought",
    "items_scored": "items scored",
    "device_seconds": "device-seconds",
    "money": "money",
}


def curves(rows: Sequence[Row], over: str, title: str, unit: str = "", of: Headline = ACCURACY) -> bytes:
    """A PNG of a held-out metric over one of AXES: a line through each arm's means, and a band for their intervals.

    Equal rows give equal bytes with one release of matplotlib.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for number, arm in enumerate(dict.fromkeys(row.arm for row in rows)):
        _draw(axes, [row for row in rows if row.arm == arm], over, f"C{number}", of)
    axes.set(xlabel=f"{AXES[over]} ({unit})" if unit else AXES[over], ylabel=f"held-out {of.axis}")
    # With many arms their names alone may be longer than the figure is wide.
    axes.set_title("\n".join(textwrap.wrap(title, _TITLE)), fontsize="medium")
    # Of few seeds an interval may reach beyond all that is possible.
    axes.set_ylim(max(axes.get_ylim()[0], of.drawn(of.lowest_drawn)), min(axes.get_ylim()[1], of.drawn(1.005)))
    axes.grid(True, alpha=0.3)
    axes.legend(loc="lower right")
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=120, metadata={"Software": None})
    return out.getvalue()


def _draw(axes: "Axes", rows: Sequence[Row], over: str, colour: str, of: Headline) -> None:
    places = [getattr(row, over) for row in rows]
    values = [of.drawn(row.accuracy) for row in rows]
    half = [of.drawn(row.accuracy_ci95 or 0.0) for row in rows]
    axes.plot(places, values, marker="o", markersize=4, color=colour, label=rows[0].arm)
    low, high = ([mean + sign * width for mean, width in zip(values, half, strict=True)] for sign in (-1, 1))
    axes.fill_between(places, low, high, alpha=0.2, linewidth=0, color=colour)
