"""Whether a measure's value at fixed n stays within tolerance under a perturbation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fragility.checks.check import Check
from pytest_fragility.checks.comparing import compare_change, seeds_to_compare
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.checks.verdicts import (
    BROKEN,
    INCONCLUSIVE,
    KEPT,
    Admissibility,
    SlopeEvidence,
    Verdict,
)

if TYPE_CHECKING:
    from pytest_fragility.curves import PairedCurves


def judge_spread(
    check: Check, paired: PairedCurves, tolerances: Tolerances, admissibility: Admissibility
) -> Verdict:
    """Return whether the level moved by no more than test error's did, plus the tolerance.

    Parameters
    ----------
    check
        Of a perturbation.
    paired
        Curves before and after it.
    tolerances
        How far the level may move, in decades.
    admissibility
        The perturbation's.
    """
    tolerance, change = tolerances.spread, paired.level_change
    evidence = SlopeEvidence(
        paired.before.level,
        paired.error_before.level,
        perturbed=paired.after.level,
        change=change.own,
        beyond=change.beyond,
        allowed=(-tolerance, tolerance),
        error_perturbed=paired.error_after.level,
        error_change=admissibility.level_change,
    )
    status = compare_change(change, tolerance)
    needed = seeds_to_compare(change, [], tolerance) if status == INCONCLUSIVE else None
    return Verdict(check, status, _REASONS[status], evidence, admissibility, needed)


_REASONS = {
    KEPT: "the value at fixed n stays within tolerance",
    BROKEN: "the value at fixed n moves too far",
    INCONCLUSIVE: "the value at fixed n: the interval straddles the tolerance",
}
