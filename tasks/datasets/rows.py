"""How rows of files are called, and which files they are."""

from dataclasses import dataclass
from pathlib import Path

from tasks.config import DatasetConfig
from tasks.datasets.columns import ENDINGS, Columns
from tasks.datasets.inside import Inside, find_root
from tasks.errors import DataError


@dataclass(frozen=True)
class Files:
    """A folder, and the two files in it that hold a pool and a held-out set."""

    root: Path
    pool: Path
    test: Path


def named(config: DatasetConfig, places: list[Path]) -> Files:
    """The files that dataset.pool and dataset.test name, inside the first place that holds the pool.

    Their endings may be left out.

    Raises:
        DataError: there is no pool, a path leads out of the folder, a name without its ending means several files, or
            both mean the same one.
    """
    root = find_root(config, places, candidates(config.pool, ENDINGS))
    pool, test = located(root, config.pool, "dataset.pool"), located(root, config.test, "dataset.test")
    files = Files(root.root, pool, test)
    if files.pool.resolve() == files.test.resolve():
        raise DataError(f"dataset.test: {files.test} is the pool as well; held-out items must be others")
    return files


def candidates(name: str, endings: tuple[str, ...]) -> list[str]:
    """What a file may be called whose ending may be left out."""
    return [name] if name.lower().endswith(endings) else [name + ending for ending in endings]


def located(root: Inside, name: str, key: str, endings: tuple[str, ...] = ENDINGS) -> Path:
    """The file that ``name`` means, which need not be there; ``key`` names its origin in messages.

    Raises:
        DataError: the name leads out of the folder, or means several files.
    """
    named = candidates(name, endings)
    found = [candidate for candidate in named if Path(root.locate(candidate, key)).is_file()]
    if len(found) > 1:
        raise DataError(f"{key}: {root.root} holds {' and '.join(found)}; write which one with its ending")
    return root.root / (found or named)[0]


def published(config: DatasetConfig, places: list[Path], *names: str) -> Path:
    """The first place that holds all of the files of a data set that is not downloaded.

    Raises:
        DataError: none does.
    """
    candidates = places if config.root is None else places[:1]
    for place in candidates:
        if all((place / name).is_file() for name in names):
            return place
    looked = ", ".join(str(place) for place in candidates)
    raise DataError(
        f"{config.name}: no {' and '.join(names)} in {looked}; fetch the data set, and set dataset.root or "
        "FRUGAL_DATA to the folder that holds them"
    )


def numbered(part: str, count: int) -> list[str]:
    """Ids of rows that have none: their position, such as train/00012."""
    width = len(str(count - 1))
    return [f"{part}/{number:0{width}d}" for number in range(count)]


def uris(root: Path, columns: Columns) -> list[str]:
    """Of each row: its file, seen from ``root``, and its position, counted from 0."""
    name = columns.file.relative_to(root).as_posix()
    positions = range(len(columns)) if columns.positions is None else columns.positions.tolist()
    return [f"{name}#{position}" for position in positions]


def ids(columns: Columns, part: str) -> list[str]:
    """The column id, without the white space around it; else the rows' numbers.

    Raises:
        DataError: an id is blank or stands twice; the row is named.
    """
    if "id" not in columns.stored:
        return numbered(part, len(columns))
    found = [(value or "").strip() for value in columns.text("id").to_pylist()]
    if "" in found:
        raise DataError(f"{columns.where(found.index(''))}: blank id; fill it in or take the row out")
    if len(set(found)) < len(found):
        first: dict[str, int] = {}
        for row, id_ in enumerate(found):
            if first.setdefault(id_, row) != row:
                raise DataError(
                    f"{columns.where(row)}: id {id_!r} stands already in row {first[id_] + 1}; ids must differ"
                )
    return found
