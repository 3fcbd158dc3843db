"""What is asserted of one task: trend, exponent, spread and stopping; three-way verdicts."""

from __future__ import annotations

from dataclasses import replace

from pytest_fragility.checks.admissibility import compare_with_margin, judge_admissibility
from pytest_fragility.checks.complexity import judge_complexity
from pytest_fragility.checks.invariance import judge_invariance
from pytest_fragility.checks.planning import (
    ADMISSIBLE_COUNT,
    COMPLEXITY_KINDS,
    EXPONENT,
    INVARIANCE_KINDS,
    SPREAD,
    STOPPING,
    TREND,
    Check,
)
from pytest_fragility.checks.tolerances import AS_ERROR, DECREASING, INCREASING, Tolerances
from pytest_fragility.checks.verdicts import (
    ADMISSIBLE,
    BROKEN,
    INADMISSIBLE,
    INCONCLUSIVE,
    KEPT,
    UNDECIDED,
    Admissibility,
    Evidence,
    StoppingEvidence,
    Verdict,
)
from pytest_fragility.curves import Estimate, Invariance, LearningCurves, seeds_needed
from pytest_fragility.errors import SettingsError
from pytest_fragility.perturbations import BASELINE


def judge(check: Check, curves: LearningCurves, tolerances: Tolerances) -> Verdict:
    """Return the verdict of one check.

    Parameters
    ----------
    check
        What is asserted.
    curves
        The measure's and test error's curves, under the baseline and the check's perturbation, or
        over the ladder.
    tolerances
        How far the measure may move.
    """
    if check.kind in COMPLEXITY_KINDS:
        return judge_complexity(check, curves.ladder, tolerances)
    if check.kind in INVARIANCE_KINDS:
        return judge_invariance(check, _invariance(check, curves), tolerances)
    if BASELINE in curves.unfinished:
        reason = f"the baseline itself cannot be judged: {curves.unfinished[BASELINE]}"
        return Verdict(check, INCONCLUSIVE, reason)
    if check.kind == ADMISSIBLE_COUNT:
        return _judge_admissible_count(check, curves, tolerances)
    if check.perturbation == BASELINE:
        return _judge_baseline_trend(check, curves, tolerances)
    admissibility = judge_admissibility(curves, check.perturbation, margin=tolerances.margin)
    if admissibility.status == INADMISSIBLE:
        reason = f"{check.perturbation} is not a small change here: {admissibility.reason}"
        return Verdict(check, INCONCLUSIVE, reason, admissibility=admissibility)
    verdict = _JUDGES[check.kind](check, curves, tolerances, admissibility)
    return _undecided(verdict, tolerances) if admissibility.status == UNDECIDED else verdict


def _invariance(check: Check, curves: LearningCurves) -> Invariance | str:
    if check.id not in curves.invariances:
        raise SettingsError(
            f"{check.id}: these curves have no networks with the same function; ask for "
            f"checks={check.kind!r}"
        )
    return curves.invariances[check.id]


def _undecided(verdict: Verdict, tolerances: Tolerances) -> Verdict:
    """Turn a verdict into an inconclusive one: the perturbation may not be admissible."""
    admissibility = verdict.admissibility
    assert admissibility is not None
    needs = [verdict.seeds_needed] if verdict.status == INCONCLUSIVE else []
    for change in (admissibility.slope_change, admissibility.level_change):
        if change is not None and compare_with_margin(change, tolerances.margin) == UNDECIDED:
            needs.append(_seeds_for_margin(change, tolerances.margin))
    return Verdict(
        verdict.check,
        INCONCLUSIVE,
        f"these seeds do not show whether {verdict.check.perturbation} is a small change: "
        f"{admissibility.reason}",
        verdict.evidence,
        admissibility,
        _most(needs),
    )


