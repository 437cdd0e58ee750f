"""The report of a loop: one page that needs nothing beside it, and its figures as PNGs."""

from pathlib import Path

from tasks import files
from tasks.report import bill, figures, page
from tasks.report import loop as loops
from tasks.report.bill import Line
from tasks.report.figures import Drawing
from tasks.report.loop import Loop
from tasks.report.quality import Quality, quality
from tasks.rounds import Workspace

PAGE = "report.html"
#: Units of device time, by the seconds from which on they are used.
_TIMES = (("device-hours", 3600), ("device-minutes", 60), ("device-seconds", 1))


def write(workspace: Workspace, out: Path) -> list[Path]:
    """Write report.html and the figures into ``out``, and return their paths, the page first.

    Equal files of the loop give equal bytes with one release of each library.

    Raises:
        WorkspaceError: no loop has begun, or none of its rounds is trained.
        DataError: a file is missing or damaged.
        ConfigError: ``out`` is a file.
    """
    files.check_folder(out, "the page and its figures")
    loop = loops.read(workspace)
    lines, found = bill.lines(loop.rounds), quality(loop)
    drawings = _drawings(loop, lines, found)
    # A JSON file can hold half a surrogate pair, which UTF-8 cannot.
    text = page.render(loop, lines, found, drawings).encode("utf-8", "replace")
    contents = {PAGE: text} | {f"{name}.png": drawing.png for name, drawing in drawings.items()}
    for name, content in contents.items():
        files.write_bytes(out / name, content)
    return [out / name for name in contents]


def _drawings(loop: Loop, lines: list[Line], found: Quality) -> dict[str, Drawing]:
    outcomes = [round_.outcome for round_ in loop.trained if round_.outcome is not None]
    currency = loop.config.prices.currency
    unit, seconds = _unit(outcomes[-1].device_hours * 3600)
    drawn = [
        figures.accuracy("accuracy-labels", loop.trained, [one.labels for one in outcomes], "labelled items"),
        figures.accuracy("accuracy-money", loop.trained, [one.money for one in outcomes], f"money so far, {currency}"),
        figures.accuracy(
            "accuracy-device-hours",
            loop.trained,
            [one.device_hours * 3600 / seconds for one in outcomes],
            f"{unit} so far",
        ),
        figures.stacked("bill", lines, "money", cumulated=True, along=f"money so far, {currency}"),
        figures.stacked("device-seconds", lines, "device_s", cumulated=False, along="device-seconds"),
    ]
    if found.bins:
        drawn.append(figures.reliability("reliability", found))
    return {drawing.name: drawing for drawing in drawn}


def _unit(seconds: float) -> tuple[str, int]:
    """The longest unit of which there are two, and its seconds."""
    return next(((name, length) for name, length in _TIMES if seconds >= 2 * length), _TIMES[-1])
