"""Texts as rows of characters: what the very deep character-level networks read.

Source: Conneau, Schwenk, Barrault & LeCun, Very Deep Convolutional Networks for Text Classification, EACL 2017,
section 4.2: texts of 1014 characters, from a dictionary of 66 characters, padding, space and unknown, 69 in all. The
backslash, the at sign and the end of a line, which Zhang, Zhao & LeCun, NIPS 2015, section 2.2, have besides, are not
among them, and so unknown. Lower case and the numbers are as in the code of Coleman et al., Selection via Proxy, ICLR
2020, whose circumflex, however, is not the keyboard's.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tasks import progress
from tasks.datasets.texts import Texts

PADDING = 0
UNKNOWN = 1
#: Numbered from 2 on, in this order.
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789-,;.!?:'\"/|_#$%^&*~`+=<>()[]{} "
#: Numbers that an encoded text may hold: below this.
TOKENS = 2 + len(ALPHABET)

_CHUNK_BYTES = 8 * 2**20
#: Of a character in UTF-8.
_MOST_BYTES = 4
#: Bytes that go on with a character; the one that it begins with stands for it.
_FOLLOWING = bytes(range(0x80, 0xC0))


def _numbers() -> bytes:
    """Each byte's number; beyond ASCII a character is unknown in whichever case, so that only ASCII is lowered."""
    numbers = bytearray([UNKNOWN] * 256)
    for number, character in enumerate(ALPHABET, start=2):
        numbers[ord(character)] = numbers[ord(character.upper())] = number
    return bytes(numbers)


_NUMBERS = _numbers()


@dataclass(frozen=True)
class CharacterEncoding:
    """The first ``length`` characters of each text as uint8, (length,): shorter texts are padded at their end."""

    length: int = 1014
    suffix = ".npy"

    @property
    def key(self) -> str:
        """What the encoded texts depend on besides the texts; the version goes up when equal settings give others."""
        return f"characters-v1-{self.length}"

    def write(self, target: Path, items: Texts, pool: Texts) -> None:
        """Encode ``items``, chunk by chunk, into a .npy file of uint8 (n, length).

        Ordinary writes, not a memory map: on a full disk those raise, where a map kills the process.

        Args:
            pool: not looked at; the alphabet is given.
        """
        offsets, data = items.buffers()
        step = max(1, _CHUNK_BYTES // self.length)
        with target.open("wb") as stream, progress.task("encoding", len(items)) as shown:
            header = {"descr": "|u1", "fortran_order": False, "shape": (len(items), self.length)}
            np.lib.format.write_array_header_1_0(stream, header)
            for start in range(0, len(items), step):
                places = offsets[start : start + step + 1].tolist()
                rows = [self._row(data, first, end) for first, end in pairwise(places)]
                stream.write(b"".join(rows))
                shown.advance(len(rows))

    def _row(self, data: npt.NDArray[np.uint8], first: int, end: int) -> bytes:
        # Bytes that cannot belong to the first characters are not looked at, however long the text.
        text = data[first : min(end, first + _MOST_BYTES * self.length)].tobytes()
        return text.translate(_NUMBERS, _FOLLOWING)[: self.length].ljust(self.length, bytes([PADDING]))

    def open(self, path: Path) -> "np.memmap[tuple[int, ...], np.dtype[np.uint8]] | None":
        """Map a file of ``write`` read-only, or None if it is absent, cut short or something else."""
        if not path.is_file():
            return None
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError, OSError):
            return None  # whatever it is, it is not what `write` leaves; the caller builds it anew
        if not isinstance(array, np.memmap) or array.shape[1:] != (self.length,) or array.dtype != np.uint8:
            return None
        whole = array.flags.c_contiguous and path.stat().st_size == array.offset + array.nbytes
        return array if whole else None

    def shape(self, inputs: object) -> tuple[int, ...]:
        """Of one encoded text, whatever the texts."""
        return (self.length,)
