"""Files that say which rows of a training pool a network was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt


def read_samples(path: Path, n: int) -> npt.NDArray[np.int64]:
    """Return the first n rows that a file lists.

    Parameters
    ----------
    path
        A NumPy file (``.npy``) of whole numbers, or text with one number a line.
    n
        Training set size; what stands behind the first n is for larger ones.

    Raises
    ------
    ValueError
        In words, if it lists fewer, or something else than rows.
    """
    try:
        if path.suffix == ".npy":
            found = np.load(path, allow_pickle=False)
        else:
            found = np.array([int(line) for line in path.read_text(encoding="utf-8").split()])
    except (OSError, ValueError, EOFError, OverflowError) as error:
        raise ValueError(
            f"samples {path.name}: expected whole numbers, one a line, or a .npy file ({error})"
        ) from None
    if found.ndim != 1 or found.dtype.kind not in "iu" or len(found) < n:
        raise ValueError(
            f"samples {path.name}: {found.dtype} of shape {found.shape}; expected at least n={n} "
            "whole numbers"
        )
    rows: npt.NDArray[np.int64] = np.asarray(found[:n], dtype=np.int64)
    if rows.min() < 0 or len(np.unique(rows)) != n:
        raise ValueError(
            f"samples {path.name}: a row is negative, or stands twice in the first {n}"
        )
    return rows
