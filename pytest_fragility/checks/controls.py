"""Measures whose verdicts are known beforehand, judged in every audit: they audit the audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_fragility import curves as statistics
from pytest_fragility.checks import exponent, spread, trend
from pytest_fragility.checks.admissibility import judge_admissibility
from pytest_fragility.checks.check import Check
from pytest_fragility.checks.error_rates import CONTROL_ALPHA
from pytest_fragility.checks.kind import AUDIT, Asked, Kind
from pytest_fragility.checks.recipe_kinds import Comparison, RecipeKind
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.checks.verdicts import (
    BROKEN,
    INADMISSIBLE,
    INCONCLUSIVE,
    KEPT,
    Evidence,
    Record,
    Verdict,
)
from pytest_fragility.checks.wording import indented
from pytest_fragility.errors import AuditFailure, ControlsMisbehave
from pytest_fragility.perturbations import BASELINE

if TYPE_CHECKING:
    from pytest_fragility.curves import LearningCurve, LearningCurves

# with very many seeds it shows that the level of noise does not move, which is true
SEEDS_OF_NOISE = 10
# kinds that look at controls
JUDGED: tuple[RecipeKind, ...] = (trend.KIND, exponent.KIND, spread.KIND)

ADVICE = (
    "What this audit says of any measure means nothing before its controls behave. Test error is "
    "broken where the error margin lets too large changes pass; noise is kept where tolerances are "
    "too wide, and broken where runs that are compared do not belong together"
)


@dataclass(frozen=True)
class ControlEvidence(Evidence):
    """How one measure whose verdicts are known beforehand was judged.

    Parameters
    ----------
    name
        The control's.
    expected, found
        In words.
    misbehaves
        Whether the two differ.
    """

    name: str
    expected: str
    found: str
    misbehaves: bool


@dataclass(frozen=True)
class ControlsEvidence(Evidence):
    """How all controls were judged."""

    controls: tuple[ControlEvidence, ...]


class Controls(Kind):
    """Three measures are judged as they must be, or else the audit cannot be trusted.

    Test error must keep its own exponent and level, and no check of its trend may be broken; the
    number of parameters must have one and the same exponent under all recipes; every check of a
    random number must be inconclusive. Of networks that were trained elsewhere the number of
    parameters may not be known, and is not looked at. Where one of them misbehaves the audit cannot
    be trusted, whatever it says of a measure: under its tolerances test error itself is fragile, or
    noise is not, or runs that are compared do not belong together. Checks of controls are made at a
    level that lets sound audits misbehave at most once in a thousand times.
    """

    id = "controls"
    about = AUDIT
    is_excusable = False

    def plan(self, asked: Asked) -> list[Check]:
        """Return one check over all recipes that others look at."""
        names = asked.perturbations if asked.with_perturbations else ()
        among = tuple(dict.fromkeys((*names, *asked.stops)))
        return [Check(self.id, among=among)] if asked.with_curves else []

    def judge_curves(self, check: Check, curves: LearningCurves, tolerances: Tolerances) -> Verdict:
        """Judge the controls of any measure's curves, with the audit's tolerances."""
        names = [
            name for name in curves.judged(check.among) if _can_convict(name, curves, tolerances)
        ]
        count = curves.controls.get(statistics.PARAMETER_COUNT)
        found = (
            _look_at_test_error(_statuses(statistics.TEST_ERROR, curves, names, tolerances)),
            *([_look_at_parameter_count(count, names)] if count else []),
            _look_at_noise(_statuses(statistics.NOISE, curves, names, tolerances)),
        )
        misbehaving = [control for control in found if control.misbehaves]
        evidence = ControlsEvidence(found)
        if not misbehaving:
            return Verdict(check, KEPT, "all controls behave", evidence)
        what = "; ".join(_sentence(control.to_dict()) for control in misbehaving)
        return Verdict(check, BROKEN, f"this audit cannot be trusted: {what}", evidence)

    def error(self, verdict: Verdict) -> type[AuditFailure]:
        """Return what is raised, whether controls misbehave or could not be judged."""
        return ControlsMisbehave

    def headline(self, record: Record) -> str:
        """Return what stands behind the measure's name."""
        return "the audit's own controls misbehave"

    def numbers(self, record: Record) -> list[str]:
        """Return one sentence for each control."""
        return [line for sentence in _sentences(record) for line in indented(sentence)]

    def certainty(self, record: Record) -> str:
        """Return what the verdict rests on, and what to do."""
        return f"{self.basis(record)}. {ADVICE}"

    def note(self, record: Record) -> str:
        """Say that controls behave."""
        names = ", ".join(control["name"] for control in record["evidence"]["controls"])
        return f"controls behave ({names})"

    def texts(self, record: Record) -> list[str]:
        """Return one sentence for each control."""
        return [f"{sentence}." for sentence in _sentences(record)]


