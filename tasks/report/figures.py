"""The report's figures, each drawn once and written twice: as SVG for the page and as PNG beside it.

In the page, colours become its CSS variables, so that they follow the reader's light or dark setting, and text stays
text in the page's own font.
"""

import io
import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeGuard

from tasks.report.bill import CATEGORIES, Line
from tasks.report.loop import Round
from tasks.report.quality import Quality

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: CSS variables of the page and their values in its light setting.
COLOURS = {
    "ink": "#16191d",
    "muted": "#59626c",
    "rule": "#d8dce1",
    "paper": "#fefefe",
    "aborted": "#868e97",
    "labels": "#0b5fa5",
    "training": "#bf560a",
    "inference": "#2e7d5a",
    "selection": "#8757a5",
    "overhead": "#a08520",
}
#: Rounds beyond which single points are not marked.
_MARKED = 40
#: Inches; one of them is 72 units of the page, so that text has the same size on a phone as on a desk.
_WIDTH, _HEIGHT = 4.9, 3.7


@dataclass(frozen=True)
class Drawing:
    """A figure in both forms."""

    #: File name without its ending.
    name: str
    svg: str
    png: bytes


def accuracy(name: str, rounds: Sequence[Round], places: Sequence[float], along: str) -> Drawing:
    """Held-out (and validation) accuracy of trained rounds in per cent; ``places`` are theirs on the x axis."""
    figure = _figure()
    axes = _stripped(figure.add_subplot())
    # By round number, as rounds may share a place.
    where = {round_.number: place for round_, place in zip(rounds, places, strict=True)}
    for (_, aborted), group in groupby(rounds, key=lambda round_: (round_.attempt, round_.aborted)):
        _curve(axes, list(group), where, aborted)
    axes.set_xlabel(_plain(along), parse_math=False)
    axes.set_ylabel("accuracy, %")
    axes.margins(x=0.08, y=0.12)
    _tell_last(axes, rounds[-1], places[-1])
    handles, labels = axes.get_legend_handles_labels()
    if len(handles) > 1:
        unique = dict(zip(labels, handles, strict=True))
        axes.legend(unique.values(), unique.keys(), loc="lower right", frameon=False, labelcolor=COLOURS["ink"])
    return _written(name, figure)


def _curve(axes: "Axes", rounds: list[Round], where: dict[int, float], aborted: bool) -> None:
    outcomes = [round_.outcome for round_ in rounds if round_.outcome is not None]
    marker = "o" if len(where) <= _MARKED else ""
    for field, label in (("validation_accuracy", "validation"), ("accuracy", "held-out")):
        points = [(where[one.round], 100 * value) for one in outcomes if _is_known(value := getattr(one, field))]
        if not points:
            continue
        held_out = field == "accuracy"
        axes.plot(
            *zip(*points, strict=True),
            color=COLOURS["aborted" if aborted else "labels" if held_out else "training"],
            linestyle="--" if aborted else "-" if held_out else ":",
            linewidth=2 if held_out else 1.4,
            # One round alone has no line, so it is marked in any case.
            marker=marker or ("o" if len(points) == 1 else ""),
            markersize=5 if held_out else 3.5,
            markerfacecolor=None if held_out and not aborted else COLOURS["paper"],
            label="aborted attempt" if aborted else label,
        )


def _tell_last(axes: "Axes", last: Round, place: float) -> None:
    """The number at the end of the curve, which is what readers look for."""
    if last.outcome is not None and _is_known(last.outcome.accuracy):
        percent = 100 * last.outcome.accuracy
        axes.annotate(
            f"{percent:.1f}",
            (place, percent),
            xytext=(0, 7),
            textcoords="offset points",
            ha="center",
            fontweight="bold",
            color=COLOURS["ink"],
            # No grid line runs through the number.
            bbox={"facecolor": COLOURS["paper"], "edgecolor": "none", "pad": 1},
        )


