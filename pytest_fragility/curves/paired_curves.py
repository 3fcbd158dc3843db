"""By how much a measure's curve moved under a perturbation, and by how much beyond test error's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_fragility.curves.intervals import Estimate, UnpairedEstimate
from pytest_fragility.curves.learning_curve import LearningCurve, compared

if TYPE_CHECKING:
    from pytest_fragility.curves.intervals import Floats
    from pytest_fragility.curves.power_law import Part


@dataclass(frozen=True)
class Change:
    """A change of slopes, or of levels in decades: paired over seeds, or unpaired.

    Parameters
    ----------
    own
        By how much the measure moved.
    error
        By how much test error moved.
    beyond
        The difference of the two, taken seed by seed; the measure and test error have the same.
    """

    own: Estimate
    error: Estimate
    beyond: Estimate

    def with_seeds(self, seeds: int) -> Change:
        """Return what it would be with more seeds of the same means and deviations."""
        return Change(*(each.with_seeds(seeds) for each in (self.own, self.error, self.beyond)))


@dataclass(frozen=True, eq=False)
class PairedCurves:
    """The curves of a measure and of test error, before and after a perturbation.

    The two sides may have other seeds; see `pytest_fragility.curves.learning_curve`.

    Parameters
    ----------
    before, after
        The measure's.
    error_before, error_after
        Test error's, of the same sizes and seeds.
    """

    before: LearningCurve
    after: LearningCurve
    error_before: LearningCurve
    error_after: LearningCurve

    @property
    def slope_change(self) -> Change:
        """By how much the slopes moved."""
        return self._change(LearningCurve.slope_change, lambda curve: curve.slopes)

    @property
    def level_change(self) -> Change:
        """By how much the levels moved, in decades."""
        return self._change(LearningCurve.level_change, lambda curve: curve.levels)

    def _change(
        self,
        change: Callable[[LearningCurve, LearningCurve], Estimate],
        quantity: Callable[[LearningCurve], Floats],
    ) -> Change:
        """Return the change of a quantity of each seed, beyond test error's own too."""
        own = change(self.after, self.before)
        error = change(self.error_after, self.error_before)
        curves = compared(self.after, self.before)
        after, before = map(quantity, curves)
        error_after, error_before = map(quantity, compared(self.error_after, self.error_before))
        if curves[0].seeds == curves[1].seeds:
            moved, error_moved = after - before, error_after - error_before
            beyond = Estimate.from_samples(moved - error_moved, own.alpha, error.shared)
        else:
            beyond = UnpairedEstimate.from_two_samples(
                after - error_after, before - error_before, own.alpha, error.shared
            )
        return Change(own, error, beyond)

    def part(self, part: Part) -> PairedCurves:
        """Return the curves over some neighbouring sizes."""
        return PairedCurves(
            *(
                curve.part(*part)
                for curve in (self.before, self.after, self.error_before, self.error_after)
            )
        )
