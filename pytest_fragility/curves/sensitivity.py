"""How far a measure's values over several tasks follow test error's."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtrit

from pytest_fragility.curves.intervals import ROUNDING, Estimate

if TYPE_CHECKING:
    from pytest_fragility.curves.intervals import Floats


@dataclass(frozen=True)
class Sensitivity:
    """By how much a measure's exponents or levels change where test error's change by one.

    1 follows test error, 0 is blind, below zero is the wrong way round. For each seed let x_t be
    the mean over all *other* seeds of test error's value for task t, and c the vector of x_t -
    mean(x) at length one; then ``N = sum c_t measure_t`` and ``D = sum c_t error_t`` are that
    seed's contrasts, and the sensitivity is mean(N) / mean(D): up to noise, the slope of a
    regression of the measure's values on test error's over the tasks. Other seeds' errors, since a
    seed's own would make D too large by its noise. The interval is Fieller's (1954), which takes
    both as uncertain and uses that they come from the same seeds.

    Parameters
    ----------
    numerator, denominator
        Means of N and D over seeds.
    covariance
        Sample variances and covariance over seeds: of N, of N and D, of D.
    seeds
        Number of seeds.
    alpha
        One minus the interval's level.
    shared
        Variance of the mean of D that all seeds have in common, from finite test sets.
    """

    numerator: float
    denominator: float
    covariance: tuple[float, float, float]
    seeds: int
    alpha: float
    shared: float = 0.0

    @classmethod
    def from_samples(
        cls, measure: Floats, error: Floats, alpha: float, shared: Floats | None = None
    ) -> Sensitivity:
        """Return the sensitivity of values of shape (tasks, seeds), paired over seeds.

        Parameters
        ----------
        measure, error
            Exponents or levels.
        alpha
            One minus the interval's level.
        shared
            Standard errors of test error's values that all seeds have in common, shape (tasks,);
            tasks are taken as having test sets of their own.
        """
        contrasts = _contrasts_by_other_seeds(error)
        numerators, denominators = (
            (contrasts * measure).sum(axis=0),
            (contrasts * error).sum(axis=0),
        )
        (nn, nd), (_, dd) = np.cov(numerators, denominators)
        in_common = 0.0 if shared is None else float(((contrasts.T * shared) ** 2).sum(1).mean())
        return cls(
            float(numerators.mean()),
            float(denominators.mean()),
            (float(nn), float(nd), float(dd)),
            measure.shape[1],
            alpha,
            in_common,
        )

    @property
    def mean(self) -> float:
        """The ratio of the means; NaN where test error's values are all the same."""
        has_change = abs(self.denominator) > ROUNDING
        return self.numerator / self.denominator if has_change else math.nan

    @property
    def low(self) -> float:
        """The interval's lower end; minus infinity where test error's change is uncertain."""
        return self._interval[0]

    @property
    def high(self) -> float:
        """The interval's upper end; infinity where test error's change is uncertain."""
        return self._interval[1]

    @cached_property
    def _interval(self) -> tuple[float, float]:
        nn, nd, dd = self.covariance
        quantile = float(stdtrit(self.seeds - 1, 1 - self.alpha / 2))
        scale = quantile**2 / self.seeds
        # the ratios r for which the t interval of N - r D contains zero
        a = self.denominator**2 - scale * dd - quantile**2 * self.shared
        b = self.numerator * self.denominator - scale * nd
        c = self.numerator**2 - scale * nn
        if a <= ROUNDING**2:
            return -math.inf, math.inf
        half = math.sqrt(max(b * b - a * c, 0.0))
        return (b - half) / a, (b + half) / a

    def with_seeds(self, seeds: int) -> Sensitivity:
        """Return what it would be with more seeds of the same means and covariance."""
        return replace(self, seeds=seeds)

    def to_dict(self) -> dict[str, float | None]:
        """Return mean and interval as plain floats; None where there is no number."""
        values = {"mean": self.mean, "low": self.low, "high": self.high}
        return {name: v if math.isfinite(v) else None for name, v in values.items()}


def _contrasts_by_other_seeds(error: Floats) -> Floats:
    """Return one contrast of unit length per seed, from all other seeds: shape (tasks, seeds).

    Zero where the other seeds' errors are the same for all tasks.
    """
    centred = error - error.mean(axis=0)
    others = centred.sum(axis=1, keepdims=True) - centred
    lengths = np.linalg.norm(others, axis=0)
    contrasts: Floats = others / np.where(lengths > ROUNDING, lengths, np.inf)
    return contrasts


def pairwise_differences(
    values: Floats, alpha: float, shared: Floats | None = None
) -> list[Estimate]:
    """Return by how much any two tasks differ, paired over seeds.

    At a level that is shared among all pairs (Bonferroni): the chance that any interval lies on
    one side of zero where no two tasks differ is at most alpha.

    Parameters
    ----------
    values
        Shape (tasks, seeds).
    alpha
        For all pairs together.
    shared
        Standard errors that all seeds have in common, shape (tasks,).
    """
    errors = np.zeros(len(values)) if shared is None else shared
    pairs = list(combinations(range(len(values)), 2))
    return [
        Estimate.from_samples(
            values[one] - values[other],
            alpha / len(pairs),
            float(np.hypot(errors[one], errors[other])),
        )
        for one, other in pairs
    ]
