"""By how much a measure's curve moved under a perturbation, and by how much beyond test error's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_fragility.curves.estimate import Estimate

if TYPE_CHECKING:
    from pytest_fragility.curves.learning_curve import LearningCurve
    from pytest_fragility.curves.shape import Part


@dataclass(frozen=True)
class Change:
    """A paired change of slopes, or of levels in decades.

    Parameters
    ----------
    own
        By how much the measure moved.
    error
        By how much test error moved.
    beyond
        The difference of the two, taken seed by seed.
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
        own = self.after.slope_change(self.before)
        error = self.error_after.slope_change(self.error_before)
        moved = self.after.slopes - self.before.slopes
        error_moved = self.error_after.slopes - self.error_before.slopes
        beyond = Estimate.from_samples(moved - error_moved, own.alpha, error.shared)
        return Change(own, error, beyond)

    @property
    def level_change(self) -> Change:
        """By how much the levels moved, in decades."""
        own = self.after.level_change(self.before)
        error = self.error_after.level_change(self.error_before)
        moved = self.after.levels - self.before.levels
        error_moved = self.error_after.levels - self.error_before.levels
        beyond = Estimate.from_samples(moved - error_moved, own.alpha, error.shared)
        return Change(own, error, beyond)

    def part(self, part: Part) -> PairedCurves:
        """Return the curves over some neighbouring sizes."""
        return PairedCurves(
            *(
                curve.part(*part)
                for curve in (self.before, self.after, self.error_before, self.error_after)
            )
        )
