"""Verdicts as assertions."""

from __future__ import annotations

import pytest

from pytest_fragility.auditing.assertions import FragilityAsserts
from pytest_fragility.auditing.finding import assert_kept, require_kept
from pytest_fragility.checks.check import Check
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.checks.verdicts import BROKEN, INCONCLUSIVE, KEPT, Verdict
from pytest_fragility.curves import LearningCurves
from pytest_fragility.errors import AuditFailure, CheckBroken, CheckInconclusive, SettingsError
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.settings import resolve_settings
from tests.checks.test_judging import ERROR, WIDE, Lines, lines, make_curves

STEADY = lines(-0.2)


def curves_of(
    after: Lines, *, before: Lines = STEADY, error: Lines | None = None
) -> LearningCurves:
    """Return the curves of a measure that Adam changes."""
    errors = {} if error is None else {"adam": error}
    return make_curves({BASELINE: before, "adam": after}, errors)


def asserts(**options: float | str) -> FragilityAsserts:
    """Return the asserts of a session with these settings."""
    return FragilityAsserts(resolve_settings(options))


def test_what_is_kept_is_returned() -> None:
    """The verdict carries its evidence."""
    verdict = assert_kept(Check("exponent", "adam"), curves_of(STEADY.moved()), Tolerances())
    assert (verdict.status, verdict.check.id) == (KEPT, "exponent-adam")
    assert verdict.evidence is not None


@pytest.mark.parametrize(
    ("curves", "failure", "status"),
    [
        (curves_of(lines(0.2)), CheckBroken, BROKEN),
        (curves_of(lines(0.2, deviation=WIDE)), CheckInconclusive, INCONCLUSIVE),
        (curves_of(lines(0.2), error=ERROR.moved(slope=0.5)), CheckInconclusive, INCONCLUSIVE),
    ],
    ids=["broken", "inconclusive", "inadmissible"],
)
def test_what_is_not_kept_is_raised(
    curves: LearningCurves, failure: type[AuditFailure], status: str
) -> None:
    """As an assertion that carries the verdict, and reads as the report's message does."""
    with pytest.raises(AssertionError) as error:
        assert_kept(Check("trend", "adam"), curves, Tolerances())
    assert type(error.value) is failure
    assert isinstance(error.value, AuditFailure)
    verdict = error.value.verdict
    assert isinstance(verdict, Verdict)
    assert (verdict.status, verdict.check) == (status, Check("trend", "adam"))
    assert str(error.value).startswith("ruler: trend ")
    with pytest.raises(failure, match=r"Rerun: pytest -k this$"):
        require_kept(verdict, curves, rerun="pytest -k this")


def test_failures_are_told_apart() -> None:
    """What is broken is not inconclusive, and the other way round."""
    assert not issubclass(CheckBroken, CheckInconclusive)
    assert not issubclass(CheckInconclusive, CheckBroken)


def test_each_assert_makes_its_own_check() -> None:
    """Trend, exponent and spread."""
    curves, session = curves_of(STEADY.moved()), asserts()
    assert session.assert_trend_kept(curves).check == Check("trend", BASELINE)
    assert session.assert_trend_kept(curves, "adam").check == Check("trend", "adam")
    assert session.assert_exponent_kept(curves, "adam").check == Check("exponent", "adam")
    assert session.assert_spread_kept(curves, "adam").check == Check("spread", "adam")


def test_asserts_use_the_sessions_tolerances() -> None:
    """Unless they are told others; zero is one of them."""
    curves = curves_of(STEADY.moved(slope=0.3, level=0.3))
    for session, name in ((asserts(), "default"), (asserts(exponent_tolerance=0.2), "session")):
        with pytest.raises(CheckBroken):
            session.assert_exponent_kept(curves, "adam")
        assert session.assert_exponent_kept(curves, "adam", tolerance=0.5).status == KEPT, name
    wide = asserts(exponent_tolerance=0.5, spread_tolerance=0.5)
    assert wide.assert_exponent_kept(curves, "adam").status == KEPT
    assert wide.assert_spread_kept(curves, "adam").status == KEPT
    for method in (wide.assert_exponent_kept, wide.assert_spread_kept):
        with pytest.raises(CheckBroken):
            method(curves, "adam", tolerance=0.0)
        assert method(curves, "adam").status == KEPT


def test_a_tolerance_is_for_its_own_assert() -> None:
    """A wide spread does not widen the exponent."""
    curves = curves_of(STEADY.moved(slope=0.3, level=0.3))
    session = asserts(spread_tolerance=0.5)
    assert session.assert_spread_kept(curves, "adam").status == KEPT
    with pytest.raises(CheckBroken):
        session.assert_exponent_kept(curves, "adam")


def test_the_margin_is_the_sessions() -> None:
    """A session with a wide margin takes larger changes for small ones."""
    curves = curves_of(STEADY.moved(), error=ERROR.moved(slope=0.3))
    with pytest.raises(CheckInconclusive, match="not a small change"):
        asserts().assert_exponent_kept(curves, "adam")
    assert asserts(error_margin=0.5).assert_exponent_kept(curves, "adam").status == KEPT


def test_a_trend_can_be_asked_for_by_name() -> None:
    """In the call or for the session; the call comes first."""
    curves = curves_of(STEADY, before=STEADY)
    assert asserts().assert_trend_kept(curves, trend="decreasing").status == KEPT
    with pytest.raises(CheckBroken, match="asked for by trend="):
        asserts().assert_trend_kept(curves, trend="increasing")
    with pytest.raises(CheckBroken):
        asserts(trend="increasing").assert_trend_kept(curves)
    assert asserts(trend="increasing").assert_trend_kept(curves, trend="error").status == KEPT


def test_asserts_refuse_what_cannot_be_asserted() -> None:
    """Unknown names, tolerances below zero, and the baseline against itself."""
    asserts = FragilityAsserts(resolve_settings())
    broken = make_curves({BASELINE: lines(-0.3), "adam": lines(0.3)})
    with pytest.raises(SettingsError, match="did you mean 'adam'"):
        asserts.assert_trend_kept(broken, "adma")
    with pytest.raises(SettingsError, match="compared with itself"):
        asserts.assert_exponent_kept(broken, BASELINE)
    with pytest.raises(SettingsError, match="zero or more"):
        asserts.assert_spread_kept(broken, "adam", tolerance=-1.0)
    with pytest.raises(SettingsError, match="trend='up'"):
        asserts.assert_trend_kept(broken, trend="up")
