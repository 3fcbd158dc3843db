"""Reading data files that may hold anything: never more of them than was said."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from pytest_fragility.errors import TaskError

_CHUNK = 1 << 20
# what a file begins with that gzip has packed
GZIP = b"\x1f\x8b"
# gzip makes a thousandth of zeros, and a tenth of images and tables
_MOST_UNPACKED, _MOST_UNCHECKED = 100, 1 << 24


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading, unpacked where gzip has packed it, whatever it is called.

    Raises
    ------
    TaskError
        If it cannot be opened; and for what goes wrong while it is read.
    """
    try:
        if not path.is_file():
            raise FileNotFoundError("there is no such file")
        with path.open("rb") as packed:
            is_packed = packed.read(len(GZIP)) == GZIP
            packed.seek(0)
            with gzip.GzipFile(fileobj=packed) if is_packed else packed as file:
                yield cast(BinaryIO, file)
    except (OSError, EOFError, zlib.error) as error:
        if isinstance(error, TaskError):
            raise
        raise TaskError(f"{path}: cannot be read ({error}); get the file again") from error


def most_unpacked(size: int) -> int:
    """Return how many bytes a file of this size may unpack to."""
    return max(_MOST_UNPACKED * size, _MOST_UNCHECKED)


def read_at_most(file: BinaryIO, size: int) -> bytes:
    """Return up to `size` bytes; memory is taken as they come, not as they are announced."""
    parts = []
    while size > 0 and (part := file.read(min(size, _CHUNK))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
