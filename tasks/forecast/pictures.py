"""The article's figures as PNGs, and their numbers and assumptions as JSON beside them."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from tasks import files
from tasks.forecast.article import Figure, figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def write(folder: Path) -> list[Path]:
    """Write all of them into ``folder``, which is made if it is not there; equal releases give equal bytes.

    Raises:
        ConfigError: ``folder`` is a file.
    """
    files.check_folder(folder, "the figures")
    paths = []
    for figure in figures():
        paths.append(folder / f"{figure.name}.png")
        files.write_bytes(paths[-1], picture(figure))
    paths.append(folder / "figures.json")
    files.write_json(paths[-1], {figure.name: figure.plain() for figure in figures()})
    return paths


def picture(figure: Figure) -> bytes:
    """A PNG with the assumptions below the axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(7, 4.8), layout="constrained")
    FigureCanvasAgg(canvas)
    axes = canvas.add_subplot()
    (_bars if figure.bars else _lines)(axes, figure)
    axes.set(xlabel=figure.x_label, ylabel=figure.y_label, ylim=(0, None))
    axes.set_title(figure.title, fontsize=11)
    axes.set_axisbelow(True)
    axes.grid(True, axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    canvas.supxlabel("Assumed: " + ";\n".join(figure.assumptions) + ".", fontsize=8, color="0.35")
    out = io.BytesIO()
    canvas.savefig(out, format="png", dpi=120, metadata={"Software": None})
    return out.getvalue()


def _bars(axes: "Axes", figure: Figure) -> None:
    for curve in figure.curves:
        drawn = axes.bar([f"{place:,.0f}" for place in curve.x], curve.y, width=0.7)
        axes.bar_label(drawn, fmt="%.2f", padding=2)
    axes.margins(y=0.1)


def _lines(axes: "Axes", figure: Figure) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    for curve in figure.curves:
        axes.plot(curve.x, curve.y, marker="o", markersize=4, label=curve.name)
        axes.annotate(
            f"{curve.y[-1]:,.4g}" if curve.y[-1] < 1000 else f"{curve.y[-1]:,.0f}",
            (curve.x[-1], curve.y[-1]),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
        )
    first, second = figure.curves
    axes.fill_between(first.x, first.y, second.y, alpha=0.12, linewidth=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.margins(x=0.12)
    axes.legend(loc="upper left")
