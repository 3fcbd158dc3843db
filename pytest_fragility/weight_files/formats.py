"""The format of a checkpoint, by its content: its name says nothing about it."""

from __future__ import annotations

import pickle
from pathlib import Path

from pytest_fragility._util.packed_files import HEAD, found_instead, kind_of

ARCHIVE, LEGACY, SAFETENSORS, INDEX = "zip archive", "pickle", "safetensors", "index of shards"
_EXPECTED = "expected safetensors, or a state dict of torch"
_TAR, _TAR_PLACE = b"ustar", 257
# how many bytes say how long the header of safetensors is
_LENGTH = 8


class UnusableFileError(ValueError):
    """A file that cannot be used: words that follow its name, such as ``is empty``."""

    def __init__(self, text: str, name: str = "") -> None:
        super().__init__(f"{name} {text}" if name else text)
        self.text = text
        self.name = name


def format_of(path: Path) -> str:
    """Return which of the four formats that are read a file has.

    An UnusableFileError says that it has none of them, and which one it has.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(HEAD)
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
    instead = found_instead(head)
    if instead:
        raise UnusableFileError(f"is {instead}")
    kind = kind_of(head)
    if kind:
        raise UnusableFileError(f"is {kind}; {_EXPECTED}")
    if head[_TAR_PLACE:].startswith(_TAR):
        raise UnusableFileError(
            "is a tar archive; unpack it, or load and save it again with torch.save"
        )
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return INDEX
    if head[:1] == b"\x08" and (b"onnx" in head.lower() or b"pytorch" in head):
        raise UnusableFileError(f"is an ONNX model; {_EXPECTED}")
    if b"\0" not in head and _is_text(head):
        raise UnusableFileError(f"is text, and no checkpoint; {_EXPECTED}")
    raise UnusableFileError(
        "is damaged, or no safetensors, and no file of torch.save either: it begins with "
        f"{head[:8]!r}"
    )


def _is_text(head: bytes) -> bool:
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        # a character that the end cuts
        return len(head) == HEAD and error.start >= HEAD - 3
    return True
