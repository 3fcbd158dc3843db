"""The format of a checkpoint, by its content: its name says nothing about it."""

from __future__ import annotations

import pickle
from pathlib import Path

from pytest_fragility.elsewhere.unusable import UnusableFileError

ARCHIVE, LEGACY, SAFETENSORS, INDEX = "zip archive", "pickle", "safetensors", "index of shards"

_HEAD = 512
_TAR, _TAR_PLACE = b"ustar", 257
# how many bytes say how long the header of safetensors is
_LENGTH = 8

# what files begin with, what they are, and what to do
_UNREAD = (
    (
        b"version https://git-lfs.github.com/",
        "is a Git LFS pointer, not the file that it stands for; run git lfs pull",
    ),
    (b"\x89HDF\r\n\x1a\n", "is an HDF5 file, as Keras writes; expected a state dict of torch"),
    (b"\x93NUMPY", "is a NumPy array; save tensors by name: safetensors, or torch.save"),
    (b"GGUF", "is a GGUF file; expected safetensors, or a state dict of torch"),
    (b"\x1f\x8b", "was compressed with gzip; unpack it first"),
    (b"BZh", "was compressed with bzip2; unpack it first"),
    (b"\xfd7zXZ\0", "was compressed with xz; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "was compressed with zstd; unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive; unpack it first"),
    (b"Rar!", "is a RAR archive; unpack it first"),
)
_WEB_PAGES = (b"<!doctype", b"<html", b"<?xml", b"<head", b"<!--")


def format_of(path: Path) -> str:
    """Return which of the four formats that are read a file has.

    Raises
    ------
    UnusableFileError
        If it has none of them, in words that say which one it has.
    OSError
        If it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head:
        raise UnusableFileError("is empty; copy or download it again")
    # first of all, since its length may begin like anything
    if head[_LENGTH : _LENGTH + 1] == b"{":
        header = int.from_bytes(head[:_LENGTH], "little")
        if header + _LENGTH <= size:
            return SAFETENSORS
        if b"\0" in head[:_LENGTH]:
            raise UnusableFileError(
                f"is damaged, or was not loaded to its end: its header of safetensors is said to "
                f"have {header:,} bytes, and the file has {size:,}"
            )
    if head.startswith(b"PK"):
        return ARCHIVE
    if head.startswith(pickle.PROTO) and len(head) > 1 and head[1] <= pickle.HIGHEST_PROTOCOL:
        return LEGACY
    for start, words in _UNREAD:
        if head.startswith(start):
            raise UnusableFileError(words)
    if head[_TAR_PLACE:].startswith(_TAR):
        raise UnusableFileError(
            "is a tar archive; unpack it, or load and save it again with torch.save"
        )
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(_WEB_PAGES):
        raise UnusableFileError("is a web page, and no checkpoint; download the file itself")
    if text.startswith(b"{"):
        return INDEX
    if head[:1] == b"\x08" and (b"onnx" in head.lower() or b"pytorch" in head):
        raise UnusableFileError("is an ONNX model; expected a state dict of torch")
    if b"\0" not in head and _is_text(head):
        raise UnusableFileError(
            "is text, and no checkpoint; expected safetensors, or a state dict of torch"
        )
    raise UnusableFileError(
        "is damaged, or no safetensors, and no file of torch.save either: it begins with "
        f"{head[:8]!r}"
    )


def _is_text(head: bytes) -> bool:
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        # a character that the end cuts
        return error.start >= len(head) - 3
    return True
