"""What became of one check: its verdict, or the error that kept it from being judged.

A verdict that is not `kept` can be raised as a failed assertion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_fragility.checks.records import check_record
from pytest_fragility.checks.registry import judge, kind_of
from pytest_fragility.checks.verdicts import KEPT
from pytest_fragility.errors import FragilityError, MeasureError
from pytest_fragility.report.failure_message import failure_message

if TYPE_CHECKING:
    from types import TracebackType

    from pytest_fragility.checks.check import Check
    from pytest_fragility.checks.tolerances import Tolerances
    from pytest_fragility.checks.verdicts import Verdict
    from pytest_fragility.curves import LearningCurves

# fewer have no interval
FEWEST_SEEDS = 2


@dataclass(frozen=True)
class Failure:
    """An error that is raised again for each test that it concerns."""

    error: Exception
    traceback: TracebackType | None

    def again(self) -> Exception:
        """Return the error as it was first raised: each further raising would make it longer."""
        return self.error.with_traceback(self.traceback)


@dataclass(frozen=True, eq=False)
class Finding:
    """A verdict with the curves that it rests on, or what kept the check from being judged.

    Parameters
    ----------
    check
        What was asked.
    curves
        Those on which it was judged, or was to be.
    verdict
        None where there is an error.
    failure
        The error.
    """

    check: Check
    curves: LearningCurves
    verdict: Verdict | None = None
    failure: Failure | None = None

    @classmethod
    def of(cls, check: Check, curves: LearningCurves, tolerances: Tolerances) -> Finding:
        """Return what judging a check finds, whatever keeps it from a verdict."""
        __tracebackhide__ = True
        try:
            return cls(check, curves, judge(check, curves, tolerances))
        except MeasureError as error:
            told = _told_of_the_rest(error, check, curves, tolerances)
            return cls.without_verdict(check, curves, told.with_traceback(error.__traceback__))
        except FragilityError as error:
            return cls.without_verdict(check, curves, error)

    @classmethod
    def without_verdict(
        cls, check: Check, curves: LearningCurves, error: FragilityError
    ) -> Finding:
        """Return what an error has left of a check."""
        return cls(check, curves, failure=Failure(error, error.__traceback__))

    @property
    def error(self) -> FragilityError | None:
        """What kept the check from being judged."""
        error = self.failure and self.failure.error
        assert error is None or isinstance(error, FragilityError)
        return error

    def get(self) -> tuple[Verdict, LearningCurves]:
        """Return verdict and curves.

        Raises
        ------
        FragilityError
            Where the check could not be judged.
        """
        __tracebackhide__ = True
        if self.failure:
            raise self.failure.again()
        assert self.verdict
        return self.verdict, self.curves


def _told_of_the_rest(
    error: MeasureError, check: Check, curves: LearningCurves, tolerances: Tolerances
) -> MeasureError:
    """Return the error of a measure, told what the check finds over the other seeds.

    It stays an error: nothing passes on fewer networks than were asked for.
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
    told = MeasureError(text, seeds=error.seeds)
    told.__cause__ = error.__cause__
    return told


def assert_kept(check: Check, curves: LearningCurves, tolerances: Tolerances) -> Verdict:
    """Judge one check, and raise unless it is kept.

    Raises
    ------
    AuditFailure
        If the check is broken, the seeds do not decide, or the perturbation is not admissible.
    MeasureError
        If the measure fails on some network; it says what the check finds over the other seeds.
    """
    __tracebackhide__ = True
    verdict, _ = Finding.of(check, curves, tolerances).get()
    require_kept(verdict, curves)
    return verdict


def require_kept(verdict: Verdict, curves: LearningCurves, *, rerun: str | None = None) -> None:
    """Raise unless a verdict is `kept`.

    Parameters
    ----------
    verdict
        Of a check.
    curves
        Learning curves that it rests on.
    rerun
        The command that the message offers to rerun the check.

    Raises
    ------
    AuditFailure
        If it is not.
    """
    __tracebackhide__ = True
    if verdict.status == KEPT:
        return
    failure = kind_of(verdict.check).error(verdict)
    raise failure(failure_message(check_record(curves, verdict), rerun), verdict)
