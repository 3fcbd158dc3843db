"""The agreement of a measure with test error over the audited family, beside the verdicts."""

from __future__ import annotations

from pytest_fragility.checks.admissibility import judge_admissibility
from pytest_fragility.checks.check import Check
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.checks.verdicts import INADMISSIBLE, INCONCLUSIVE, KEPT, Verdict
from pytest_fragility.curves import LearningCurves
from pytest_fragility.perturbations import BASELINE


def report_agreement(check: Check, curves: LearningCurves, tolerances: Tolerances) -> Verdict:
    """Return rank correlations and sign errors; asserts nothing.

    Parameters
    ----------
    check
        Names the perturbations; inadmissible ones, of which nothing is audited, are left out.
    curves
        The measure's and test error's.
    tolerances
        Say what is admissible.
    """
    audited = [
        name
        for name in curves.judged(check.among)
        if judge_admissibility(curves, name, margin=tolerances.margin).status != INADMISSIBLE
    ]
    agreement = curves.agreement([BASELINE, *audited])
    if agreement is None:
        reason = "the recipes have no seed in common, over which they could be compared"
        return Verdict(check, INCONCLUSIVE, reason, applies=False)
    return Verdict(check, KEPT, "asserts nothing", agreement)
