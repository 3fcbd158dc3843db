"""Learning curves over a ladder of tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from pytest_fragility.curves.intervals import Estimate
from pytest_fragility.curves.learning_curve import LearningCurve

if TYPE_CHECKING:
    from pytest_fragility.curves.intervals import Floats


@dataclass(frozen=True, eq=False, kw_only=True)
class LadderCurves:
    """A measure's curves for every task of a ladder, test error's beside them.

    Parameters
    ----------
    name
        The ladder's.
    measure
        The measure's curves by task name; each is computed when it is first asked for.
    error
        Test error's curves by task name.
    unfinished
        By task name: in words, what kept runs from their stopping target.
    left_out
        Sentences on what is missing, or known too little of.
    """

    name: str
    measure: Mapping[str, LearningCurve]
    error: dict[str, LearningCurve]
    unfinished: dict[str, str]
    left_out: tuple[str, ...] = ()

    @property
    def alpha(self) -> float:
        """Level of the intervals is ``1 - alpha``."""
        return next(iter(self.error.values())).alpha

    @property
    def largest_size(self) -> int:
        """The largest training set size."""
        return next(iter(self.error.values())).sizes[-1]

    @cached_property
    def exponents(self) -> tuple[Floats, Floats]:
        """Exponents of measure and test error, each of shape (tasks, seeds)."""
        return self._of_both(lambda curve: -curve.slopes)

    @cached_property
    def levels(self) -> tuple[Floats, Floats]:
        """Levels of measure and test error, in decades, each of shape (tasks, seeds)."""
        return self._of_both(lambda curve: curve.levels)

    @cached_property
    def shared_errors(self) -> tuple[Floats, Floats]:
        """Standard errors of test error's exponents and levels that a finite test set gives.

        Shape (tasks,) each.
        """
        slopes = np.array([curve.slope.shared for curve in self.error.values()])
        return slopes, np.array([curve.level.shared for curve in self.error.values()])

    @cached_property
    def rank_agreement(self) -> Estimate:
        """Kendall's tau of measure and test error over the tasks, at the largest n, over seeds.

        Pairs of tasks in the same order less pairs in opposite order, over all pairs; ties count
        for neither.
        """
        measure, error = self._of_both(lambda curve: curve.values[-1])
        agreements = [
            np.sign(measure[one] - measure[other]) * np.sign(error[one] - error[other])
            for one, other in combinations(range(len(error)), 2)
        ]
        return Estimate.from_samples(np.mean(agreements, axis=0), self.alpha)

    def _of_both(self, quantity: Callable[[LearningCurve], Floats]) -> tuple[Floats, Floats]:
        """Return a quantity of each task's curve, of the measure and of test error."""
        measure = np.array([quantity(self.measure[task]) for task in self.error])
        return measure, np.array([quantity(curve) for curve in self.error.values()])
