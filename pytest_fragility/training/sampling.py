"""Which samples a run sees, and in which order: the same under every recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pytest_fragility.errors import TaskError
from pytest_fragility.randomness import derive_generator

if TYPE_CHECKING:
    import numpy.typing as npt

BLOCK_SAMPLES = 1 << 14


def training_subset(pool_size: int, n: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the rows of the pool that a run trains on: shape (n,), nested in n.

    Raises
    ------
    TaskError
        If the pool has fewer than n samples.
    """
    if n > pool_size:
        raise TaskError(f"size {n}: the training pool has only {pool_size} samples")
    return derive_generator("training subset", pool_size, seed).permutation(pool_size)[:n]


class SampleOrder:
    """The endless sequence of samples that a run draws its batches from.

    Epoch after epoch, each a fresh permutation of the subset, cut into batches wherever they
    fall. The sequence depends on n and the seed, and not on the batch size.

    Parameters
    ----------
    n
        Training set size.
    seed
        The run's seed.
    """

    def __init__(self, n: int, seed: int) -> None:
        self.n = n
        self.seed = seed
        self._epochs_per_block = max(1, BLOCK_SAMPLES // n)
        self._block_index = -1
        self._block: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def take(self, start: int, count: int) -> npt.NDArray[np.int64]:
        """Return positions `start` to ``start + count`` of the sequence: values below n."""
        pieces = []
        while count > 0:
            block_index, offset = divmod(start, self._epochs_per_block * self.n)
            piece = self._read_block(block_index)[offset : offset + count]
            pieces.append(piece)
            start, count = start + len(piece), count - len(piece)
        return np.concatenate(pieces)

    def _read_block(self, index: int) -> npt.NDArray[np.int64]:
        if index != self._block_index:
            generator = derive_generator("sample order", self.n, self.seed, index)
            epochs = np.tile(np.arange(self.n), (self._epochs_per_block, 1))
            self._block = generator.permuted(epochs, axis=1).ravel()
            self._block_index = index
        return self._block