def _judge_baseline_trend(check: Check, curves: LearningCurves, tolerances: Tolerances) -> Verdict:
    slope, error = curves.measure[BASELINE].slope, curves.error[BASELINE].slope
    evidence = Evidence(slope, error)
    as_error = tolerances.trend == AS_ERROR
    wanted = error.sign if as_error else {INCREASING: 1, DECREASING: -1}[tolerances.trend]
    whose = "test error" if as_error else "asked for by trend="
    if wanted == 0:
        reason = "test error's own slope has no certain sign"
        return Verdict(check, INCONCLUSIVE, reason, evidence, seeds_needed=_seeds_for_sign(error))
    if slope.is_flat:
        return Verdict(check, BROKEN, "the measure does not change with n", evidence)
    if slope.sign == 0:
        reason = "the measure's slope has no certain sign"
        return Verdict(check, INCONCLUSIVE, reason, evidence, seeds_needed=_seeds_for_sign(slope))
    if slope.sign == wanted:
        return Verdict(check, KEPT, f"{_direction(slope.sign)}, as {whose}", evidence)
    reason = f"{_direction(slope.sign)} with n, against {_direction(wanted)} ({whose})"
    return Verdict(check, BROKEN, reason, evidence)


def _judge_trend(
    check: Check, curves: LearningCurves, _: Tolerances, admissibility: Admissibility
) -> Verdict:
    baseline, perturbed = curves.measure[BASELINE], curves.measure[check.perturbation]
    before, after = baseline.slope, perturbed.slope
    evidence = Evidence(
        before,
        curves.error[BASELINE].slope,
        perturbed=after,
        change=perturbed.slope_change(baseline),
        error_perturbed=curves.error[check.perturbation].slope,
        error_change=admissibility.slope_change,
    )
    if before.is_flat and after.is_flat:
        return Verdict(check, KEPT, "still flat", evidence, admissibility)
    for slope, where in ((before, "at the baseline"), (after, f"under {check.perturbation}")):
        if slope.sign == 0:
            reason = f"the measure's slope {where} has no certain sign"
            needed = _seeds_for_sign(slope)
            return Verdict(check, INCONCLUSIVE, reason, evidence, admissibility, needed)
    if before.sign == after.sign:
        reason = f"still {_direction(after.sign)}"
        return Verdict(check, KEPT, reason, evidence, admissibility)
    reason = f"the slope reverses: {_direction(before.sign)} becomes {_direction(after.sign)}"
    return Verdict(check, BROKEN, reason, evidence, admissibility)


def _judge_exponent(
    check: Check, curves: LearningCurves, tolerances: Tolerances, admissibility: Admissibility
) -> Verdict:
    baseline, perturbed = curves.measure[BASELINE], curves.measure[check.perturbation]
    error_baseline, error_perturbed = curves.error[BASELINE], curves.error[check.perturbation]
    evidence = Evidence(
        baseline.slope,
        error_baseline.slope,
        perturbed.slope,
        change=perturbed.slope_change(baseline),
        error_perturbed=error_perturbed.slope,
        error_change=admissibility.slope_change,
    )
    return _judge_change(check, "the exponent", evidence, admissibility, tolerances.exponent)


def _judge_spread(
    check: Check, curves: LearningCurves, tolerances: Tolerances, admissibility: Admissibility
) -> Verdict:
    baseline, perturbed = curves.measure[BASELINE], curves.measure[check.perturbation]
    error_baseline, error_perturbed = curves.error[BASELINE], curves.error[check.perturbation]
    evidence = Evidence(
        baseline.level,
        error_baseline.level,
        perturbed.level,
        change=perturbed.level_change(baseline),
        error_perturbed=error_perturbed.level,
        error_change=admissibility.level_change,
    )
    return _judge_change(check, "the value at fixed n", evidence, admissibility, tolerances.spread)


def _judge_stopping(
    check: Check, curves: LearningCurves, tolerances: Tolerances, admissibility: Admissibility
) -> Verdict:
    """Demand of a checkpoint what is demanded of a perturbation: sign and exponent."""
    trend = _judge_trend(check, curves, tolerances, admissibility)
    exponent = _judge_exponent(check, curves, tolerances, admissibility)
    statuses = [trend.status, exponent.status]
    status = next(s for s in (BROKEN, INCONCLUSIVE, KEPT) if s in statuses)
    reasons = [each.reason for each in (trend, exponent) if each.status == status]
    open_needs = [each.seeds_needed for each in (trend, exponent) if each.status == INCONCLUSIVE]
    assert isinstance(exponent.evidence, Evidence)
    return Verdict(
        check,
        status,
        "; ".join(reasons),
        StoppingEvidence(trend.status, exponent.status, exponent.evidence),
        admissibility,
        _most(open_needs) if status == INCONCLUSIVE else None,
    )


