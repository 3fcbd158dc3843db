"""Verdicts on learning curves that are no power law, and what is said of them."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_fragility.checks.check import Check
from pytest_fragility.checks.records import check_record
from pytest_fragility.checks.registry import judge
from pytest_fragility.checks.stopping import StoppingEvidence
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.checks.verdicts import (
    BROKEN,
    INCONCLUSIVE,
    KEPT,
    SlopeEvidence,
    Verdict,
)
from pytest_fragility.curves import LearningCurves
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.report.failure_message import failure_message
from pytest_fragility.report.verdict_table import audit_table
from tests.simulated_audits import PERTURBATION, SIZES, Scatter, Truth, simulate

QUIET = Scatter(deviation=0.003, error_deviation=0.003)


def curves_of(truth: Truth) -> LearningCurves:
    """Return the curves of an audit with hardly any noise."""
    return next(simulate(truth, QUIET, audits=1))


def judged(truth: Truth, kind: str = "exponent") -> Verdict:
    """Return the verdict on the perturbation."""
    return judge(Check(kind, PERTURBATION), curves_of(truth), Tolerances())


def evidence_of(verdict: Verdict) -> SlopeEvidence:
    """Return the numbers."""
    assert isinstance(verdict.evidence, SlopeEvidence)
    return verdict.evidence


def test_a_power_law_has_no_parts() -> None:
    """One exponent says all."""
    verdict = judged(Truth(slope_change=0.3))
    assert evidence_of(verdict).bent == () and evidence_of(verdict).parts == ()
    assert verdict.reason == "the exponent moves too far"


@pytest.mark.parametrize(
    ("truth", "bent", "status"),
    [
        (Truth(bend=0.5), ("baseline", "perturbed"), KEPT),
        (Truth(bend_change=0.5), ("perturbed", "change"), BROKEN),
        (Truth(bend=0.5, bend_change=-0.5), ("baseline", "change"), BROKEN),
        (Truth(bend=0.5, slope_change=0.3), ("baseline", "perturbed"), BROKEN),
        (Truth(bend=0.5, slope_change=0.1), ("baseline", "perturbed"), INCONCLUSIVE),
    ],
)
def test_the_verdict_says_which_curve_is_bent(
    truth: Truth, bent: tuple[str, ...], status: str
) -> None:
    """And rests on the slope over each part, instead of on one number for all."""
    verdict = judged(truth)
    assert (evidence_of(verdict).bent, verdict.status) == (bent, status)
    assert verdict.reason.startswith("no power law, so that there is no one exponent")


def test_parts_have_their_own_slopes() -> None:
    """Those that NumPy fits there, with the change beyond test error's."""
    curves = curves_of(Truth(bend=0.5, slope_change=0.05))
    evidence = evidence_of(judge(Check("exponent", PERTURBATION), curves, Tolerances()))
    assert [part.sizes for part in evidence.parts] == [(32, 256), (128, 1024)]
    for part, places in zip(evidence.parts, (slice(0, 4), slice(2, 6)), strict=True):
        x = np.log(SIZES)[places]

        def slopes(values: np.ndarray, x: np.ndarray = x, at: slice = places) -> np.ndarray:
            found: np.ndarray = np.polyfit(x, np.log(values[at]), 1)[0]
            return found

        before, after = (slopes(curves.measure[name].values) for name in (BASELINE, PERTURBATION))
        error = slopes(curves.error[PERTURBATION].values) - slopes(curves.error[BASELINE].values)
        assert part.baseline.mean == pytest.approx(before.mean())
        assert part.perturbed is not None and part.change is not None and part.beyond is not None
        assert part.perturbed.mean == pytest.approx(after.mean())
        assert part.change.mean == pytest.approx((after - before).mean())
        assert part.beyond.mean == pytest.approx((after - before - error).mean())


def test_a_checkpoint_is_judged_by_parts_too() -> None:
    """Its exponent is."""
    verdict = judged(Truth(bend_change=0.5), "stopping")
    assert isinstance(verdict.evidence, StoppingEvidence)
    assert (verdict.status, verdict.evidence.trend, verdict.evidence.exponent) == (
        BROKEN,
        KEPT,
        BROKEN,
    )
    assert verdict.evidence.exponent_evidence.bent == ("perturbed", "change")


def test_the_baseline_says_so_too() -> None:
    """Its trend is that of the average, and is marked."""
    curves = curves_of(Truth(bend=0.5))
    verdict = judge(Check("trend", BASELINE), curves, Tolerances())
    assert (verdict.status, evidence_of(verdict).bent) == (KEPT, ("baseline",))
    text = audit_table([check_record(curves, verdict)])
    (row,) = [line for line in text.splitlines() if line.startswith("  baseline ")]
    assert "]~" in row
    assert "  ~ no power law: the slope is an average over all n, and no exponent" in text


def test_a_table_of_power_laws_explains_no_mark() -> None:
    """There is none."""
    curves = curves_of(Truth())
    checks = [Check("trend", BASELINE), Check("exponent", PERTURBATION)]
    text = audit_table([check_record(curves, judge(each, curves, Tolerances())) for each in checks])
    assert "~ no power law" not in text
    assert "]~" not in text


def test_the_message_shows_slopes_over_parts() -> None:
    """With what each moved, beyond test error too; within 80 columns."""
    curves = curves_of(Truth(bend=0.5, bend_change=0.6))
    verdict = judge(Check("exponent", PERTURBATION), curves, Tolerances())
    text = failure_message(check_record(curves, verdict))
    assert max(map(len, text.splitlines())) <= 80
    flat = " ".join(text.split())
    assert "No power law: the baseline's curve, adam's, their ratio. Over parts, value ~" in flat
    parts = [line for line in text.splitlines() if line.startswith("    n = ")]
    assert [line.split(":")[0].strip() for line in parts] == ["n = 32..256", "n = 128..1024"]
    assert text.count("(beyond test error's: ") == 2


def test_a_linear_scale_has_no_power_laws() -> None:
    """Slopes there are no exponents, and nothing is marked."""
    curves = curves_of(Truth(bend=0.8))
    linear = {
        name: type(curve)(curve.name, name, curve.sizes, curve.values, curve.alpha, "linear")
        for name, curve in curves.measure.items()
    }
    plain = type(curves)(**{**vars(curves), "measure": linear, "scale": "linear"})
    assert evidence_of(judge(Check("trend", BASELINE), plain, Tolerances())).bent == ()