def _sentences(record: Record) -> list[str]:
    return [
        _sentence(control)
        if control["misbehaves"]
        else f"{control['name']} is {control['expected']}, as it should be"
        for control in record["evidence"]["controls"]
    ]


def _sentence(control: Record) -> str:
    return f"{control['name']} should be {control['expected']}, and is {control['found']}"


def _can_convict(name: str, curves: LearningCurves, tolerances: Tolerances) -> bool:
    status = judge_admissibility(curves, name, margin=tolerances.margin).status
    return status != INADMISSIBLE


def _statuses(
    name: str, curves: LearningCurves, perturbations: Sequence[str], tolerances: Tolerances
) -> dict[Check, str]:
    """Return the verdicts on a control, admissibility aside."""
    alpha = CONTROL_ALPHA / (1 + len(JUDGED) * len(perturbations))
    recipes = (BASELINE, *perturbations)
    most = SEEDS_OF_NOISE if name == statistics.NOISE else len(curves.seeds)
    control = {
        each: replace(curves.controls[name][each].first_seeds(most), alpha=alpha)
        for each in recipes
    }
    error = {each: curves.error[each].on_this_test_set().first_seeds(most) for each in recipes}
    judged = replace(curves, measure=control, error=error)
    baseline = Check(trend.KIND.id, BASELINE)
    statuses = {baseline: trend.KIND.judge_baseline(baseline, judged, tolerances).status}
    for each in perturbations:
        admissibility = judge_admissibility(curves, each, margin=tolerances.margin)
        paired = statistics.PairedCurves(
            control[BASELINE], control[each], error[BASELINE], error[each]
        )
        for kind in JUDGED:
            check = Check(kind.id, each)
            statuses[check] = kind.compare(
                Comparison(check, paired, tolerances, admissibility)
            ).status
    return statuses


def _look_at_test_error(statuses: Mapping[Check, str]) -> ControlEvidence:
    odd = {
        check: status
        for check, status in statuses.items()
        if status == BROKEN or (check.kind != trend.KIND.id and status != KEPT)
    }
    return _evidence(statistics.TEST_ERROR, KEPT, odd)


def _look_at_noise(statuses: Mapping[Check, str]) -> ControlEvidence:
    odd = {check: status for check, status in statuses.items() if status != INCONCLUSIVE}
    return _evidence(statistics.NOISE, INCONCLUSIVE, odd)


def _evidence(name: str, expected: str, odd: Mapping[Check, str]) -> ControlEvidence:
    found = ", ".join(f"{status} ({check})" for check, status in odd.items())
    return ControlEvidence(name, expected, found or expected, misbehaves=bool(odd))


def _look_at_parameter_count(
    count: Mapping[str, LearningCurve], perturbations: Sequence[str]
) -> ControlEvidence:
    moved = [
        each
        for each in perturbations
        if count[each].largest_slope_difference(count[BASELINE]) > statistics.ROUNDING
    ]
    expected = "of the same exponent under all recipes"
    found = f"of another one under {', '.join(moved)}" if moved else expected
    return ControlEvidence(statistics.PARAMETER_COUNT, expected, found, misbehaves=bool(moved))


KIND = Controls()
