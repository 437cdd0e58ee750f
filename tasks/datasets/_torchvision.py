"""The data sets that torchvision knows: found where they lie, unpacked from their archives, or downloaded."""

import contextlib
import http.client
import io
import shutil
import socket
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.config import DatasetConfig
from tasks.datasets.scratch import scratch
from tasks.datasets.source import Split
from tasks.errors import DataError
from tasks.files import disk_space_checked

_TIMEOUT_S = 30.0

#: What torchvision lets through when files are missing or damaged, or the network is away.
_FAULTS = (
    OSError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AssertionError,
    EOFError,
    http.client.HTTPException,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class Published:
    """How torchvision stores and opens one data set; paths are relative to the folder that holds it."""

    #: What lies there once it is unpacked.
    marker: str
    #: The published files from which torchvision unpacks it without a network.
    archives: tuple[str, ...]
    #: open(torchvision.datasets, folder, download) → whatever the caller wants of it.
    open: Callable[[Any, Path, bool], Any]


def find(config: DatasetConfig, places: Sequence[Path], published: Published) -> Any:
    """Open a data set in the first place that holds it, else unpack or download it into the last one.

    Raises:
        DataError: it is in none of them, and there is no network.
        DiskFullError: no room to unpack it.
    """
    faults = []
    for place in places:
        # Asked only where there is something: some of torchvision's classes make empty folders when they look.
        if (place / published.marker).exists():
            try:
                return _open(published, place, download=False)
            except DataError as fault:
                faults.append(f"{place} holds it incomplete or damaged: {fault}")
    return _fetch(config, places, published, faults)


def _fetch(config: DatasetConfig, places: Sequence[Path], published: Published, faults: list[str]) -> Any:
    target = places[-1]
    with scratch(target, ".download-") as folder:
        for place in places:
            if all((place / archive).is_file() for archive in published.archives) and published.archives:
                _copy(published.archives, place, folder)
                faults = [*faults, f"the archives in {place} are damaged"]
                break
        try:
            _open(published, folder, download=True)
        except DataError as fault:
            looked = ", ".join(str(place) for place in dict.fromkeys(places))
            reasons = "; ".join([*faults, f"download failed: {fault}"])
            raise DataError(
                f"{config.name}: not found in {looked} ({reasons}); set dataset.root or FRUGAL_DATA to the folder "
                f"that holds {published.marker}"
            ) from None
        for archive in published.archives:
            (folder / archive).unlink(missing_ok=True)
        for entry in folder.iterdir():
            _replace(entry, target / entry.name)
    return _open(published, target, download=False)


def _copy(archives: Sequence[str], place: Path, folder: Path) -> None:
    for archive in archives:
        (folder / archive).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(place / archive, folder / archive)


def _replace(entry: Path, target: Path) -> None:
    # What lies there was found wanting, or it would have been used.
    if target.is_dir():
        shutil.rmtree(target)
    entry.replace(target)


def _open(published: Published, place: Path, download: bool) -> Any:
    from torchvision import datasets

    try:
        with _quiet(), _impatient(), disk_space_checked(place):
            return published.open(datasets, place, download)
    except _FAULTS as error:
        lines = str(error).strip().splitlines()
        raise DataError(lines[-1] if lines else type(error).__name__) from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _impatient() -> Iterator[None]:
    # torchvision gives its downloads no time limit, and a network that swallows packets would hold us for ever.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def split(
    name: str, part: str, labels: npt.ArrayLike, read: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.uint8]]
) -> Split:
    """A published part in its own order: ids such as train/00012."""
    known: npt.NDArray[np.int64] = np.asarray(labels, np.int64)
    width = len(str(len(known) - 1))
    return Split(
        ids=[f"{part}/{number:0{width}d}" for number in range(len(known))],
        uris=[f"{name}/{part}#{number}" for number in range(len(known))],
        labels=known,
        read=read,
    )
