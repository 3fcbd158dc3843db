"""Whether a measure follows test error over a ladder of tasks of different complexity."""

from __future__ import annotations

from pytest_fragility.checks.check import COMPLEXITY_EXPONENT, Check
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.checks.verdicts import (
    BROKEN,
    INCONCLUSIVE,
    KEPT,
    LadderEvidence,
    RungEvidence,
    Verdict,
)
from pytest_fragility.curves import (
    ROUNDING,
    Estimate,
    LadderCurves,
    LearningCurve,
    Sensitivity,
    bent_parts,
    pairwise_differences,
    seeds_needed,
)
from pytest_fragility.errors import SettingsError


def judge_complexity(check: Check, ladder: LadderCurves | None, tolerances: Tolerances) -> Verdict:
    """Return whether the measure's exponents, or its levels, follow test error's.

    Its sensitivity must be at least what the tolerance says, and at most the inverse of that, with
    its whole interval. Test error's own values must differ with certainty between some two tasks:
    a ladder without rungs convicts nobody.

    Parameters
    ----------
    check
        Of exponents or of levels.
    ladder
        The curves.
    tolerances
        Give the least sensitivity.

    Raises
    ------
    SettingsError
        If there is no ladder.
    """
    if ladder is None:
        raise SettingsError(f"{check.id}: these curves have no ladder; ask for one with ladder=...")
    if ladder.unfinished:
        task, reason = next(iter(ladder.unfinished.items()))
        return Verdict(check, INCONCLUSIVE, f"task {task} cannot be judged: {reason}")
    is_exponent = check.kind == COMPLEXITY_EXPONENT
    what = "exponents" if is_exponent else "levels"
    measure, error = ladder.exponents if is_exponent else ladder.levels
    shared = ladder.shared_errors[0 if is_exponent else 1]
    sensitivity = Sensitivity.from_samples(measure, error, ladder.alpha, shared)
    allowed = (tolerances.sensitivity, 1 / tolerances.sensitivity)
    evidence = LadderEvidence(
        _rungs(ladder, tolerances.exponent, is_exponent=is_exponent),
        sensitivity,
        allowed,
        ladder.rank_agreement,
        ladder.largest_size,
    )
    differences = pairwise_differences(error, ladder.alpha, shared)
    status = _status(differences, sensitivity, allowed)
    if status == INCONCLUSIVE:
        reason = (
            f"the {what}' sensitivity: the interval straddles the tolerance"
            if _differ(differences)
            else f"test error's {what} do not differ with certainty over this ladder"
        )
        needed = seeds_needed(
            sensitivity.seeds,
            lambda seeds: (
                _status(
                    [difference.with_seeds(seeds) for difference in differences],
                    sensitivity.with_seeds(seeds),
                    allowed,
                )
                != INCONCLUSIVE
            ),
        )
        return Verdict(check, INCONCLUSIVE, reason, evidence, seeds_needed=needed)
    return Verdict(check, status, _reason(status, what, sensitivity, allowed), evidence)


def _rungs(
    ladder: LadderCurves, tolerance: float, *, is_exponent: bool
) -> tuple[RungEvidence, ...]:
    quantity = "slope" if is_exponent else "level"
    return tuple(
        RungEvidence(
            task,
            getattr(ladder.measure[task], quantity),
            getattr(error, quantity),
            measure_is_bent=is_exponent and _is_bent(ladder.measure[task], tolerance),
            error_is_bent=is_exponent and _is_bent(error, tolerance),
        )
        for task, error in ladder.error.items()
    )


def _is_bent(curve: LearningCurve, tolerance: float) -> bool:
    return bool(bent_parts(curve, tolerance=tolerance, alpha=curve.alpha))


def _differ(differences: list[Estimate]) -> bool:
    return any(difference.sign != 0 for difference in differences)


def _status(
    differences: list[Estimate], sensitivity: Sensitivity, allowed: tuple[float, float]
) -> str:
    least, most = allowed
    if not _differ(differences):
        return INCONCLUSIVE
    if least <= sensitivity.low and sensitivity.high <= most:
        return KEPT
    if sensitivity.high < least or sensitivity.low > most:
        return BROKEN
    return INCONCLUSIVE


def _reason(status: str, what: str, sensitivity: Sensitivity, allowed: tuple[float, float]) -> str:
    if status == KEPT:
        return f"the {what} follow test error's"
    if sensitivity.low > allowed[1]:
        return f"the {what} exaggerate test error's"
    if sensitivity.high < -ROUNDING:
        return f"the {what} move against test error's"
    return f"the {what} are blind to what changes test error's"
