"""What is asserted of one task: trend, exponent, spread and stopping; three-way verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fragility import curves as statistics
from pytest_fragility._util.stopwatch import STATISTICS, spent_on
from pytest_fragility.checks.admissibility import (
    INCOMPLETE,
    compare_with_margin,
    judge_admissibility,
    judge_admissible_count,
)
from pytest_fragility.checks.agreement import report_agreement
from pytest_fragility.checks.check import (
    ADMISSIBLE_COUNT,
    AGREEMENT,
    COMPLEXITY_KINDS,
    CONTROLS,
    EXPONENT,
    INVARIANCE_KINDS,
    SPREAD,
    STOPPING,
    TREND,
    Check,
)
from pytest_fragility.checks.complexity import judge_complexity
from pytest_fragility.checks.controls import judge_controls
from pytest_fragility.checks.exponent import judge_exponent
from pytest_fragility.checks.invariance import judge_invariance
from pytest_fragility.checks.spread import judge_spread
from pytest_fragility.checks.stopping import judge_stopping
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.checks.trend import judge_baseline_trend, judge_trend
from pytest_fragility.checks.verdicts import INADMISSIBLE, INCONCLUSIVE, UNDECIDED, Verdict
from pytest_fragility.errors import SettingsError
from pytest_fragility.perturbations import BASELINE

if TYPE_CHECKING:
    from pytest_fragility.curves import Estimate, Invariance, LearningCurves


@spent_on(STATISTICS)
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
        return Verdict(check, INCONCLUSIVE, reason, applies=check.kind != AGREEMENT)
    for recipe in (BASELINE, check.perturbation):
        if recipe in curves.incomplete:
            reason = f"{recipe} cannot be judged: {curves.incomplete[recipe]}"
            return Verdict(check, INCONCLUSIVE, reason, applies=check.kind != AGREEMENT)
    if check.kind == CONTROLS:
        return judge_controls(check, curves, tolerances)
    if check.kind == AGREEMENT:
        return report_agreement(check, curves, tolerances)
    if check.kind == ADMISSIBLE_COUNT:
        margin = tolerances.margin
        statuses = dict.fromkeys(check.among, INCOMPLETE) | {
            name: judge_admissibility(curves, name, margin=margin).status
            for name in curves.judged(check.among)
        }
        return judge_admissible_count(check, statuses)
    if check.perturbation == BASELINE:
        return judge_baseline_trend(check, curves, tolerances)
    admissibility = judge_admissibility(curves, check.perturbation, margin=tolerances.margin)
    if admissibility.status == INADMISSIBLE:
        reason = f"{check.perturbation} is not a small change here: {admissibility.reason}"
        return Verdict(check, INCONCLUSIVE, reason, admissibility=admissibility)
    paired = statistics.PairedCurves(
        curves.measure[BASELINE],
        curves.measure[check.perturbation],
        curves.error[BASELINE],
        curves.error[check.perturbation],
    )
    verdict = _JUDGES[check.kind](check, paired, tolerances, admissibility)
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
        statistics.most_seeds(needs),
    )


def _seeds_for_margin(change: Estimate, margin: float) -> int | None:
    return statistics.seeds_needed(
        change.seeds,
        lambda seeds: compare_with_margin(change.with_seeds(seeds), margin) != UNDECIDED,
    )


_JUDGES = {
    TREND: judge_trend,
    EXPONENT: judge_exponent,
    SPREAD: judge_spread,
    STOPPING: judge_stopping,
}
