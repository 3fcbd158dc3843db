"""Test error as it was counted elsewhere: with what is known of the test set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_fragility.rows.cells import bits, share, whole
from pytest_fragility.rows.columns import ERROR_COLUMN, MISTAKEN, TEST_SIZE
from pytest_fragility.rows.rows import Row

if TYPE_CHECKING:
    import numpy.typing as npt


# how far a share that was written with a few digits may be from a whole count
NEAR = 0.01
BOUNDED = (
    "which test samples were mistaken is not known (column mistaken), so that the noise of the "
    "finite test set is not paired but bounded"
)
UNBOUNDED = (
    "how many test samples there are is not known (column test_size), so that intervals hold for "
    "this test set alone"
)


@dataclass(frozen=True)
class CountedError:
    """A test error, as a share, with what is known of how it was counted.

    The size is zero where it is not known; which samples were mistaken stand eight to a byte.
    """

    error: float
    size: int = 0
    mistaken: bytes | None = None

    @property
    def mistakes(self) -> float:
        """How many samples were mistaken: whole, but where the share was rounded too far."""
        count = self.error * self.size
        return round(count) if abs(count - round(count)) <= NEAR else count

    @property
    def corrected(self) -> float:
        """(mistakes + 1/2) / (size + 1), as where networks are trained here; else the share."""
        return (self.mistakes + 0.5) / (self.size + 1) if self.size else self.error

    @property
    def mask(self) -> npt.NDArray[np.bool_] | None:
        """Which test samples were mistaken, shape (test samples,)."""
        if self.mistaken is None:
            return None
        unpacked = np.unpackbits(np.frombuffer(self.mistaken, dtype=np.uint8))
        return unpacked[: self.size].astype(np.bool_)


def read_error(row: Row) -> CountedError | None:
    """Return the test error of a row, or None where there is none; what is wrong is noted."""
    if ERROR_COLUMN not in row.cells:
        return None
    error = row.read(ERROR_COLUMN, share, 0.5)
    size = row.read(TEST_SIZE, whole(1), 0)
    mistaken = row.read(MISTAKEN, bits, None)
    found = CountedError(error, size, mistaken)
    if error == 0 and not size:
        row.note(
            "test_error=0, which has no logarithm; add a column test_size, from which it gets a "
            "continuity correction"
        )
    if mistaken is None:
        return found
    if not size:
        row.note("mistaken needs test_size, the number of test samples")
    elif len(mistaken) != -(-size // 8):
        row.note(f"mistaken has {len(mistaken)} bytes; test_size={size} takes {-(-size // 8)}")
    elif found.mask is not None and (count := int(found.mask.sum())) != found.mistakes:
        row.note(f"mistaken has {count} samples, test_error x test_size is {found.mistakes:g}")
    return found


def masks_of(grid: Sequence[Sequence[CountedError]]) -> npt.NDArray[Any] | None:
    """Return which samples were mistaken, shape (sizes, seeds, samples); None where unknown."""
    if not all(each.mistaken is not None for row in grid for each in row):
        return None
    return np.array([[each.mask for each in row] for row in grid])


def what_is_unknown(counted: Sequence[CountedError]) -> tuple[str, ...]:
    """Return what to tell about the noise of a finite test set; nothing where all is known."""
    if all(each.mistaken is not None for each in counted):
        return ()
    return (BOUNDED,) if all(each.size for each in counted) else (UNBOUNDED,)
