"""Which samples a run sees, and in which order: the same under every recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from pytest_fragility._util.seeds import derive_generator
from pytest_fragility.errors import TaskError
from pytest_fragility.tasks.splits import balanced_order
from pytest_fragility.tasks.task import STRATIFIED, TaskData

if TYPE_CHECKING:
    import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class PartOfData(TaskData):
    """Data that hold no more than some runs need; as part of an identity, they are the whole.

    `orders` are, by seed, the rows of this pool as subsets take them; `whole` is the fingerprint of
    all the data.
    """

    orders: Mapping[int, npt.NDArray[np.int64]] = field(default_factory=dict)
    whole: str = ""

    @property
    def fingerprint(self) -> str:
        """That of all the data."""
        return self.whole


BLOCK_SAMPLES = 1 << 14


def training_subset(data: TaskData, n: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the rows of the pool that a run trains on: shape (n,), nested in n.

    Stratified subsets have, of each class, its share in the pool to within one sample; see
    `balanced_order`.

    Raises
    ------
    TaskError
        If the pool has fewer than n samples, or the subset lacks a class that the pool has.
    """
    pool_size = len(data.train_labels)
    if n > pool_size:
        raise TaskError(f"size {n}: the training pool has only {pool_size} samples")
    rows = _pool_order(data, seed)[:n]
    if not data.allow_missing_classes:
        _require_every_class(data, rows, seed)
    return rows


def part_of_data(
    data: TaskData, largest: Mapping[int, int], *, with_test_data: bool = True
) -> PartOfData:
    """Return the data without the samples of the pool that none of some subsets has.

    `largest` is the size of the largest subset, by seed. Without its test data, one sample is kept.
    """
    orders = {seed: _pool_order(data, seed)[:n] for seed, n in largest.items()}
    rows = np.unique(np.concatenate(list(orders.values())))
    kept = None if with_test_data else 1
    return PartOfData(
        data.train_inputs[rows],
        data.train_labels[rows],
        data.test_inputs[:kept],
        data.test_labels[:kept],
        data.classes,
        data.subsets,
        data.allow_missing_classes,
        data.strata[rows],
        {seed: np.searchsorted(rows, order) for seed, order in orders.items()},
        data.fingerprint,
    )


def _pool_order(data: TaskData, seed: int) -> npt.NDArray[np.int64]:
    """Return the pool's rows in the order in which subsets take them."""
    if isinstance(data, PartOfData):
        return data.orders[seed]
    return _drawn_order(data, seed)


@lru_cache(maxsize=64)
def _drawn_order(data: TaskData, seed: int) -> npt.NDArray[np.int64]:
    generator = derive_generator("training subset", len(data.train_labels), seed)
    order = generator.permutation(len(data.train_labels))
    if data.subsets == STRATIFIED:
        order = order[balanced_order(data.strata[order])]
    order.flags.writeable = False
    return order


def _require_every_class(data: TaskData, rows: npt.NDArray[np.int64], seed: int) -> None:
    classes, seen = _strata(data), np.unique(data.strata[rows])
    if len(seen) < len(classes):
        missing = np.setdiff1d(classes, seen)
        raise TaskError(
            f"size {len(rows)}, seed {seed}: the {data.subsets} training subset has no sample of "
            f"class {missing[0]}, one of {len(classes)} in the pool; ask for larger sizes"
            + ("" if data.subsets == STRATIFIED else ", subsets='stratified'")
            + ", or allow_missing_classes=True"
        )


@lru_cache(maxsize=64)
def _strata(data: TaskData) -> npt.NDArray[np.int64]:
    """Return the strata that there are, sorted."""
    strata = np.unique(data.strata)
    strata.flags.writeable = False
    return strata


class SampleOrder:
    """The endless sequence of samples that a run draws its batches from.

    Epoch after epoch, each a fresh permutation of the subset, cut into batches wherever they
    fall. It depends on n, the seed and the number of the seed's order, and not on the batch size.
    """

    def __init__(self, n: int, seed: int, order: int = 0) -> None:
        self.n = n
        self.seed = seed
        self.order = order
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
            which = (index, self.order) if self.order else (index,)
            generator = derive_generator("sample order", self.n, self.seed, *which)
            epochs = np.tile(np.arange(self.n), (self._epochs_per_block, 1))
            self._block = generator.permuted(epochs, axis=1).ravel()
            self._block_index = index
        return self._block
