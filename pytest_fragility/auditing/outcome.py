"""What became of a check: its verdict, or what kept it from being judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_fragility.checks.check import (
    Check,
)
from pytest_fragility.checks.registry import judge
from pytest_fragility.checks.verdicts import Verdict
from pytest_fragility.curves import LearningCurves
from pytest_fragility.errors import FragilityError, MeasureError

if TYPE_CHECKING:
    from pytest_fragility.checks.check import Check
    from pytest_fragility.checks.tolerances import Tolerances

    pass


# fewer have no interval
FEWEST_SEEDS = 2


def told_of_the_rest(
    error: MeasureError, check: Check, curves: LearningCurves, tolerances: Tolerances
) -> MeasureError:
    """Return the error of a measure, told what the check finds over the other seeds.

    It stays an error: nothing passes on fewer networks than were asked for.

    Parameters
    ----------
    error
        What kept the check from being judged.
    check
        What is asserted.
    curves
        Those on which it was to be judged.
    tolerances
        How far the measure may move.
    """
    others = len(set(curves.seeds) - error.seeds)
    if not error.seeds or curves.without_seeds is None or others < FEWEST_SEEDS:
        return error

    try:
        verdict = judge(check, curves.without_seeds(error.seeds), tolerances)
    except FragilityError:
        # the measure fails on more networks, of which its own message says enough
        return error
    text = f"{error}. Over the {others} other seeds, {check.id} is {verdict.status}"
    return MeasureError(text, seeds=error.seeds).with_traceback(error.__traceback__)


@dataclass(frozen=True)
class Outcome:
    """A check's verdict, and the curves that it rests on; or what kept it from being judged."""

    verdict: Verdict | None = None
    curves: LearningCurves | None = None
    error: FragilityError | None = None

    def get(self) -> tuple[Verdict, LearningCurves]:
        """Return verdict and curves.

        Raises
        ------
        FragilityError
            Where the check could not be judged.
        """
        if self.error is not None:
            raise self.error
        assert self.verdict is not None
        assert self.curves is not None
        return self.verdict, self.curves

    @classmethod
    def of(
        cls,
        judge_it: Callable[[], Verdict],
        check: Check,
        curves: LearningCurves,
        tolerances: Tolerances,
    ) -> Outcome:
        """Return the outcome of judging one check, whatever keeps it from a verdict.

        Parameters
        ----------
        judge_it
            Returns the verdict.
        check
            What is asserted.
        curves
            Those on which it is judged.
        tolerances
            How far the measure may move.
        """
        try:
            return cls(judge_it(), curves)
        except MeasureError as error:
            return cls(None, curves, told_of_the_rest(error, check, curves, tolerances))
        except FragilityError as error:
            return cls(None, curves, error)
