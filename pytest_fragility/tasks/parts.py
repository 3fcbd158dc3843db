"""Data without the samples that nobody asks for, on their way to another process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_fragility.tasks.task import TaskData

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class PartOfData(TaskData):
    """Data that hold no more than some runs need; as part of an identity, they are the whole.

    Parameters
    ----------
    orders
        By seed: the rows of this pool in the order in which subsets take them.
    whole
        The fingerprint of all the data.
    """

    orders: Mapping[int, npt.NDArray[np.int64]] = field(default_factory=dict)
    whole: str = ""

    @property
    def fingerprint(self) -> str:
        """That of all the data."""
        return self.whole
