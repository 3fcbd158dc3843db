"""Means over seeds, and their t intervals."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
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
    shared
        Standard error of what all seeds have in common, which more seeds do not take away.
    """

    mean: float
    low: float
    high: float
    deviation: float
    seeds: int
    alpha: float
    shared: float = 0.0

    @classmethod
    def from_samples(cls, samples: Floats, alpha: float, shared: float = 0.0) -> Estimate:
        """Return mean and t interval of independent samples, shape (seeds,).

        Parameters
        ----------
        samples
            One per seed.
        alpha
            One minus the interval's level.
        shared
            Standard error of what all seeds have in common.

        Raises
        ------
        SettingsError
            If there are fewer than two samples, which have no interval.
        """
        if len(samples) < 2:
            raise SettingsError(
                f"{len(samples)} seed: an interval needs at least 2, and 5 decide most checks"
            )
        # an audit takes thousands of these: NumPy's mean and std take four times as long
        mean = float(samples.sum()) / len(samples)
        squares = (samples - mean) ** 2
        deviation = math.sqrt(float(squares.sum()) / (len(samples) - 1))
        return cls._around(mean, deviation, len(samples), alpha, shared)

    @classmethod
    def _around(
        cls, mean: float, deviation: float, seeds: int, alpha: float, shared: float
    ) -> Estimate:
        half = half_width(deviation, seeds, alpha, shared)
        return cls(mean, mean - half, mean + half, deviation, seeds, alpha, shared)

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
        return self._around(self.mean, self.deviation, seeds, self.alpha, self.shared)

    def with_alpha(self, alpha: float) -> Estimate:
        """Return the estimate with an interval of another level."""
        return self._around(self.mean, self.deviation, self.seeds, alpha, self.shared)

    def lies_within(self, bound: float) -> bool:
        """Return whether the whole interval lies between -bound and bound."""
        return -bound <= self.low and self.high <= bound

    def lies_beyond(self, bound: float) -> int:
        """Return 1 or -1 where the whole interval lies above bound or below -bound, else 0."""
        return (self.low > bound) - (self.high < -bound)

    def to_dict(self) -> dict[str, float]:
        """Return mean and interval as plain floats."""
        return {"mean": self.mean, "low": self.low, "high": self.high}


def half_width(deviation: float, seeds: int, alpha: float, shared: float = 0.0) -> float:
    """Return half the width of a two-sided t interval for a mean.

    Parameters
    ----------
    deviation
        Standard deviation over seeds.
    seeds
        Their number, at least 2.
    alpha
        One minus the interval's level.
    shared
        Standard error of what all seeds have in common.
    """
    return _quantile(seeds, alpha) * math.sqrt(deviation**2 / seeds + shared**2)


@lru_cache(maxsize=1024)
def _quantile(seeds: int, alpha: float) -> float:
    return float(stdtrit(seeds - 1, 1 - alpha / 2))


def seeds_needed(seeds: int, is_decided: Callable[[int], bool]) -> int | None:
    """Return the first number of seeds, more than `seeds`, that would probably decide.

    Parameters
    ----------
    seeds
        Seeds so far.
    is_decided
        Whether so many seeds would decide, were mean and deviation to stay as they are. What is
        decided stays so with more of them, since each interval then lies within the one before.

    Returns
    -------
    int or None
        None where more than 200 would be needed.
    """
    numbers = range(seeds + 1, MOST_SEEDS + 1)
    place = bisect_left(numbers, True, key=is_decided)
    return numbers[place] if place < len(numbers) else None


def most_seeds(needs: Sequence[int | None]) -> int | None:
    """Return how many seeds would decide several things; None where that is not known of all.

    Parameters
    ----------
    needs
        How many would decide each of them; None where that is not known.
    """
    known = [need for need in needs if need is not None]
    return max(known) if len(known) == len(needs) and known else None


@dataclass(frozen=True)
class UnpairedEstimate(Estimate):
    """A difference of two means with Welch's t interval: other seeds on either side.

    The degrees of freedom are Satterthwaite's (Welch 1947, "The generalization of 'Student's'
    problem when several different population variances are involved"), so that the deviations of
    the two sides may differ. Where some seeds stand on both sides and go together, as paired runs
    do, the interval is wider than it need be.

    Parameters
    ----------
    mean
        Difference of the means, after less before.
    low, high
        Ends of the two-sided interval at level ``1 - alpha``.
    deviation
        Standard deviation of the difference of one seed from either side.
    seeds
        The smaller of the two numbers of seeds.
    alpha
        One minus the interval's level.
    shared
        Standard error of what all seeds have in common.
    deviations
        Standard deviations over seeds, after and before.
    counts
        Numbers of seeds, after and before.
    """

    deviations: tuple[float, float] = (0.0, 0.0)
    counts: tuple[int, int] = (2, 2)

    @classmethod
    def from_two_samples(
        cls, after: Floats, before: Floats, alpha: float, shared: float = 0.0
    ) -> UnpairedEstimate:
        """Return the difference of means and its interval.

        Parameters
        ----------
        after, before
            Independent samples, one per seed, shapes (seeds after,) and (seeds before,).
        alpha
            One minus the interval's level.
        shared
            Standard error of what all seeds have in common.

        Raises
        ------
        SettingsError
            If either side has fewer than two samples, which have no deviation.
        """
        counts = (len(after), len(before))
        if min(counts) < 2:
            raise SettingsError(
                f"{counts[0]} and {counts[1]} seeds: an unpaired interval needs at least 2 of each"
            )
        deviations = (float(np.std(after, ddof=1)), float(np.std(before, ddof=1)))
        mean = float(np.mean(after) - np.mean(before))
        return cls._between(mean, deviations, counts, alpha, shared)

    @classmethod
    def _between(
        cls,
        mean: float,
        deviations: tuple[float, float],
        counts: tuple[int, int],
        alpha: float,
        shared: float,
    ) -> UnpairedEstimate:
        shares = [deviation**2 / n for deviation, n in zip(deviations, counts, strict=True)]
        quantile = float(stdtrit(degrees_of_freedom(deviations, counts), 1 - alpha / 2))
        half = quantile * math.sqrt(sum(shares) + shared**2)
        return cls(
            mean,
            mean - half,
            mean + half,
            math.hypot(*deviations),
            min(counts),
            alpha,
            shared,
            deviations,
            counts,
        )

    def with_seeds(self, seeds: int) -> UnpairedEstimate:
        """Return what it would be with so many seeds on the smaller side, and more in proportion.

        So that the degrees of freedom grow with the seeds, and each interval lies within the one
        before.
        """
        after, before = (-(-count * seeds // self.seeds) for count in self.counts)
        counts = (after, before)
        return self._between(self.mean, self.deviations, counts, self.alpha, self.shared)

    def with_alpha(self, alpha: float) -> UnpairedEstimate:
        """Return the estimate with an interval of another level."""
        return self._between(self.mean, self.deviations, self.counts, alpha, self.shared)


def degrees_of_freedom(deviations: tuple[float, float], counts: tuple[int, int]) -> float:
    """Return Satterthwaite's degrees of freedom for the difference of two means."""
    shares = [deviation**2 / n for deviation, n in zip(deviations, counts, strict=True)]
    total = sum(shares)
    if total == 0:
        return float(sum(counts) - 2)
    parts = [(share / total) ** 2 / (n - 1) for share, n in zip(shares, counts, strict=True)]
    return 1 / sum(parts)
