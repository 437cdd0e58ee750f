"""The files in which a comparison says what came of it."""

from dataclasses import dataclass
from pathlib import Path

from tasks import files
from tasks.compare import figures, summary
from tasks.compare.folder import Comparison
from tasks.compare.points import Point, points
from tasks.compare.summary import Row
from tasks.compare.tables import to_csv


@dataclass(frozen=True)
class Results:
    """A comparison over the seeds that all arms have finished."""

    #: One row for each arm and round.
    rows: list[Row]
    #: One row for each arm, at the end of its loops.
    finals: list[Row]
    table: Path
    #: Every round of every loop.
    runs: Path
    pictures: list[Path]

    @property
    def paths(self) -> list[Path]:
        """All files, the table first."""
        return [self.table, self.runs, *self.pictures]


def write(comparison: Comparison) -> Results:
    """Write table.csv, runs.csv and the curves of a comparison of which at least one seed is complete.

    The table comes last, so where it says the same as before, the curves do too and are not drawn again.
    """
    found, root = points(comparison), comparison.root
    rows = summary.per_round(found)
    metric = comparison.headline
    pictures = {over: root / f"{metric.name}-{over.replace('_', '-')}.png" for over in figures.AXES}
    results = Results(rows, summary.finals(found), root / "table.csv", root / "runs.csv", list(pictures.values()))
    table, runs = to_csv(Row, rows, metric), to_csv(Point, found, metric)
    if not (_holds(results.table, table) and _holds(results.runs, runs) and all(map(Path.exists, results.pictures))):
        title = f"{comparison.name}: means of {results.finals[0].n} seeds and 95 % intervals"
        for over, path in pictures.items():
            unit = comparison.first.prices.currency if over == "money" else ""
            files.write_bytes(path, figures.curves(rows, over, title, unit, metric))
        files.write_bytes(results.runs, runs)
        files.write_bytes(results.table, table)
    return results


def _holds(path: Path, content: bytes) -> bool:
    return path.exists() and path.read_bytes() == content
