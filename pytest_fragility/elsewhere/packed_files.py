"""Files that are packed, or of other kinds than text: unpacked, or named as what they are."""

from __future__ import annotations

import gzip
import io

from pytest_fragility.tasks.files import GZIP, read_at_most
from pytest_fragility.whole_files import LARGEST_FILE

# gzip makes a thousandth of zeros, and a tenth of tables
MOST_UNPACKED, MOST_UNCHECKED = 100, 1 << 24
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
        If it is damaged, or becomes far larger than a table does, or than a file may be.
    """
    if not content.startswith(GZIP):
        return content
    most = min(LARGEST_FILE, max(MOST_UNPACKED * len(content), MOST_UNCHECKED))
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        found = read_at_most(file, most + 1)  # type: ignore[arg-type]
    if len(found) > most:
        raise OSError(f"its {len(content):,} bytes unpack to more than {most:,}")
    return found


def told_kind(content: bytes) -> str:
    """Return what to say of a file that is no text; nothing where its kind is not known."""
    for start, kind in _KINDS.items():
        if content.startswith(start):
            return f" but {kind}"
    return ""
