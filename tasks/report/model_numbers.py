"""The section on a model that predicts numbers: how near they are, and whether it knows how near."""

import math
from statistics import NormalDist
from typing import Any

import numpy as np

from tasks.report.drawing import COLOURS, Drawing, blank, plain, stripped, written
from tasks.report.loop import Loop
from tasks.report.quality_numbers import Items, NumberQuality, worst

TEMPLATE = "model_numbers.html.jinja"
_WORST = 20
#: Items up to which each is drawn, with the standard deviation that was predicted; of more their density is.
_SINGLE = 300
#: Cells of the density along each axis, and bars of the errors' distribution at most.
_CELLS, _BARS = 40, 41
#: Share of the errors that the distribution shows in their place; the others are counted at its ends.
_SHOWN = 0.99
#: Central intervals of a normal distribution, in standard deviations: half of it, the one and two of every textbook, …
_DEVIATIONS = (NormalDist().inv_cdf(0.75), 1.0, NormalDist().inv_cdf(0.95), 2.0, 3.0)


def values(loop: Loop, found: NumberQuality) -> dict[str, Any]:
    """What the template is filled in with."""
    items = found.items
    return {
        "singles": _SINGLE,
        "coverage": [] if items is None else _coverage(items),
        "worst": [] if items is None else worst(items, _WORST),
    }


def drawings(loop: Loop, found: NumberQuality) -> list[Drawing]:
    """Predictions over labels, the errors, and how many lie within the intervals, if predictions were kept."""
    if found.items is None or not len(found.items.label):
        return []
    return [_predicted(found.items, loop.target), _errors(found.items, loop.target), _intervals(found.items)]


def _coverage(items: Items) -> list[dict[str, float]]:
    """Of each of ``_DEVIATIONS``: what share of the labels should lie within, and what share does."""
    nominal = [2 * NormalDist().cdf(one) - 1 for one in _DEVIATIONS]
    found = items.within(_DEVIATIONS).tolist()
    return [
        {"deviations": one, "nominal": should, "observed": does}
        for one, should, does in zip(_DEVIATIONS, nominal, found, strict=True)
    ]


def _predicted(items: Items, target: str) -> Drawing:
    """Each prediction over its label with an interval of one standard deviation, or where most of them lie."""
    figure = blank()
    axes = stripped(figure.add_subplot())
    ends = [float(np.minimum(items.label, items.mean).min()), float(np.maximum(items.label, items.mean).max())]
    axes.plot(ends, ends, color=COLOURS["muted"], linewidth=1, linestyle="--")
    if len(items.label) <= _SINGLE:
        axes.errorbar(
            items.label,
            items.mean,
            yerr=items.std,
            fmt="o",
            markersize=3,
            color=COLOURS["labels"],
            alpha=0.7,
            elinewidth=0.7,
        )
    else:
        counts, along, up = np.histogram2d(items.label, items.mean, bins=_CELLS)
        columns, rows = np.nonzero(counts)
        depth = np.sqrt(counts[columns, rows] / counts.max())
        middles = [(edges[:-1] + edges[1:]) / 2 for edges in (along, up)]
        axes.scatter(
            middles[0][columns],
            middles[1][rows],
            s=26,
            marker="s",
            linewidths=0,
            color=COLOURS["labels"],
            alpha=np.maximum(depth, 0.08),
        )
    axes.set_xlabel(plain(f"true {target}"), parse_math=False)
    axes.set_ylabel(plain(f"predicted {target}"), parse_math=False)
    return written("predicted", figure)


def _errors(items: Items, target: str) -> Drawing:
    """How many items have which error."""
    from matplotlib.ticker import MaxNLocator

    figure = blank()
    axes = stripped(figure.add_subplot())
    most = float(np.quantile(np.abs(items.error), _SHOWN)) or 1.0
    bars = min(2 * math.isqrt(len(items.label)) + 1, _BARS)
    axes.hist(np.clip(items.error, -most, most), bins=bars, range=(-most, most), color=COLOURS["labels"])
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.axvline(0, color=COLOURS["muted"], linewidth=1, linestyle="--")
    axes.set_xlabel(plain(f"predicted less true {target}"), parse_math=False)
    axes.set_ylabel("items")
    return written("errors", figure)


def _intervals(items: Items) -> Drawing:
    """The share of the labels inside the central intervals over what it should be."""
    figure = blank()
    axes = stripped(figure.add_subplot())
    nominal = np.linspace(0.02, 0.98, 49)
    inside = items.within([NormalDist().inv_cdf((1 + one) / 2) for one in nominal])
    axes.plot((0, 100), (0, 100), color=COLOURS["muted"], linewidth=1, linestyle="--")
    axes.plot(100 * nominal, 100 * inside, color=COLOURS["labels"], linewidth=2)
    axes.set(
        xlabel="interval, % of the predicted distribution", ylabel="labels inside, %", xlim=(0, 100), ylim=(0, 103)
    )
    return written("intervals", figure)
