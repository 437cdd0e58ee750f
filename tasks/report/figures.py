"""The report's figures of every loop: what its models came to for their cost, and what the cost went for."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal, TypeGuard

from tasks.report.bill import CATEGORIES, Line
from tasks.report.drawing import COLOURS, Drawing, blank, plain, stripped, written
from tasks.report.loop import Round
from tasks.report.words import number
from tasks.task_type.headline import Headline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Rounds beyond which single points are not marked.
_MARKED = 40


@dataclass(frozen=True)
class Measure:
    """What a curve is drawn of."""

    axis: str
    #: Of outcomes: on the held-out set, and on the labels held back, if that is measured.
    held_out: str
    validation: str | None
    #: A value as it is drawn, and a drawn one in words.
    drawn: Callable[[float], float]
    told: Callable[[float], str]
    #: Nothing lower is drawn; None: whatever there is.
    lowest: float | None = None
    #: Where the curve leaves room.
    room: Literal["lower right", "upper right"] = "lower right"

    @property
    def fields(self) -> list[tuple[str, str]]:
        """Those that are drawn, and what they are called."""
        validation = [] if self.validation is None else [(self.validation, "validation")]
        return [*validation, (self.held_out, "held-out")]


def headlined(of: Headline) -> Measure:
    """The metric that policies go by: accuracy in per cent, or R²."""
    return Measure(
        axis=of.axis,
        held_out="accuracy",
        validation="validation_accuracy",
        drawn=of.drawn,
        told="{:.1f}".format if of.share else "{:.3f}".format,
        lowest=None if of.share else of.lowest_drawn,
    )


def rmse(target: str) -> Measure:
    """The error of a regression's models in the unit of its target."""
    return Measure(f"RMSE of {target}", "rmse", None, drawn=float, told=number, room="upper right")


def curve(name: str, rounds: Sequence[Round], places: Sequence[float], along: str, of: Measure) -> Drawing:
    """What trained rounds came to; ``places`` are theirs on the x axis."""
    figure = blank()
    axes = stripped(figure.add_subplot())
    # By round number, as rounds may share a place.
    where = {round_.number: place for round_, place in zip(rounds, places, strict=True)}
    for (_, aborted), group in groupby(rounds, key=lambda round_: (round_.attempt, round_.aborted)):
        _curve(axes, list(group), where, aborted, of)
    axes.set_xlabel(plain(along), parse_math=False)
    axes.set_ylabel(plain(of.axis), parse_math=False)
    axes.margins(x=0.08, y=0.12)
    if of.lowest is not None:
        axes.set_ylim(bottom=max(axes.get_ylim()[0], of.lowest))
    _tell_last(axes, rounds[-1], places[-1], of)
    handles, labels = axes.get_legend_handles_labels()
    if len(handles) > 1:
        unique = dict(zip(labels, handles, strict=True))
        axes.legend(unique.values(), unique.keys(), loc=of.room, frameon=False, labelcolor=COLOURS["ink"])
    return written(name, figure)


def _curve(axes: "Axes", rounds: list[Round], where: dict[int, float], aborted: bool, of: Measure) -> None:
    outcomes = [round_.outcome for round_ in rounds if round_.outcome is not None]
    marker = "o" if len(where) <= _MARKED else ""
    for field, label in of.fields:
        points = [(where[one.round], of.drawn(value)) for one in outcomes if _is_known(value := getattr(one, field))]
        if not points:
            continue
        held_out = field == of.held_out
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


def _tell_last(axes: "Axes", last: Round, place: float, of: Measure) -> None:
    """The number at the end of the curve, which is what readers look for."""
    value = None if last.outcome is None else getattr(last.outcome, of.held_out)
    if _is_known(value):
        axes.annotate(
            of.told(of.drawn(value)),
            (place, of.drawn(value)),
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

    figure = blank()
    axes = stripped(figure.add_subplot())
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
    axes.set_ylabel(plain(along), parse_math=False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if axes.containers:
        settings: dict[str, Any] = {"ncols": 3, "fontsize": 9.5, "handlelength": 0.9, "columnspacing": 1.2}
        figure.legend(loc="outside upper left", frameon=False, labelcolor=COLOURS["ink"], **settings)
    return written(name, figure)


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


def _is_known(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)
