"""A learning curve: its power-law fit, one slope per seed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_fragility.curves.finite_test_set import (
    binomial_deviation,
    influences,
    shared_variance,
    unseen_variance,
)
from pytest_fragility.curves.fits import FITS, LEAST_SQUARES, slope_weights
from pytest_fragility.curves.intervals import Estimate, UnpairedEstimate
from pytest_fragility.errors import SettingsError

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_fragility.curves.intervals import Floats


FEWEST_PAIRS = 3
Seeds = tuple[int, ...]


def seeds_to_compare(after: Seeds, before: Seeds) -> tuple[Seeds, Seeds]:
    """Return which seeds of either side are compared: the same ones where they are paired."""
    common = tuple(seed for seed in after if seed in before)
    smaller = min(len(after), len(before))
    are_enough = len(common) >= FEWEST_PAIRS and 3 * len(common) >= 2 * smaller
    is_same = set(after) == set(before)
    return (common, common) if is_same or are_enough else (after, before)


def compared(after: LearningCurve, before: LearningCurve) -> tuple[LearningCurve, LearningCurve]:
    """Return two curves over the seeds that are compared; see `seeds_to_compare`."""
    if after.seeds == before.seeds:
        return after, before
    chosen = seeds_to_compare(after.seeds, before.seeds)
    return after.over_seeds(chosen[0]), before.over_seeds(chosen[1])


def difference(
    quantity: Callable[[LearningCurve], Floats],
    after: LearningCurve,
    before: LearningCurve,
    alpha: float,
    shared: float = 0.0,
) -> Estimate:
    """Return by how much a quantity of each seed differs: a paired t interval, or Welch's.

    The curves are over the seeds that are compared. `shared` is the standard error of what all
    seeds have in common.
    """
    if after.seeds == before.seeds:
        return Estimate.from_samples(quantity(after) - quantity(before), alpha, shared)
    return UnpairedEstimate.from_two_samples(quantity(after), quantity(before), alpha, shared)


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
    fit
        How lines are fitted: a name in `pytest_fragility.curves.fits.FITS`.
    mistaken
        Of test error: which test samples were mistaken, shape (sizes, seeds, test samples); from
        these its intervals get the noise of a finite test set. None for what has no test set, and
        where that is not known.
    seeds
        Which seeds the values are of, shape (seeds,); empty where all curves that this one is
        compared with have the same.
    test_size
        Of test error whose `mistaken` is not known: how many test samples it was counted on, from
        which its intervals get a bound on the noise of a finite test set. Zero where that is not
        known either: the intervals then hold for this test set alone.

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
    fit: str = LEAST_SQUARES
    mistaken: npt.NDArray[np.bool_] | None = None
    seeds: tuple[int, ...] = ()
    test_size: int = 0

    def __post_init__(self) -> None:
        if len(self.sizes) < 2:
            raise SettingsError(f"sizes {self.sizes}: a slope needs at least two sizes")

    @cached_property
    def log_sizes(self) -> Floats:
        """log(n), shape (sizes,)."""
        return np.log(np.asarray(self.sizes, dtype=np.float64))

    @cached_property
    def heights(self) -> Floats:
        """What is fitted: log or plain values, shape (sizes, seeds)."""
        return np.log(self.values) if self.scale == "log" else self.values

    @cached_property
    def lines(self) -> tuple[Floats, Floats]:
        """Slopes and heights at the middle of log(n), shape (seeds,) each."""
        return FITS[self.fit](self.log_sizes, self.heights)

    def slopes_over(self, first: int, last: int) -> Floats:
        """Return slopes between two places among the sizes, both included, shape (seeds,)."""
        chosen = slice(first, last + 1)
        return FITS[self.fit](self.log_sizes[chosen], self.heights[chosen])[0]

    @property
    def slopes(self) -> Floats:
        """Slopes of the fitted lines, one per seed, shape (seeds,)."""
        return self.lines[0]

    @property
    def levels(self) -> Floats:
        """Height of the fit at the geometric middle of the sizes, shape (seeds,).

        In decades (log10) on a log scale.
        """
        return self.lines[1] * self.unit

    @property
    def unit(self) -> float:
        """What a height of one is as a level: in decades on a log scale."""
        return 1 / math.log(10) if self.scale == "log" else 1.0

    @cached_property
    def slope(self) -> Estimate:
        """The slope over seeds; on a log scale the exponent is minus the slope."""
        return Estimate.from_samples(self.slopes, self.alpha, self._shared(self._slope_weights))

    @cached_property
    def level(self) -> Estimate:
        """The level over seeds."""
        return Estimate.from_samples(self.levels, self.alpha, self._shared(self._level_weights))

    @property
    def exponent(self) -> float:
        """Alpha in value ~ n^-alpha."""
        return -self.slope.mean

    @property
    def middle(self) -> float:
        """The curve's height at the geometric middle of the sizes, in the quantity's units."""
        return 10**self.level.mean if self.scale == "log" else self.level.mean

    def slope_change(self, baseline: LearningCurve) -> Estimate:
        """Return by how much the slope differs from the baseline's: paired where seeds allow it."""
        return self._change(baseline, lambda curve: curve.slopes, self._slope_weights)

    def level_change(self, baseline: LearningCurve) -> Estimate:
        """Return by how much the level differs from the baseline's, in decades, likewise."""
        return self._change(baseline, lambda curve: curve.levels, self._level_weights)

    def _change(
        self,
        baseline: LearningCurve,
        quantity: Callable[[LearningCurve], Floats],
        weights: Floats,
    ) -> Estimate:
        after, before = compared(self, baseline)
        return difference(quantity, after, before, self.alpha, after._shared(weights, before))

    def largest_slope_difference(self, baseline: LearningCurve) -> float:
        """Return the largest difference of slopes, seed by seed where the seeds are the same."""
        after, before = compared(self, baseline)
        if after.seeds == before.seeds:
            return float(abs(after.slopes - before.slopes).max())
        return float(abs(np.subtract.outer(after.slopes, before.slopes)).max())

    def part(self, first: int, last: int) -> LearningCurve:
        """Return the curve from one place among the sizes to another, both included."""
        chosen = slice(first, last + 1)
        return self._cut(chosen, sizes=self.sizes[chosen])

    def first_seeds(self, number: int) -> LearningCurve:
        """Return the curve over the first seeds alone; itself where it has no more of them."""
        return self._cut((slice(None), slice(number)), seeds=self.seeds[:number])

    def over_seeds(self, seeds: tuple[int, ...]) -> LearningCurve:
        """Return the curve over some of its seeds; itself over all of them."""
        if seeds == self.seeds:
            return self
        places = [self.seeds.index(seed) for seed in seeds]
        return self._cut((slice(None), places), seeds=seeds)

    def _cut(self, where: Any, **fields: Any) -> LearningCurve:
        """Return the curve with some of its values alone, by their places (sizes, seeds)."""
        mistaken = None if self.mistaken is None else self.mistaken[where]
        return replace(self, values=self.values[where], mistaken=mistaken, **fields)

    def on_this_test_set(self) -> LearningCurve:
        """Return the curve without the noise of a finite test set: what its networks did on it."""
        return replace(self, mistaken=None, test_size=0)

    @property
    def _slope_weights(self) -> Floats:
        return slope_weights(self.log_sizes)

    @property
    def _level_weights(self) -> Floats:
        return np.full(len(self.sizes), self.unit / len(self.sizes))

    def _shared(self, weights: Floats, baseline: LearningCurve | None = None) -> float:
        """Return the standard error that a finite test set gives to a sum of heights.

        With a baseline, to the difference of two: what both mistook cancels.
        """
        curves = [curve for curve in (self, baseline) if curve is not None]
        masks = [curve.mistaken for curve in curves if curve.mistaken is not None]
        if len(masks) < len(curves):
            sizes = [curve.test_size for curve in curves]
            errors = [curve.values for curve in curves]
            return binomial_deviation(errors, sizes, weights) if all(sizes) else 0.0
        influence = influences(masks[0], weights)
        if len(masks) > 1:
            influence = influence - influences(masks[1], weights)
        unseen = sum(unseen_variance(mask, weights) for mask in masks)
        return math.sqrt(shared_variance(influence) + unseen)
