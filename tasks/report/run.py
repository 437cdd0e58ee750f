"""The report of a loop: one page that needs nothing beside it, and its figures as PNGs."""

from pathlib import Path

from tasks import files
from tasks.report import bill, figures, kinds, page
from tasks.report import loop as loops
from tasks.report.bill import Line
from tasks.report.drawing import Drawing
from tasks.report.figures import Measure
from tasks.report.loop import Loop
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
    kind, lines = kinds.of(loop), bill.lines(loop.rounds)
    found = kind.quality(loop)
    drawn = [*_curves(loop), *_costs(loop, lines), *kind.drawings(loop, found)]
    drawings = {drawing.name: drawing for drawing in drawn}
    # A JSON file can hold half a surrogate pair, which UTF-8 cannot.
    text = page.render(loop, lines, found, drawings).encode("utf-8", "replace")
    contents = {PAGE: text} | {f"{name}.png": drawing.png for name, drawing in drawings.items()}
    for name, content in contents.items():
        files.write_bytes(out / name, content)
    return [out / name for name in contents]


def _curves(loop: Loop) -> list[Drawing]:
    """The headline metric over labels, money and device time, and a regression's error over the first two."""
    outcomes = [round_.outcome for round_ in loop.trained if round_.outcome is not None]
    unit, seconds = _unit(outcomes[-1].device_hours * 3600)
    over: dict[str, tuple[list[float], str]] = {
        "labels": ([one.labels for one in outcomes], "labelled items"),
        "money": ([one.money for one in outcomes], f"money so far, {loop.config.prices.currency}"),
        "device-hours": ([one.device_hours * 3600 / seconds for one in outcomes], f"{unit} so far"),
    }

    def curve(name: str, along: str, of: Measure) -> Drawing:
        return figures.curve(f"{name}-{along}", loop.trained, *over[along], of)

    drawn = [curve(loop.metric.name, along, figures.headlined(loop.metric)) for along in over]
    if not loop.metric.share:
        drawn += [curve("rmse", along, figures.rmse(loop.target)) for along in ("labels", "money")]
    return drawn


def _costs(loop: Loop, lines: list[Line]) -> list[Drawing]:
    along = f"money so far, {loop.config.prices.currency}"
    return [
        figures.stacked("bill", lines, "money", cumulated=True, along=along),
        figures.stacked("device-seconds", lines, "device_s", cumulated=False, along="device-seconds"),
    ]


def _unit(seconds: float) -> tuple[str, int]:
    """The longest unit of which there are two, and its seconds."""
    return next(((name, length) for name, length in _TIMES if seconds >= 2 * length), _TIMES[-1])
