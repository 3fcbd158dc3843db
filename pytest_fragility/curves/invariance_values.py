"""A measure's values on pairs of networks that have the same function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_fragility.curves.intervals import Estimate

if TYPE_CHECKING:
    from pytest_fragility.curves.intervals import Floats


@dataclass(frozen=True, eq=False)
class Invariance:
    """A measure's values before and after a change that leaves the function as it is.

    Parameters
    ----------
    summary
        The change in a few words.
    networks
        What each pair of networks is, such as ``n=128, seed 0``.
    before, after
        Shape (pairs, draws), float64: one draw of a measure without randomness of its own, several
        of one that draws random numbers.
    alpha
        Of the intervals over draws, for all pairs together.
    scale
        ``"log"``: changes are in decades. ``"linear"``: changes over the value before.
    """

    summary: str
    networks: tuple[str, ...]
    before: Floats
    after: Floats
    alpha: float
    scale: str = "log"

    @property
    def is_random(self) -> bool:
        """Whether the measure draws random numbers."""
        return bool(self.before.shape[1] > 1)

    @property
    def changes(self) -> list[Estimate]:
        """By how much the measure moved, for each pair; without randomness, a point."""
        return [self._change(*pair) for pair in zip(self.before, self.after, strict=True)]

    @property
    def largest(self) -> int:
        """The pair on which the measure moved the farthest."""
        return int(np.argmax([abs(change.mean) for change in self.changes]))

    def _change(self, before: Floats, after: Floats) -> Estimate:
        moved = _moved(before, after, self.scale)
        if self.is_random:
            return Estimate.from_samples(moved, self.alpha / len(self.before))
        mean = float(moved[0])
        return Estimate(mean, mean, mean, 0.0, 1, self.alpha)


def _moved(before: Floats, after: Floats, scale: str) -> Floats:
    if scale == "log":
        decades: Floats = np.log10(after) - np.log10(before)
        return decades
    # from nothing to something is a change of one whole
    size = np.where(before != 0, np.abs(before), np.abs(after))
    relative: Floats = (after - before) / np.where(size > 0, size, 1.0)
    return relative
