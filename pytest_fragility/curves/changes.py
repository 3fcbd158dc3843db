"""By how much a measure's curve moved under a perturbation, and by how much beyond test error's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_fragility.curves.estimate import Estimate
from pytest_fragility.curves.pairing import compared
from pytest_fragility.curves.unpaired import UnpairedEstimate

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytest_fragility.curves.learning_curve import LearningCurve
    from pytest_fragility.curves.shape import Part

    Floats = npt.NDArray[np.float64]


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

    The two sides may have other seeds; see `pytest_fragility.curves.pairing`.

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
        after, before = compared(self.after, self.before)
        error_after, error_before = compared(self.error_after, self.error_before)
        beyond = _beyond(
            (after.slopes, before.slopes),
            (error_after.slopes, error_before.slopes),
            alpha=own.alpha,
            shared=error.shared,
            is_paired=after.seeds == before.seeds,
        )
        return Change(own, error, beyond)

    @property
    def level_change(self) -> Change:
        """By how much the levels moved, in decades."""
        own = self.after.level_change(self.before)
        error = self.error_after.level_change(self.error_before)
        after, before = compared(self.after, self.before)
        error_after, error_before = compared(self.error_after, self.error_before)
        beyond = _beyond(
            (after.levels, before.levels),
            (error_after.levels, error_before.levels),
            alpha=own.alpha,
            shared=error.shared,
            is_paired=after.seeds == before.seeds,
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


def _beyond(
    own: tuple[Floats, Floats],
    of_error: tuple[Floats, Floats],
    *,
    alpha: float,
    shared: float,
    is_paired: bool,
) -> Estimate:
    """Return by how much a measure moved beyond what test error moved."""
    (after, before), (error_after, error_before) = own, of_error
    if is_paired:
        moved, error_moved = after - before, error_after - error_before
        return Estimate.from_samples(moved - error_moved, alpha, shared)
    return UnpairedEstimate.from_two_samples(
        after - error_after, before - error_before, alpha, shared
    )
