"""The smallest change along an axis that breaks a measure, found by bisection."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pytest_fragility.auditing.search import Search, Trial
from pytest_fragility.checks.admissibility import judge_admissibility
from pytest_fragility.checks.breaking_points import BreakingPoint, BreakingPointEvidence
from pytest_fragility.checks.check import Check
from pytest_fragility.checks.verdicts import ADMISSIBLE, KEPT, SlopeEvidence, Verdict
from pytest_fragility.errors import SettingsError
from pytest_fragility.perturbations import AXES, Perturbation, between, changes_recipe

REFINEMENTS = 2


def locate(check: Check, search: Search) -> Verdict:
    """Return how far a recipe can be changed along one axis before a measure breaks.

    In each direction, first the largest admissible change is found by bisection over the
    catalogue's steps, then the smallest one up to there that breaks the measure; where a step's
    name has a number, the gap is halved twice more. Bisection takes it that what breaks at one
    step breaks at the next larger ones too. What it finds is reported if fresh seeds confirm it;
    else the next larger step that they do confirm.

    Parameters
    ----------
    check
        Names the axis.
    search
        Judges the measure.

    Raises
    ------
    SettingsError
        If there is no such axis, or none of its changes changes the baseline.
    BudgetError
        If more networks would be trained than the budget has left.
    """
    if check.change not in AXES:
        raise SettingsError(f"unknown axis {check.change!r}: expected some of {', '.join(AXES)}")
    baseline = search.family.settings.recipe
    directions = [
        [each for each in direction if changes_recipe(each, baseline)]
        for direction in AXES[check.change].directions
    ]
    points = tuple(_locate_along(direction, search) for direction in directions if direction)
    if not points:
        raise SettingsError(f"no change along {check.change} changes the baseline ({baseline})")
    broken = [point for point in points if point.broken]
    reason = (
        "breaks at " + ", ".join(str(point.broken) for point in broken)
        if broken
        else "nothing admissible along this axis breaks it"
    )
    return Verdict(check, KEPT, reason, BreakingPointEvidence(points))


def _locate_along(steps: Sequence[Perturbation], search: Search) -> BreakingPoint:
    """Bisect one direction of an axis."""
    beyond = _first(steps, lambda each: not _is_admissible(each, search))
    admissible, inadmissible = steps[:beyond], steps[beyond:]
    place = _first(admissible, search.suspects)
    kept, suspected = _refined(
        admissible[place - 1] if place else None, list(admissible[place:]), search
    )
    broken = next((each for each in suspected if search.breaks(each)), None)
    for each in suspected:
        if each is broken:
            break
        kept = each
    return BreakingPoint(
        steps[0].axis,
        _name(admissible[-1] if admissible else None),
        _name(inadmissible[0] if inadmissible else None),
        _name(kept),
        _name(broken),
        *_how(search.trial(broken) if broken else None),
    )


def _refined(
    kept: Perturbation | None, suspected: list[Perturbation], search: Search
) -> tuple[Perturbation | None, list[Perturbation]]:
    """Halve the gap between the last step that is kept and the first that is suspected."""
    for _ in range(REFINEMENTS if suspected else 0):
        middle = between(kept, suspected[0])
        if middle is None:
            break
        if search.suspects(middle):
            suspected = [middle, *suspected]
        else:
            kept = middle
    return kept, suspected


def _first(steps: Sequence[Perturbation], holds: Callable[[Perturbation], bool]) -> int:
    """Return the place of the first step for which a property holds that all later ones share."""
    low, high = 0, len(steps)
    while low < high:
        middle = (low + high) // 2
        if holds(steps[middle]):
            high = middle
        else:
            low = middle + 1
    return low


def _is_admissible(change: Perturbation, search: Search) -> bool:
    curves = search.curves(change)
    margin = search.family.settings.tolerances.margin
    return judge_admissibility(curves, change.name, margin=margin).status == ADMISSIBLE


def _how(trial: Trial | None) -> tuple[str, SlopeEvidence | None]:
    """Return which check a change breaks, and the numbers of the fresh seeds."""
    if trial is None or trial.confirmation is None:
        return "", None
    verdict, _ = trial.confirmation
    assert isinstance(verdict.evidence, SlopeEvidence)
    return verdict.check.kind, verdict.evidence


def _name(change: Perturbation | None) -> str | None:
    return change.name if change else None
