"""Pictures of a replay: one curve with its stopping points, or the means over several."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tasks.replay.panel import HINDSIGHT
from tasks.replay.recording import Recording
from tasks.replay.regret import TO_THE_END
from tasks.replay.results import BEST, Mean, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def curve(recording: Recording, rows: Sequence[Row]) -> bytes:
    """A PNG of held-out accuracy, or R², over labels paid for, with a mark where each policy would have stopped."""
    figure, axes = _empty()
    outcomes, metric = recording.history, recording.headline
    for attempt in sorted({outcome.attempt for outcome in outcomes}):
        mine = [outcome for outcome in outcomes if outcome.attempt == attempt]
        places, values = [one.bought for one in mine], [metric.drawn(one.accuracy) for one in mine]
        axes.plot(places, values, marker=".", color="0.6", zorder=1)
    for number, (labels, accuracy) in enumerate(sorted({_place(row) for row in rows if row.round is not None})):
        here = [row.rule for row in rows if row.round is not None and _place(row) == (labels, accuracy)]
        marker = "*" if BEST in here else "s" if TO_THE_END in here else "o"
        text = f"{labels} labels: {', '.join(here)}"
        place = [labels], [metric.drawn(accuracy)]
        axes.scatter(*place, s=90, marker=marker, color=f"C{number % 10}", label=text, zorder=2)
    title = f"{recording.name}: where each policy stops"
    axes.set(xlabel="labels bought", ylabel=f"held-out {metric.axis}", title=title)
    if not metric.share:
        axes.set_ylim(bottom=max(axes.get_ylim()[0], metric.lowest_drawn))
    axes.grid(True, alpha=0.3)
    axes.legend(loc="lower right", fontsize=8)
    return _png(figure)


def bars(means: Sequence[Mean], curves: int, currency: str) -> bytes:
    """A PNG of the mean regret of each policy, with 95 % intervals; of the labels saved where regret is not known."""
    shown = [mean for mean in means if mean.n and mean.rule != BEST and not mean.rule.endswith(HINDSIGHT)]
    told = all(mean.regret is not None for mean in shown)
    values = [(mean.regret if told else mean.saved_labels) or 0.0 for mean in shown]
    figure, axes = _empty()
    places = range(len(shown))
    axes.barh(places, values, xerr=[(mean.regret_ci95 or 0.0) if told else 0.0 for mean in shown], capsize=3)
    axes.set_yticks(places, [f"{mean.rule} (n = {mean.n})" for mean in shown])
    axes.invert_yaxis()
    axes.set(
        xlabel=f"mean regret ({currency})" if told else "labels saved against running to the end, mean",
        title=f"{curves} curves: means" + (" and 95 % intervals" if told else ""),
    )
    axes.grid(True, axis="x", alpha=0.3)
    return _png(figure)


def _place(row: Row) -> tuple[int, float]:
    return row.labels or 0, row.accuracy or 0.0


def _empty() -> "tuple[Figure, Axes]":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _png(figure: "Figure") -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=120, metadata={"Software": None})
    return out.getvalue()
