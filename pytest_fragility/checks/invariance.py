"""Whether a measure stays where it is when the function does: symmetries and equivalences."""

from __future__ import annotations

from pytest_fragility.checks.check import Check
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.checks.verdicts import (
    BROKEN,
    INCONCLUSIVE,
    KEPT,
    InvarianceEvidence,
    Verdict,
)
from pytest_fragility.curves import Estimate, Invariance


def judge_invariance(check: Check, invariance: Invariance | str, tolerances: Tolerances) -> Verdict:
    """Return whether a measure has the same value on networks with the same function.

    A measure without randomness of its own is `kept` or `broken` by its numbers alone; of one that
    draws random numbers, the interval over its draws decides.

    Parameters
    ----------
    check
        Of a symmetry or an equivalence.
    invariance
        The values before and after; a text that says why there are none, so that the check does
        not apply.
    tolerances
        Give how far a value may move.
    """
    if isinstance(invariance, str):
        return Verdict(check, INCONCLUSIVE, invariance, applies=False)
    changes, tolerance = invariance.changes, tolerances.invariance
    statuses = [_compare(change, tolerance) for change in changes]
    status = next(s for s in (BROKEN, INCONCLUSIVE, KEPT) if s in statuses)
    place = (
        invariance.largest
        if status == KEPT
        else max(
            (i for i, each in enumerate(statuses) if each == status),
            key=lambda i: abs(changes[i].mean),
        )
    )
    evidence = InvarianceEvidence(
        invariance.summary,
        invariance.networks[place],
        float(invariance.before[place].mean()),
        float(invariance.after[place].mean()),
        changes[place],
        tolerance,
        invariance.before.shape[1],
    )
    return Verdict(check, status, _REASONS[status], evidence)


def _compare(change: Estimate, tolerance: float) -> str:
    if -tolerance <= change.low and change.high <= tolerance:
        return KEPT
    if change.low > tolerance or change.high < -tolerance:
        return BROKEN
    return INCONCLUSIVE


_REASONS = {
    KEPT: "the measure does not notice",
    BROKEN: "the network has the same function, and the measure another value",
    INCONCLUSIVE: "the measure's own randomness hides whether it notices",
}
