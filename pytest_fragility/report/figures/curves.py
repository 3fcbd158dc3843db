"""Learning curves as figures and tables need them: means, bands and fitted lines."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from pytest_fragility.checks.curve_data import Curve
from pytest_fragility.checks.wording import LOG

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DrawnCurve:
    """One learning curve of a document.

    Parameters
    ----------
    curve
        From a document.
    scale
        ``log``: means and intervals are those of log(value); else of the value.
    alpha
        Level of the intervals is ``1 - alpha``.
    """

    curve: Curve
    scale: str
    alpha: float

    @property
    def sizes(self) -> list[int]:
        """Training set sizes."""
        sizes: list[int] = self.curve["sizes"]
        return sizes

    @property
    def values(self) -> Floats:
        """Shape (sizes, seeds)."""
        return np.asarray(self.curve["values"], dtype=np.float64)

    @cached_property
    def means(self) -> Floats:
        """Over seeds: geometric on a log scale; shape (sizes,)."""
        return self._value(self._heights.mean(axis=1))

    @cached_property
    def band(self) -> tuple[Floats, Floats]:
        """Ends of the t interval of the mean over seeds at each n, shape (sizes,) each."""
        heights = self._heights
        seeds = heights.shape[1]
        if seeds < 2:
            return self.means, self.means
        half = stdtrit(seeds - 1, 1 - self.alpha / 2) * heights.std(axis=1, ddof=1) / np.sqrt(seeds)
        middle = heights.mean(axis=1)
        return self._value(middle - half), self._value(middle + half)

    def line(self, slope: float) -> Floats:
        """Return the fitted line with this slope, through the middle of the curve."""
        log_sizes = np.log(np.asarray(self.sizes, dtype=np.float64))
        middle = self._heights.mean()
        return self._value(middle + slope * (log_sizes - log_sizes.mean()))

    @property
    def points(self) -> tuple[Floats, Floats]:
        """Every network's n and value, shape (sizes * seeds,) each."""
        values = self.values
        return np.repeat(np.asarray(self.sizes, dtype=np.float64), values.shape[1]), values.ravel()

    @property
    def _heights(self) -> Floats:
        return np.log(self.values) if self.scale == LOG else self.values

    def _value(self, height: Floats) -> Floats:
        values: Floats = np.exp(height) if self.scale == LOG else np.asarray(height)
        return values


def common_limits(curves: list[DrawnCurve]) -> tuple[float, float]:
    """Return the ends of an axis that holds all points of some curves of one scale."""
    values = np.concatenate([curve.values.ravel() for curve in curves])
    low, high = float(values.min()), float(values.max())
    if curves[0].scale == LOG:
        margin = max(high / low, 1.05) ** 0.06
        return low / margin, high * margin
    margin = 0.06 * (high - low or abs(high) or 1.0)
    return low - margin, high + margin
