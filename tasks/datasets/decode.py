"""Image files as arrays of one size."""

import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from tasks.config import DatasetConfig
from tasks.errors import DataError

#: File names with other endings are not taken for images.
SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})

#: By content, whatever the name says. Others are not tried: some of Pillow's start programs, such as Ghostscript.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

_MODES = {1: "L", 3: "RGB"}


def reader(
    paths: Sequence[str], where: Callable[[int], str], config: DatasetConfig
) -> Callable[[npt.NDArray[np.int64]], npt.NDArray[np.uint8]]:
    """A function (rows) → uint8 array (n, channels, image_size, image_size) that decodes files in threads.

    Args:
        paths: one file an item.
        where: names item i in messages.
        config: dataset.channels and dataset.image_size.

    The function raises DataError if a file is missing, damaged, or too large to be safe.
    """

    def read(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        items = np.empty((len(rows), config.channels, config.image_size, config.image_size), np.uint8)

        def fill(position: int, row: int) -> None:
            items[position] = _decode(paths[row], where(row), config.channels, config.image_size)

        # Set here and not in `fill`: Python's warning filters belong to the process, not to a thread.
        with warnings.catch_warnings(), ThreadPoolExecutor(_workers()) as pool:
            warnings.filterwarnings("ignore", module=r"PIL\.")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            done = [pool.submit(fill, position, row) for position, row in enumerate(rows.tolist())]
            try:
                for future in done:
                    future.result()
            finally:
                pool.shutdown(cancel_futures=True)
        return items

    return read


def _workers() -> int:
    return min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _decode(path: str, where: str, channels: int, size: int) -> npt.NDArray[np.uint8]:
    try:
        with Image.open(path, formats=_FORMATS) as image:
            # Lets the JPEG decoder shrink by powers of two, to no less than twice the size that is wanted.
            image.draft(None, (2 * size, 2 * size))
            return _square(_to_mode(ImageOps.exif_transpose(image), _MODES[channels]), size)
    except FileNotFoundError:
        raise DataError(f"{where}: no such image file ({path}); restore it or take it out of the pool") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{where}: image too large to be safe ({error}); scale it down first") from None
    except Exception as error:
        # Pillow's decoders raise nearly anything on damaged files: SyntaxError, struct.error, IndexError, zlib.error…
        raise DataError(
            f"{where}: not a readable image ({_one_line(error)}); replace it or take it out of the pool"
        ) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _to_mode(image: Image.Image, mode: str) -> Image.Image:
    if image.mode.startswith("I;16"):
        # Pillow would clip 16-bit values at 255 instead of scaling them.
        image = Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise ValueError(f"pixels of 32 bits (mode {image.mode}); save it with 8 or 16 bits a channel")
    return image if image.mode == mode else image.convert(mode)


def _square(image: Image.Image, size: int) -> npt.NDArray[np.uint8]:
    # Short side scaled and centre cropped in one pass; whole-pixel offsets leave an image of the right scale exact.
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    scaled = image.resize((size, size), Image.Resampling.BILINEAR, box=box, reducing_gap=2.0)
    pixels = np.asarray(scaled, np.uint8)
    return pixels.reshape(size, size, -1).transpose(2, 0, 1)
