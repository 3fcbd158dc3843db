"""Files that are packed, or of other kinds than expected: unpacked, or named as what they are."""

from __future__ import annotations

import gzip
import io

from pytest_fragility._util.files import GZIP, LARGEST_FILE, most_unpacked, read_at_most

# how much of a file tells its kind
HEAD = 512
_POINTER = "pointer, not the file that it stands for; run"
_POINTERS = {
    b"version https://git-lfs.github.com/": f"a Git LFS {_POINTER} git lfs pull",
    b"/annex/objects/": f"a git-annex {_POINTER} git annex get",
}
_WEB_PAGES = (b"<!doctype", b"<html", b"<?xml", b"<head", b"<!--")
_UNPACK = "(unpack it first)"
_KINDS = {
    GZIP: f"packed by gzip {_UNPACK}",
    b"BZh": f"packed by bzip2 {_UNPACK}",
    b"\xfd7zXZ\0": f"packed by xz {_UNPACK}",
    b"\x28\xb5\x2f\xfd": f"packed by zstd {_UNPACK}",
    b"7z\xbc\xaf\x27\x1c": f"a 7z archive {_UNPACK}",
    b"Rar!": f"a RAR archive {_UNPACK}",
    b"PK\x03\x04": "a workbook of Excel or another archive",
    b"\xd0\xcf\x11\xe0": "a workbook of Excel",
    b"PAR1": "a Parquet file",
    b"ARROW1": "an Arrow file",
    b"\x89HDF": "an HDF5 file",
    b"SQLite format 3": "a SQLite database",
    b"\x93NUMPY": "a NumPy array",
    b"GGUF": "a GGUF file",
    b"\xff\xfe": "text in UTF-16",
    b"\xfe\xff": "text in UTF-16",
    b"\x80": "a pickle",
}


def unpacked(content: bytes) -> bytes:
    """Return the content of a file, unpacked where gzip has packed it.

    An OSError, EOFError or zlib.error says that it is damaged, or becomes far larger than a table
    does, or than a file may be.
    """
    if not content.startswith(GZIP):
        return content
    most = min(LARGEST_FILE, most_unpacked(len(content)))
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        found = read_at_most(file, most + 1)  # type: ignore[arg-type]
    if len(found) > most:
        raise OSError(f"its {len(content):,} bytes unpack to more than {most:,}")
    return found


def found_instead(content: bytes) -> str:
    """Return what a download has left in the place of a file; nothing where it has left none."""
    for start, kind in _POINTERS.items():
        if content.startswith(start):
            return kind
    text = content[:HEAD].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return "a web page; download the file itself" if text.startswith(_WEB_PAGES) else ""


def kind_of(content: bytes) -> str:
    """Return what to call a file by its beginning; nothing where that is not known."""
    return next((kind for start, kind in _KINDS.items() if content.startswith(start)), "")
