"""Learning curves: power-law fits, one slope per seed, and intervals over seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtrit

from pytest_fragility.errors import SettingsError

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_fragility.ladder_curves import LadderCurves

    Floats = npt.NDArray[np.float64]

MOST_SEEDS = 200
ROUNDING = 1e-9


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its t interval.

    Parameters
    ----------
    mean
        Mean over seeds.
    low, high
        Ends of the two-sided interval at level ``1 - alpha``.
    deviation
        Standard deviation over seeds (n - 1 in the denominator).
    seeds
        Number of seeds.
    alpha
        One minus the interval's level.
    """

    mean: float
    low: float
    high: float
    deviation: float
    seeds: int
    alpha: float

    @classmethod
    def from_samples(cls, samples: Floats, alpha: float) -> Estimate:
        """Return mean and t interval of independent samples, shape (seeds,).

        Raises
        ------
        SettingsError
            If there are fewer than two samples, which have no interval.
        """
        if len(samples) < 2:
            raise SettingsError(
                f"{len(samples)} seed: an interval needs at least 2, and 5 decide most checks"
            )
        mean, deviation = float(np.mean(samples)), float(np.std(samples, ddof=1))
        half = half_width(deviation, len(samples), alpha)
        return cls(mean, mean - half, mean + half, deviation, len(samples), alpha)

    @property
    def sign(self) -> int:
        """1 or -1 where the whole interval lies on one side of zero, else 0."""
        return 0 if self.is_flat else (self.low > 0) - (self.high < 0)

    @property
    def is_flat(self) -> bool:
        """Whether every seed gives exactly zero, up to rounding."""
        return max(abs(self.low), abs(self.high)) < ROUNDING

    def with_seeds(self, seeds: int) -> Estimate:
        """Return what the estimate would be with more seeds of the same mean and deviation."""
        half = half_width(self.deviation, seeds, self.alpha)
        low, high = self.mean - half, self.mean + half
        return Estimate(self.mean, low, high, self.deviation, seeds, self.alpha)

    def to_dict(self) -> dict[str, float]:
        """Return mean and interval as plain floats."""
        return {"mean": self.mean, "low": self.low, "high": self.high}


def half_width(deviation: float, seeds: int, alpha: float) -> float:
    """Return half the width of a two-sided t interval for a mean."""
    quantile = float(stdtrit(seeds - 1, 1 - alpha / 2))
    return quantile * deviation / math.sqrt(seeds)


def seeds_needed(seeds: int, is_decided: Callable[[int], bool]) -> int | None:
    """Return the first number of seeds, more than `seeds`, that would probably decide.

    Parameters
    ----------
    seeds
        Seeds so far.
    is_decided
        Whether so many seeds would decide, were mean and deviation to stay as they are.

    Returns
    -------
    int or None
        None where more than 200 would be needed.
    """
    return next((more for more in range(seeds + 1, MOST_SEEDS + 1) if is_decided(more)), None)


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


@dataclass(frozen=True, eq=False, kw_only=True)
class LearningCurves:
    """A measure's curves under every recipe, test error's beside them.

    Parameters
    ----------
    measure_name, task_name, device
        Whose curves, of what, on which kind of device.
    form
        What the measure's value is, such as ``raw value``; empty where it does not say.
    recipes
        Descriptions by recipe name, ``baseline`` first.
    sizes, seeds
        The grid.
    alpha
        Intervals have level ``1 - alpha``.
    scale
        The measure's: ``"log"`` or ``"linear"``.
    measure
        The measure's curves by recipe name; each is computed when it is first asked for.
    error
        Test error's curves by recipe name.
    unfinished
        By recipe name: in words, what kept runs from their stopping target; absent where all
        reached it.
    constant
        Whether the measure looks at no trained network, and so is the same under all recipes of
        one architecture.
    ladder
        The curves over a ladder of tasks; None where none was asked for.
    """

    measure_name: str
    task_name: str
    device: str
    form: str = ""
    recipes: dict[str, str]
    sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    alpha: float
    scale: str = "log"
    measure: Mapping[str, LearningCurve]
    error: dict[str, LearningCurve]
    unfinished: dict[str, str]
    constant: bool = False
    ladder: LadderCurves | None = None
