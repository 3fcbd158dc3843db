"""Differences of two means over seeds that are not the same ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtrit

from pytest_fragility.curves.intervals import Estimate
from pytest_fragility.errors import SettingsError

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


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
    """Return Satterthwaite's degrees of freedom for the difference of two means.

    Parameters
    ----------
    deviations, counts
        Standard deviation and number of samples of either side, at least 2 each.
    """
    shares = [deviation**2 / n for deviation, n in zip(deviations, counts, strict=True)]
    total = sum(shares)
    if total == 0:
        return float(sum(counts) - 2)
    parts = [(share / total) ** 2 / (n - 1) for share, n in zip(shares, counts, strict=True)]
    return 1 / sum(parts)
