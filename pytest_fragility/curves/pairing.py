"""Which seeds of two curves are compared: the same ones pair by pair, or all of both.

Runs of one seed share their training subset and their initial weights, so that most of their noise
is the same under two recipes and leaves their difference. That makes paired intervals far narrower,
as long as there are pairs. Networks that were trained elsewhere need not have the same seeds under
all recipes. Then the seeds that two curves have in common are paired where they are three or more
and two thirds or more of the smaller side's: with fewer, the seeds that would be thrown away and
the t quantile of few pairs cost more than pairing saves, at a correlation of 0.7 and below. Else
all seeds of both sides count, unpaired. The choice depends on which seeds there are and on nothing
that was measured, so that it favours no verdict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fragility.curves.intervals import Estimate
from pytest_fragility.curves.unpaired import UnpairedEstimate

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytest_fragility.curves.learning_curve import LearningCurve

    Floats = npt.NDArray[np.float64]

FEWEST_PAIRS = 3

Seeds = tuple[int, ...]


def seeds_to_compare(after: Seeds, before: Seeds) -> tuple[Seeds, Seeds]:
    """Return which seeds of either side are compared: the same ones where they are paired.

    Parameters
    ----------
    after, before
        Those that the two curves have.
    """
    common = tuple(seed for seed in after if seed in before)
    smaller = min(len(after), len(before))
    are_enough = len(common) >= FEWEST_PAIRS and 3 * len(common) >= 2 * smaller
    is_same = set(after) == set(before)
    return (common, common) if is_same or are_enough else (after, before)


def compared(after: LearningCurve, before: LearningCurve) -> tuple[LearningCurve, LearningCurve]:
    """Return two curves over the seeds that are compared; see `seeds_to_compare`."""
    if after.seeds == before.seeds:
        return after, before
    chosen = seeds_to_compare(after.seeds, before.seeds)
    return after.over_seeds(chosen[0]), before.over_seeds(chosen[1])


def difference(
    after: Floats, before: Floats, alpha: float, shared: float = 0.0, *, is_paired: bool
) -> Estimate:
    """Return by how much two quantities differ: a paired t interval, or Welch's.

    Parameters
    ----------
    after, before
        One per seed; of the same seeds in the same order where they are paired.
    alpha
        One minus the interval's level.
    shared
        Standard error of what all seeds have in common.
    is_paired
        Whether to take differences seed by seed.
    """
    if is_paired:
        return Estimate.from_samples(after - before, alpha, shared)
    return UnpairedEstimate.from_two_samples(after, before, alpha, shared)
