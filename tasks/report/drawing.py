"""How the report's figures are drawn: once, and written twice, as SVG for the page and as PNG beside it.

In the page, colours become its CSS variables, so that they follow the reader's light or dark setting, and text stays
text in the page's own font.
"""

import io
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
#: Inches; one of them is 72 units of the page, so that text has the same size on a phone as on a desk.
_WIDTH, _HEIGHT = 4.9, 3.7


@dataclass(frozen=True)
class Drawing:
    """A figure in both forms."""

    #: File name without its ending.
    name: str
    svg: str
    png: bytes


def blank() -> "Figure":
    """A figure of the page's size without axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained", facecolor=COLOURS["paper"])
    FigureCanvasAgg(figure)
    return figure


def stripped(axes: "Axes") -> "Axes":
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


def plain(text: str) -> str:
    """Text of the user's that a font and an SVG can take."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def written(name: str, figure: "Figure") -> Drawing:
    """A finished figure in both forms; equal figures give equal bytes with one release of matplotlib."""
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
