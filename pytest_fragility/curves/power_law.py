"""Whether a learning curve is a power law: whether its slope is the same at small and large n."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from pytest_fragility.curves.intervals import Estimate
from pytest_fragility.curves.learning_curve import compared, difference

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytest_fragility.curves.learning_curve import LearningCurve


HALVES, THIRDS = 2, 3
FEWEST_SIZES = {HALVES: 3, THIRDS: 4}
Part = tuple[int, int]


def cut_into_parts(sizes: int, number: int) -> list[Part]:
    """Return where a curve is cut into parts: their first and last places among the sizes.

    Neighbours share the place at which they meet, or the two between which the cut falls, so that
    no step of the curve is left out.
    """
    cuts = [each * (sizes - 1) / number for each in range(number + 1)]
    return [(math.floor(begin), math.ceil(end)) for begin, end in pairwise(cuts)]


def bent_parts(
    curve: LearningCurve,
    *,
    tolerance: float,
    alpha: float,
    baseline: LearningCurve | None = None,
) -> Sequence[Part]:
    """Return the parts over which a curve's slope certainly differs, or nothing.

    Two things are looked at: by how much the slope over the second half differs from that over the
    first (a plateau, a broken line), and by how much the slope over the middle third differs from
    the mean of those over the outer ones (a second descent, a step). Where either differs by more
    than the tolerance, with its whole interval, the curve is no power law. One that is, up to the
    tolerance, is called bent with probability at most alpha.

    Parameters
    ----------
    curve
        At least three sizes; with fewer nothing can be seen.
    tolerance
        How far the slope over one part may differ from that over another.
    alpha
        For both looks together.
    baseline
        Where given, the change from this curve is looked at: paired where seeds allow it.
    """
    found = {}
    for number, fewest in FEWEST_SIZES.items():
        if len(curve.sizes) < fewest:
            continue
        cut = cut_into_parts(len(curve.sizes), number)
        found_difference = _difference_of_slopes(curve, baseline, cut, alpha / len(FEWEST_SIZES))
        if found_difference.lies_beyond(tolerance):
            nearest = min(abs(found_difference.low), abs(found_difference.high))
            found[number] = (nearest, cut)
    return max(found.values())[1] if found else []


def _difference_of_slopes(
    curve: LearningCurve, baseline: LearningCurve | None, cut: Sequence[Part], alpha: float
) -> Estimate:
    """Return by how much the middle part's slope, or the last of two, differs from the others'."""
    if baseline is None:
        return Estimate.from_samples(_contrast(curve, cut), alpha)
    return difference(lambda each: _contrast(each, cut), *compared(curve, baseline), alpha)


def _contrast(curve: LearningCurve, cut: Sequence[Part]) -> npt.NDArray[np.float64]:
    """Return by how much the slope over one part differs from the others', one per seed."""
    slopes = [curve.slopes_over(*part) for part in cut]
    if len(slopes) == HALVES:
        return slopes[1] - slopes[0]
    first, middle, last = slopes
    return middle - (first + last) / 2
