"""Files that are packed, or of other kinds than text: unpacked, or named as what they are."""

from __future__ import annotations

import gzip
import io

from pytest_fragility.tasks.files import GZIP, read_at_most

# what one unpacks to may be a thousand times as large
LARGEST_TEXT = 1 << 30
_KINDS = {
    b"PAR1": "a Parquet file",
    b"ARROW1": "an Arrow file",
    b"PK\x03\x04": "a workbook of Excel or another archive",
    b"\xd0\xcf\x11\xe0": "a workbook of Excel",
    b"\x89HDF": "an HDF5 file",
    b"SQLite format 3": "a SQLite database",
    b"\x28\xb5\x2f\xfd": "packed by zstd",
    b"\xfd7zXZ": "packed by xz",
    b"BZh": "packed by bzip2",
    b"\xff\xfe": "text in UTF-16",
    b"\xfe\xff": "text in UTF-16",
    b"\x80": "a pickle",
}


def unpacked(content: bytes) -> bytes:
    """Return the content of a file, unpacked where gzip has packed it.

    Raises
    ------
    OSError, EOFError, zlib.error
        If it is damaged, or more than 1 GiB.
    """
    if not content.startswith(GZIP):
        return content
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        found = read_at_most(file, LARGEST_TEXT + 1)  # type: ignore[arg-type]
    if len(found) > LARGEST_TEXT:
        raise OSError(f"it unpacks to more than {LARGEST_TEXT >> 30} GiB")
    return found


def told_kind(content: bytes) -> str:
    """Return what to say of a file that is no text; nothing where its kind is not known."""
    for start, kind in _KINDS.items():
        if content.startswith(start):
            return f" but {kind}"
    return ""
