"""Files that say which rows of a training pool a network was trained on."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_fragility._util.files import read_plain
from pytest_fragility._util.text import one_line, shown

if TYPE_CHECKING:
    import numpy.typing as npt


# what the two formats of NumPy begin with
_ARRAY, _ARCHIVE = b"\x93NUMPY", b"PK"
_HEADERS: dict[tuple[int, int], Callable[..., Any]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_NUMBER = re.compile("[+-]?[0-9]{1,18}")


def read_samples(path: Path, n: int) -> npt.NDArray[np.int64]:
    """Return the first n rows that a file lists; what stands behind them is for larger sizes.

    It is NumPy's file of one array of whole numbers, or text with one number a line, whatever its
    name ends in. A ValueError says that it lists fewer, or something else than rows.
    """
    name = one_line(path.name)
    try:
        found = _array(read_plain(path))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"samples {name}: expected whole numbers, one a line, or a .npy file "
            f"({one_line(str(getattr(error, 'strerror', None) or error))})"
        ) from None
    if found.ndim != 1 or found.dtype.kind not in "iu" or len(found) < n:
        raise ValueError(
            f"samples {name}: {found.dtype} of shape {found.shape}; expected at least n={n} whole "
            "numbers"
        )
    rows: npt.NDArray[np.int64] = np.asarray(found[:n], dtype=np.int64)
    if rows.min() < 0 or len(np.unique(rows)) != n:
        raise ValueError(f"samples {name}: a row is negative, or stands twice in the first {n}")
    return rows


def _array(content: bytes) -> npt.NDArray[Any]:
    if content.startswith(_ARRAY):
        return _saved_array(content)
    if content.startswith(_ARCHIVE):
        raise ValueError("it is an archive, as .npz is; save one array with numpy.save")
    lines = content.decode("utf-8").split()
    odd = next((line for line in lines if not _NUMBER.fullmatch(line)), None)
    if odd is not None:
        raise ValueError(f"{shown(odd, 60)} is none, or too large")
    return np.array([int(line) for line in lines], dtype=np.int64)


def _saved_array(content: bytes) -> npt.NDArray[Any]:
    """Return what `numpy.save` has written; memory is asked for what the file has."""
    file = io.BytesIO(content)
    read_header = _HEADERS.get(np.lib.format.read_magic(file))
    if read_header is None:
        raise ValueError("it is of a version of NumPy's format that is not read")
    try:
        shape, _, dtype = read_header(file)
    # what its parser makes of a header that is none
    except Exception:
        raise ValueError("its header is damaged") from None
    count, room = math.prod(shape), len(content) - file.tell()
    if dtype.hasobject or not all(type(each) is int and each >= 0 for each in shape):
        raise ValueError(f"it is an array of {dtype}, of shape {shape}")
    if count * dtype.itemsize > room:
        raise ValueError(
            f"its header says shape {shape}, which is {count * dtype.itemsize:,} bytes, and the "
            f"file has {room:,}"
        )
    return np.frombuffer(content, dtype, count, file.tell()).reshape(shape)
