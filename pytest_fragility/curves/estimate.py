"""Means over seeds, and their t intervals."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtrit

from pytest_fragility.errors import SettingsError

if TYPE_CHECKING:
    import numpy.typing as npt

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
