"""Whether a learning curve keeps sign and exponent where the training stops elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
    Verdict,
)
from pytest_fragility.curves import PairedCurves, most_seeds


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
        most_seeds(open_needs) if status == INCONCLUSIVE else None,
    )


@dataclass(frozen=True)
class StoppingEvidence:
    """What a verdict on a checkpoint rests on: the checks of the sign and of the exponent.

    Parameters
    ----------
    trend, exponent
        Their verdicts.
    exponent_evidence
        The exponent's numbers, those of the slopes among them.
    """

    trend: str
    exponent: str
    exponent_evidence: SlopeEvidence

    def to_dict(self) -> dict[str, Any]:
        """Return the evidence as plain JSON types."""
        return {
            "trend": self.trend,
            "exponent": self.exponent,
            **self.exponent_evidence.to_dict(),
        }
