"""A learning curve: its power-law fit, one slope per seed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from pytest_fragility.curves.estimate import Estimate
from pytest_fragility.errors import SettingsError

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """A quantity against n for one task and recipe, over all seeds.

    Parameters
    ----------
    name
        The quantity.
    recipe
        The recipe's name.
    sizes
        Training set sizes, ascending, shape (sizes,).
    values
        Shape (sizes, seeds), float64; positive on a log scale.
    alpha
        Level of the intervals is ``1 - alpha``.
    scale
        ``"log"``: slopes are those of log(value) on log(n), so that value ~ n^slope.
        ``"linear"``: slopes are those of value on log(n).

    Raises
    ------
    SettingsError
        If there are fewer than two sizes.
    """

    name: str
    recipe: str
    sizes: tuple[int, ...]
    values: Floats
    alpha: float
    scale: str = "log"

    def __post_init__(self) -> None:
        if len(self.sizes) < 2:
            raise SettingsError(f"sizes {self.sizes}: a slope needs at least two sizes")

    @cached_property
    def heights(self) -> Floats:
        """What is fitted: log or plain values, shape (sizes, seeds)."""
        return np.log(self.values) if self.scale == "log" else self.values

    @cached_property
    def slopes(self) -> Floats:
        """Ordinary least squares of heights on log(n), one slope per seed, shape (seeds,)."""
        x = np.log(np.asarray(self.sizes, dtype=np.float64))
        x = x - x.mean()
        slopes: Floats = x @ (self.heights - self.heights.mean(axis=0)) / (x @ x)
        return slopes

    @cached_property
    def levels(self) -> Floats:
        """Height of the fit at the geometric middle of the sizes, shape (seeds,).

        In decades (log10) on a log scale.
        """
        means: Floats = self.heights.mean(axis=0)
        return means / math.log(10) if self.scale == "log" else means

    @cached_property
    def slope(self) -> Estimate:
        """The slope over seeds; on a log scale the exponent is minus the slope."""
        return Estimate.from_samples(self.slopes, self.alpha)

    @cached_property
    def level(self) -> Estimate:
        """The level over seeds."""
        return Estimate.from_samples(self.levels, self.alpha)

    @property
    def exponent(self) -> float:
        """Alpha in value ~ n^-alpha."""
        return -self.slope.mean

    @property
    def middle(self) -> float:
        """The curve's height at the geometric middle of the sizes, in the quantity's units."""
        return 10**self.level.mean if self.scale == "log" else self.level.mean

    def slope_change(self, baseline: LearningCurve) -> Estimate:
        """Return by how much the slope differs from the baseline's: paired over seeds."""
        return Estimate.from_samples(self.slopes - baseline.slopes, self.alpha)

    def level_change(self, baseline: LearningCurve) -> Estimate:
        """Return by how much the level differs from the baseline's, in decades: paired."""
        return Estimate.from_samples(self.levels - baseline.levels, self.alpha)
