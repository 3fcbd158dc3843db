"""The columns of a table of values: their names, here and in files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    pass


TASK, RECIPE, N, SEED = "task", "recipe", "n", "seed"
DESCRIPTION, PARAMETERS, UNFINISHED = "description", "parameters", "unfinished"
REACHED, DIVERGED = "reached_target", "diverged"
ERROR_COLUMN, TEST_SIZE, MISTAKEN = "test_error", "test_size", "mistaken"
NEEDED = (RECIPE, N, SEED, ERROR_COLUMN)
OPTIONAL = (TASK, TEST_SIZE, MISTAKEN, DESCRIPTION, PARAMETERS, UNFINISHED, REACHED, DIVERGED)
RESERVED = (*NEEDED, *OPTIONAL)


def packed(mask: npt.NDArray[np.bool_]) -> str:
    """Return a mask as hexadecimal digits."""
    return np.packbits(mask).tobytes().hex()