def allowed_ranges(
    error_change: Estimate, tolerance: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the range to stay in, and the range to be outside of, for a measure's change.

    A measure may stay where it is, move as test error moved, or anything between, plus or minus
    the tolerance. How far test error moved is uncertain: to be kept counts only the part of its
    movement that is certain, to be broken all of it that is possible. Each side errs with
    probability at most alpha, since it takes one of two one-sided intervals to be wrong.

    Parameters
    ----------
    error_change
        By how much test error moved.
    tolerance
        Zero or more.

    Returns
    -------
    allowed, forbidden
        ``kept`` needs the change's interval inside the first; ``broken`` outside the second.
    """
    allowed = (-tolerance + min(0.0, error_change.high), tolerance + max(0.0, error_change.low))
    forbidden = (-tolerance + min(0.0, error_change.low), tolerance + max(0.0, error_change.high))
    return allowed, forbidden


def _judge_change(
    check: Check,
    what: str,
    evidence: Evidence,
    admissibility: Admissibility,
    tolerance: float,
) -> Verdict:
    change, error_change = evidence.change, evidence.error_change
    assert change is not None
    assert error_change is not None
    allowed, forbidden = allowed_ranges(error_change, tolerance)
    evidence = replace(evidence, allowed=allowed, forbidden=forbidden)
    status = _compare_change(change, error_change, tolerance)
    if status == INCONCLUSIVE:
        reason = f"{what}: the interval straddles the tolerance"
        needed = seeds_needed(
            change.seeds,
            lambda seeds: (
                _compare_change(change.with_seeds(seeds), error_change.with_seeds(seeds), tolerance)
                != INCONCLUSIVE
            ),
        )
        return Verdict(check, INCONCLUSIVE, reason, evidence, admissibility, needed)
    reason = f"{what} stays within tolerance" if status == KEPT else f"{what} moves too far"
    return Verdict(check, status, reason, evidence, admissibility)


def _compare_change(change: Estimate, error_change: Estimate, tolerance: float) -> str:
    allowed, forbidden = allowed_ranges(error_change, tolerance)
    if allowed[0] <= change.low and change.high <= allowed[1]:
        return KEPT
    if change.low > forbidden[1] or change.high < forbidden[0]:
        return BROKEN
    return INCONCLUSIVE


def _judge_admissible_count(
    check: Check, curves: LearningCurves, tolerances: Tolerances
) -> Verdict:
    names = check.among
    statuses = {
        name: judge_admissibility(curves, name, margin=tolerances.margin).status for name in names
    }
    admissible = [name for name in names if statuses[name] == ADMISSIBLE]
    if admissible:
        reason = f"{len(admissible)} of {len(names)} perturbations are admissible"
        return Verdict(check, KEPT, reason)
    reason = "no perturbation is admissible, so that nothing was audited: " + ", ".join(
        f"{name} is {status}" for name, status in statuses.items()
    )
    return Verdict(check, INCONCLUSIVE, reason)


def _direction(sign: int) -> str:
    return "rising" if sign > 0 else "falling"


def _seeds_for_sign(slope: Estimate) -> int | None:
    return seeds_needed(slope.seeds, lambda seeds: slope.with_seeds(seeds).sign != 0)


def _seeds_for_margin(change: Estimate, margin: float) -> int | None:
    return seeds_needed(
        change.seeds,
        lambda seeds: compare_with_margin(change.with_seeds(seeds), margin) != UNDECIDED,
    )


def _most(needs: list[int | None]) -> int | None:
    known = [need for need in needs if need is not None]
    return max(known) if len(known) == len(needs) and known else None


_JUDGES = {
    TREND: _judge_trend,
    EXPONENT: _judge_exponent,
    SPREAD: _judge_spread,
    STOPPING: _judge_stopping,
}
