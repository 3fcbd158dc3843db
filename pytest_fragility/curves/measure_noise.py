"""The noise of a measure that draws random numbers, apart from the noise over seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pytest_fragility.curves.intervals import Floats
    from pytest_fragility.curves.learning_curve import LearningCurve


@dataclass(frozen=True)
class OwnNoise:
    """How far a measure's curve scatters on the very same networks, from one draw to the next.

    Parameters
    ----------
    slope, level
        Standard deviations of one seed's slope, and of its level (in decades on a log scale), over
        draws.
    """

    slope: float
    level: float

    @classmethod
    def from_draws(cls, first: LearningCurve, second: LearningCurve) -> OwnNoise:
        """Return the noise that two draws on the same networks show.

        The mean square of their differences, over seeds, is twice the variance of one draw.

        Parameters
        ----------
        first, second
            The same measure, recipe, sizes and seeds.
        """
        return cls(
            _deviation(second.slopes - first.slopes), _deviation(second.levels - first.levels)
        )

    def slope_share(self, deviation: float, *, curves: int = 1) -> float:
        """Return the share of the slopes' variance over seeds that is the measure's own noise.

        Parameters
        ----------
        deviation
            Standard deviation over seeds of slopes, or of differences of slopes.
        curves
            How many curves' noise is in it: 2 for differences.
        """
        return _share(self.slope, deviation, curves)

    def level_share(self, deviation: float, *, curves: int = 1) -> float:
        """Return the same of levels."""
        return _share(self.level, deviation, curves)


def _deviation(differences: Floats) -> float:
    return math.sqrt(float(np.mean(differences**2)) / 2)


def _share(own: float, deviation: float, curves: int) -> float:
    if deviation == 0:
        return 0.0 if own == 0 else 1.0
    return min(1.0, curves * own**2 / deviation**2)
