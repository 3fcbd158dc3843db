"""Whether a learning curve keeps sign and exponent where the training stops elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fragility import curves as statistics
from pytest_fragility.checks.check import Check
from pytest_fragility.checks.exponent import judge_exponent
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.checks.trend import judge_trend
from pytest_fragility.checks.verdicts import (
    BROKEN,
    INCONCLUSIVE,
    KEPT,
    Admissibility,
    SlopeEvidence,
    StoppingEvidence,
    Verdict,
)

if TYPE_CHECKING:
    from pytest_fragility.curves import PairedCurves


def judge_stopping(
    check: Check, paired: PairedCurves, tolerances: Tolerances, admissibility: Admissibility
) -> Verdict:
    """Demand of a checkpoint what is demanded of a perturbation: sign and exponent.

    Parameters
    ----------
    check
        Of a checkpoint.
    paired
        Curves at the baseline's end and at the checkpoint.
    tolerances
        How far the exponent may move.
    admissibility
        The checkpoint's.
    """
    trend = judge_trend(check, paired, tolerances, admissibility)
    exponent = judge_exponent(check, paired, tolerances, admissibility)
    statuses = [trend.status, exponent.status]
    status = next(s for s in (BROKEN, INCONCLUSIVE, KEPT) if s in statuses)
    reasons = [each.reason for each in (trend, exponent) if each.status == status]
    open_needs = [each.seeds_needed for each in (trend, exponent) if each.status == INCONCLUSIVE]
    assert isinstance(exponent.evidence, SlopeEvidence)
    return Verdict(
        check,
        status,
        "; ".join(reasons),
        StoppingEvidence(trend.status, exponent.status, exponent.evidence),
        admissibility,
        statistics.most_seeds(open_needs) if status == INCONCLUSIVE else None,
    )
