"""Files that are written whole or not at all, and read where they are plain files."""

from __future__ import annotations

import errno
import gzip
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from pytest_fragility.errors import TaskError

# far above any table or baseline, and below what would fill a machine
LARGEST_FILE = 2**30


def read_plain(path: Path) -> bytes:
    """Return what a plain file holds.

    Nobody waits for a pipe, and a device that never ends is not read.

    Raises
    ------
    OSError
        If it cannot be read, is no plain file, or is larger than 1 GiB.
    """

    def without_waiting(name: str, flags: int) -> int:
        return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))

    try:
        with open(path, "rb", opener=without_waiting) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise OSError(errno.EINVAL, "it is no plain file")
            if found.st_size > LARGEST_FILE:
                raise OSError(errno.EFBIG, f"it has {found.st_size:,} bytes, which is too much")
            content: bytes | None = file.read(LARGEST_FILE)
            if content is None:
                raise OSError(errno.EAGAIN, "it has to be waited for")
            return content
    except ValueError as error:
        # a null character, or one that no file's name can have
        raise OSError(errno.EINVAL, "its name cannot be that of a file") from error


def is_there(path: Path) -> bool:
    """Return whether there is something of this name; no name is too long for an answer."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def size_of(path: Path) -> int:
    """Return how many bytes a file has; none where it cannot be looked at."""
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return 0


def is_plain(path: Path) -> bool:
    """Return whether there is a plain file.

    Raises
    ------
    OSError
        If that cannot be found out.
    """
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except ValueError as error:
        raise OSError(errno.EINVAL, "its name cannot be that of a file") from error


def write_whole(path: Path, text: str) -> None:
    """Write a text in the place of what a file held; a failure leaves the file as it was.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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
