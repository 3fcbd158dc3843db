"""Audits that train no more seeds than they need: looks at growing numbers of them.

At each look all open checks are judged on the seeds so far. One that is decided is closed; a recipe
is trained on only while one of its checks is open. Each look has an equal share of alpha, so that
the chance that any of them errs is at most alpha, whatever the noise is like and however the looks
depend on each other (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_fragility._util.stopwatch import STATISTICS, spent_on
from pytest_fragility.auditing.finding import Finding
from pytest_fragility.auditing.from_settings import curves_for_audit, plan_of
from pytest_fragility.checks.admissibility import judge_admissibility, judge_admissible_count
from pytest_fragility.checks.check import Check, Needs
from pytest_fragility.checks.kind import PAIRS
from pytest_fragility.checks.registry import kind_of, needs_of_all
from pytest_fragility.checks.verdicts import INADMISSIBLE, INCONCLUSIVE, UNDECIDED
from pytest_fragility.perturbations import BASELINE

if TYPE_CHECKING:
    from pytest_fragility.curves import LearningCurves
    from pytest_fragility.families.family import Family
    from pytest_fragility.families.plan import FamilyPlan
    from pytest_fragility.measures.measure import Measure
    from pytest_fragility.settings import AuditSettings

# a forecast from fewer is not worth giving up for, unless it is that no number decides
FEWEST_FOR_A_FORECAST = 8
# beyond so many times the last look's seeds, a forecast says that no look will decide
FAR = 2


class StagedAudit:
    """An audit whose checks are looked at with growing numbers of seeds.

    Parameters
    ----------
    measure
        A function of one `TrainedNetwork`.
    name
        What reports call it.
    settings
        With looks: `AuditSettings.looks`.
    checks
        What is asserted, or some of it.
    """

    def __init__(
        self,
        measure: Measure | str,
        name: str | None,
        settings: AuditSettings,
        checks: Collection[Check],
    ) -> None:
        self._findings: dict[str, Finding] = {}
        self._measure = measure
        self._name = name
        self._settings = settings
        self._open = list(checks)
        self._groups: list[LearningCurves] = []
        # of the perturbations, by name, as of the last look at each
        self._admissible: dict[str, str] = {}

    @property
    def is_open(self) -> bool:
        """Whether some check is undecided and another look is due."""
        return bool(self._open) and len(self._groups) < len(self._settings.looks)

    def plan(self) -> FamilyPlan:
        """Return what the next look needs beyond what was trained for those before."""
        looks = (0, *self._settings.looks)
        place = len(self._groups)
        plan = plan_of(self._settings, self._needs())
        return replace(plan, seeds=tuple(range(looks[place], looks[place + 1])))

    def take(self, family: Family) -> None:
        """Judge all open checks on the seeds so far, those of this family included."""
        settings = self._settings
        alpha = settings.alpha / len(settings.looks)
        curves = curves_for_audit(self._measure, family, settings, name=self._name, alpha=alpha)
        self.judge_with(curves)

    def finding(self, check: Check) -> Finding:
        """Return what became of a check at the last look at it."""
        return self._findings[check.id]

    @spent_on(STATISTICS)
    def judge_with(self, curves: LearningCurves) -> None:
        """Judge all open checks on the seeds so far, those of these curves included.

        Parameters
        ----------
        curves
            Over the seeds that are new at this look, each interval at the looks' share of alpha.
        """
        from pytest_fragility.curves.joining import join_seeds

        self._groups.append(replace(curves, looks=self._settings.looks))
        joined = join_seeds(self._groups)
        self._note_admissible(joined)
        for check in self._open:
            self._findings[check.id] = self._judged(check, joined)
        self._open = [check for check in self._open if not self._is_settled(check)]

    def _judged(self, check: Check, joined: LearningCurves) -> Finding:
        if kind_of(check).counts_admissible and BASELINE not in joined.unfinished:
            statuses = {name: self._admissible[name] for name in check.among}
            return Finding(check, joined, judge_admissible_count(check, statuses))
        return Finding.of(check, joined, self._settings.tolerances)

    def _is_settled(self, check: Check) -> bool:
        """Return whether more seeds would change nothing, or probably would not."""
        finding = self._findings[check.id]
        verdict = finding.verdict
        if verdict is None or kind_of(check).rests_on == PAIRS:
            return True
        if verdict.status != INCONCLUSIVE or not verdict.is_applicable:
            return True
        if kind_of(check).counts_admissible:
            return not self._undecided(check)
        if verdict.evidence is None:
            return True
        seeds = len(finding.curves.seeds)
        needed = verdict.seeds_needed
        is_far = needed is not None and needed > FAR * self._settings.looks[-1]
        return needed is None or (is_far and seeds >= FEWEST_FOR_A_FORECAST)

    def _note_admissible(self, joined: LearningCurves) -> None:
        margin = self._settings.tolerances.margin
        for name in joined.error:
            if name != BASELINE:
                found = judge_admissibility(joined, name, margin=margin)
                self._admissible[name] = found.status

    def _undecided(self, check: Check) -> list[str]:
        return [name for name in check.among if self._admissible.get(name, UNDECIDED) == UNDECIDED]

    def _needs(self) -> Needs:
        """Return what the open checks need; of many perturbations, those that may be admissible."""
        return needs_of_all(replace(each, among=tuple(self._among(each))) for each in self._open)

    def _among(self, check: Check) -> list[str]:
        if kind_of(check).counts_admissible:
            return self._undecided(check)
        return [name for name in check.among if self._admissible.get(name) != INADMISSIBLE]