def stacked(name: str, lines: Sequence[Line], of: str, cumulated: bool, along: str) -> Drawing:
    """Money or device-seconds (``of``, a field of Line) by round and category; work that did not count is grey."""
    from matplotlib.ticker import MaxNLocator

    figure = _figure()
    axes = _stripped(figure.add_subplot())
    rounds = sorted({line.round for line in lines})
    kinds = {kind: COLOURS[kind] for kind in CATEGORIES} | {"discarded or aborted": COLOURS["aborted"]}
    base = dict.fromkeys(rounds, 0.0)
    for kind, colour in kinds.items():
        heights = _heights(lines, kind, of, rounds, cumulated)
        if not any(heights):
            continue
        axes.bar(rounds, heights, bottom=list(base.values()), width=0.8, color=colour, label=kind)
        base = {round_: base[round_] + height for round_, height in zip(rounds, heights, strict=True)}
    axes.set_xlabel("round")
    axes.set_ylabel(_plain(along), parse_math=False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if axes.containers:
        settings: dict[str, Any] = {"ncols": 3, "fontsize": 9.5, "handlelength": 0.9, "columnspacing": 1.2}
        figure.legend(loc="outside upper left", frameon=False, labelcolor=COLOURS["ink"], **settings)
    return _written(name, figure)


def _heights(lines: Sequence[Line], kind: str, of: str, rounds: list[int], cumulated: bool) -> list[float]:
    sums = dict.fromkeys(rounds, 0.0)
    for line in lines:
        if kind == (line.category if line.fate == "kept" else "discarded or aborted"):
            sums[line.round] += getattr(line, of)
    total, heights = 0.0, []
    for round_ in rounds:
        total = total + sums[round_] if cumulated else sums[round_]
        heights.append(total)
    return heights


def reliability(name: str, found: Quality) -> Drawing:
    """Accuracy over confidence by bin, with how far the two lie apart, above the number of items in each bin."""
    figure = _figure()
    upper, lower = map(_stripped, figure.subplots(2, 1, sharex=True, height_ratios=(3, 1)))
    confidence = [100 * one.confidence for one in found.bins]
    right = [100 * one.accuracy for one in found.bins]
    upper.plot((0, 100), (0, 100), color=COLOURS["muted"], linewidth=1, linestyle="--")
    upper.vlines(confidence, confidence, right, color=COLOURS["training"], linewidth=2)
    upper.plot(confidence, right, color=COLOURS["labels"], marker="o", markersize=5, linewidth=1.5)
    upper.set(ylabel="accuracy, %", xlim=(0, 100), ylim=(0, 103))
    lower.bar(confidence, [one.items for one in found.bins], width=4, color=COLOURS["labels"])
    lower.set(xlabel="confidence, %", ylabel="items")
    return _written(name, figure)


def _figure() -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained", facecolor=COLOURS["paper"])
    FigureCanvasAgg(figure)
    return figure


def _stripped(axes: "Axes") -> "Axes":
    """Leave the axes what a reader needs: a line to stand on, thin horizontals, quiet numbers."""
    axes.set_facecolor("none")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(COLOURS["muted"])
    axes.grid(True, axis="y", color=COLOURS["rule"], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=COLOURS["muted"], labelcolor=COLOURS["muted"], left=False)
    axes.xaxis.label.set_color(COLOURS["ink"])
    axes.yaxis.label.set_color(COLOURS["ink"])
    return axes


def _is_known(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _plain(text: str) -> str:
    """Text of the user's that a font and an SVG can take."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _written(name: str, figure: "Figure") -> Drawing:
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "frugal"}), warnings.catch_warnings():
        # A currency sign that the font lacks becomes a box in the PNG, and is right in the page.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        png, svg = io.BytesIO(), io.StringIO()
        figure.savefig(png, format="png", dpi=150, metadata={"Software": None})
        # Laid out once: the SVG has the same places.
        figure.set_layout_engine("none")
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(svg, format="svg", metadata=nothing, transparent=True)
    return Drawing(name, _inlined(name, svg.getvalue()), png.getvalue())


def _inlined(name: str, text: str) -> str:
    """The <svg> element with ids of its own, without a size, in the colours and the font of the page."""
    text = text[text.index("<svg") :]
    text = re.sub(r' width="[\d.]+pt" height="[\d.]+pt"', ' aria-hidden="true" focusable="false"', text, count=1)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    text = text.replace("url(#", f"url(#{name}-")
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    for colour, value in COLOURS.items():
        text = text.replace(value, f"var(--{colour})")
    return text
