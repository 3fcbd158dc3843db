"""Whether a measure's slope has the sign it should have, and keeps it under a perturbation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fragility import curves as statistics
from pytest_fragility.checks.check import Check
from pytest_fragility.checks.comparing import bent_curves
from pytest_fragility.checks.kind import SLOPE, Asked
from pytest_fragility.checks.recipe_kinds import GRID, Comparison, RecipeKind
from pytest_fragility.checks.tolerances import AS_ERROR, INCREASING, Tolerances
from pytest_fragility.checks.verdicts import (
    BROKEN,
    INCONCLUSIVE,
    KEPT,
    Record,
    SlopeEvidence,
    Verdict,
)
from pytest_fragility.checks.wording import power
from pytest_fragility.perturbations import BASELINE

if TYPE_CHECKING:
    from pytest_fragility.curves import Estimate, LearningCurves


class Trend(RecipeKind):
    """The baseline's slope has the sign it should have, and keeps it under perturbations."""

    id = asked_as = "trend"
    asserts = "the slope keeps its sign"
    looks_at = SLOPE
    on_linear = True
    options = ("exponent_tolerance",)
    section = GRID

    def checks(self, asked: Asked) -> list[Check]:
        """Return one of the baseline itself, and one of each perturbation."""
        return [Check(self.id, BASELINE), *super().checks(asked)]

    def judge_curves(self, check: Check, curves: LearningCurves, tolerances: Tolerances) -> Verdict:
        """Judge the baseline by itself."""
        if check.perturbation == BASELINE:
            return self.judge_baseline(check, curves, tolerances)
        return super().judge_curves(check, curves, tolerances)

    def judge_baseline(
        self, check: Check, curves: LearningCurves, tolerances: Tolerances
    ) -> Verdict:
        """Return whether the baseline's slope has the sign of test error's, or that asked for."""
        measure = curves.measure[BASELINE]
        slope, error = measure.slope, curves.error[BASELINE].slope
        as_error = tolerances.trend == AS_ERROR
        wanted = error.sign if as_error else 1 if tolerances.trend == INCREASING else -1
        whose = "test error" if as_error else "asked for by trend="
        bent, parts = bent_curves(measure, None, tolerances.exponent)
        evidence = SlopeEvidence(slope, error, bent=bent, parts=parts)
        if wanted == 0:
            reason = "test error's own slope has no certain sign"
            return Verdict(
                check, INCONCLUSIVE, reason, evidence, seeds_needed=_seeds_for_sign(error)
            )
        if slope.is_flat:
            return Verdict(check, BROKEN, "the measure does not change with n", evidence)
        if slope.sign == 0:
            reason = "the measure's slope has no certain sign"
            return Verdict(
                check, INCONCLUSIVE, reason, evidence, seeds_needed=_seeds_for_sign(slope)
            )
        if slope.sign == wanted:
            return Verdict(check, KEPT, f"{_direction(slope.sign)}, as {whose}", evidence)
        reason = f"{_direction(slope.sign)} with n, against {_direction(wanted)} ({whose})"
        return Verdict(check, BROKEN, reason, evidence)

    def compare(self, found: Comparison) -> Verdict:
        """Return whether the slope keeps its sign under a perturbation."""
        curves = found.curves
        before, after = curves.before.slope, curves.after.slope
        bent, parts = bent_curves(curves.before, curves.after, found.tolerances.exponent)
        evidence = found.evidence(self.looks_at, bent=bent, parts=parts)
        if before.is_flat and after.is_flat:
            return found.verdict(KEPT, "still flat", evidence)
        under = f"under {found.check.perturbation}"
        for slope, where in ((before, "at the baseline"), (after, under)):
            if slope.sign == 0:
                reason = f"the measure's slope {where} has no certain sign"
                return found.verdict(INCONCLUSIVE, reason, evidence, _seeds_for_sign(slope))
        if before.sign == after.sign:
            return found.verdict(KEPT, f"still {_direction(after.sign)}", evidence)
        reason = f"the slope reverses: {_direction(before.sign)} becomes {_direction(after.sign)}"
        return found.verdict(BROKEN, reason, evidence)

    def test_error(self, record: Record) -> list[str]:
        """Say which slope test error has under the baseline, where nothing is compared."""
        error = record["evidence"].get("error_baseline")
        alone = [power(error, name="Test error") + "."] if error else []
        return super().test_error(record) or alone


def _direction(sign: int) -> str:
    return "rising" if sign > 0 else "falling"


def _seeds_for_sign(slope: Estimate) -> int | None:
    return statistics.seeds_needed(slope.seeds, lambda seeds: slope.with_seeds(seeds).sign != 0)


KIND = Trend()
