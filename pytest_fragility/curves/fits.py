"""Straight lines through a learning curve, one per seed: least squares, and fits that withstand.

All take log(n) and the curve's heights there, and return slopes and heights at the middle of
log(n). Theil-Sen and repeated medians are hardly moved by a point that lies far off; they break
down where 29 % and 50 % of the points do (Theil 1950, Sen 1968, Siegel 1982).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pytest_fragility.curves.intervals import Floats

    Fit = Callable[[Floats, Floats], tuple[Floats, Floats]]

LEAST_SQUARES, THEIL_SEN, REPEATED_MEDIANS = "least-squares", "theil-sen", "repeated-medians"


def slope_weights(x: Floats) -> Floats:
    """Return the weights with which least squares adds up heights to a slope, shape (sizes,)."""
    centred = x - x.sum() / len(x)
    weights: Floats = centred / (centred @ centred)
    return weights


def least_squares(x: Floats, heights: Floats) -> tuple[Floats, Floats]:
    """Return slopes and levels of ordinary least squares, shape (seeds,) each.

    `x` is log(n), shape (sizes,), `heights` have shape (sizes, seeds); levels are the lines'
    heights at the mean of `x`.
    """
    levels = heights.sum(axis=0) / len(heights)
    return slope_weights(x) @ (heights - levels), levels


def theil_sen(x: Floats, heights: Floats) -> tuple[Floats, Floats]:
    """Return the median of the slopes of all pairs of points, and of what it leaves of heights."""
    first, second = np.triu_indices(len(x), k=1)
    pairs = (heights[second] - heights[first]) / (x[second] - x[first])[:, None]
    return _with_levels(x, heights, np.median(pairs, axis=0))


def repeated_medians(x: Floats, heights: Floats) -> tuple[Floats, Floats]:
    """Return, of each point's median slope to all others, the median, and the level."""
    own = [
        np.median(
            (np.delete(heights, i, axis=0) - heights[i]) / (np.delete(x, i) - x[i])[:, None], axis=0
        )
        for i in range(len(x))
    ]
    return _with_levels(x, heights, np.median(own, axis=0))


def _with_levels(x: Floats, heights: Floats, slopes: Floats) -> tuple[Floats, Floats]:
    left = heights - np.outer(x - x.mean(), slopes)
    return slopes, np.median(left, axis=0)


FITS: dict[str, Fit] = {
    LEAST_SQUARES: least_squares,
    THEIL_SEN: theil_sen,
    REPEATED_MEDIANS: repeated_medians,
}
