"""Verdicts as assertions: what the generated checks and hand-written tests both use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pytest_fragility.checks.planning import (
    COMPLEXITY,
    COMPLEXITY_KINDS,
    EXPONENT,
    SPREAD,
    TREND,
    Check,
    nearest,
)
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.checks.verdicts import BROKEN, KEPT, Verdict
from pytest_fragility.curves import LearningCurves
from pytest_fragility.errors import CheckBroken, CheckInconclusive, SettingsError
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.report.messages import failure_message
from pytest_fragility.report.records import check_record
from pytest_fragility.settings import AuditSettings

Listener = Callable[[LearningCurves, Verdict], None]


def assert_kept(
    check: Check,
    curves: LearningCurves,
    tolerances: Tolerances,
    *,
    rerun: str | None = None,
    on_verdict: Listener | None = None,
) -> Verdict:
    """Judge one check, and raise unless it is kept.

    Parameters
    ----------
    check
        What is asserted.
    curves
        Learning curves under the baseline and the check's perturbation.
    tolerances
        How far the measure may move.
    rerun
        The command that the message offers to rerun the check.
    on_verdict
        Told the verdict before anything is raised.

    Raises
    ------
    CheckBroken
        If the check is broken.
    CheckInconclusive
        If the seeds do not decide, or the perturbation is not admissible.
    """
    __tracebackhide__ = True
    from pytest_fragility.checks.judging import judge

    verdict = judge(check, curves, tolerances)
    if on_verdict:
        on_verdict(curves, verdict)
    if verdict.status == KEPT:
        return verdict
    failure = CheckBroken if verdict.status == BROKEN else CheckInconclusive
    raise failure(failure_message(check_record(curves, verdict), rerun), verdict)


def _require_recipe(curves: LearningCurves, name: str) -> None:
    if name not in curves.recipes:
        raise SettingsError(
            f"no perturbation {name!r}{nearest(name, curves.recipes)}; these curves have "
            f"{', '.join(curves.recipes)}"
        )


def _require_perturbation(curves: LearningCurves, name: str) -> None:
    _require_recipe(curves, name)
    if name == BASELINE:
        raise SettingsError("the baseline cannot be compared with itself; name a perturbation")


class FragilityAsserts:
    """The session's settings, and the asserts that the checks use.

    Parameters
    ----------
    settings
        Of the session; each assert can be told another tolerance.
    """

    def __init__(self, settings: AuditSettings) -> None:
        self.settings = settings
        self.tolerances = settings.tolerances

    def assert_trend_kept(
        self, curves: LearningCurves, perturbation: str = BASELINE, *, trend: str | None = None
    ) -> Verdict:
        """Assert that the slope keeps its sign under a perturbation.

        For the baseline: that it has the sign of test error's, or the one that `trend` names.

        Raises
        ------
        AuditFailure
            If it does not, or the seeds do not decide.
        """
        __tracebackhide__ = True
        tolerances = self.tolerances if trend is None else replace(self.tolerances, trend=trend)
        _require_recipe(curves, perturbation)
        return assert_kept(Check(TREND, perturbation), curves, tolerances)

    def assert_exponent_kept(
        self, curves: LearningCurves, perturbation: str, *, tolerance: float | None = None
    ) -> Verdict:
        """Assert that the exponent stays within tolerance of the baseline's.

        Raises
        ------
        AuditFailure
            If it does not, or the seeds do not decide.
        """
        __tracebackhide__ = True
        return self._assert_change(EXPONENT, curves, perturbation, tolerance)

    def assert_spread_kept(
        self, curves: LearningCurves, perturbation: str, *, tolerance: float | None = None
    ) -> Verdict:
        """Assert that the value at fixed n stays within tolerance, in decades.

        Raises
        ------
        AuditFailure
            If it does not, or the seeds do not decide.
        """
        __tracebackhide__ = True
        return self._assert_change(SPREAD, curves, perturbation, tolerance)

    def assert_complexity_kept(
        self,
        curves: LearningCurves,
        quantity: str = "exponent",
        *,
        least_sensitivity: float | None = None,
    ) -> Verdict:
        """Assert that exponents, or levels, follow test error's over the ladder.

        Parameters
        ----------
        curves
            With a ladder.
        quantity
            ``exponent`` or ``level``.
        least_sensitivity
            In place of the session's.

        Raises
        ------
        AuditFailure
            If they do not, or the seeds do not decide.
        """
        __tracebackhide__ = True
        kind = f"{COMPLEXITY}-{quantity}"
        if kind not in COMPLEXITY_KINDS:
            raise SettingsError(f"quantity {quantity!r}: expected exponent or level")
        tolerances = self.tolerances
        if least_sensitivity is not None:
            tolerances = replace(tolerances, sensitivity=least_sensitivity)
        return assert_kept(Check(kind), curves, tolerances)

    def _assert_change(
        self, kind: str, curves: LearningCurves, perturbation: str, tolerance: float | None
    ) -> Verdict:
        __tracebackhide__ = True
        _require_perturbation(curves, perturbation)
        tolerances = self.tolerances
        if tolerance is not None:
            tolerances = replace(tolerances, exponent=tolerance, spread=tolerance)
        return assert_kept(Check(kind, perturbation), curves, tolerances)
