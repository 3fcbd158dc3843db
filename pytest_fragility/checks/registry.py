"""All kinds of checks, in the order of reports: what an audit checks, and how that is judged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from pytest_fragility._util.stopwatch import STATISTICS, spent_on
from pytest_fragility._util.text import nearest, shown
from pytest_fragility.checks import (
    admissibility,
    agreement,
    breaking_points,
    complexity,
    controls,
    exponent,
    invariance,
    rank,
    spread,
    stopping,
    trend,
)
from pytest_fragility.checks.check import Check, Needs
from pytest_fragility.checks.kind import MEASURE, PAIRS, SEARCH, Asked, Kind
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.checks.verdicts import Record, Verdict
from pytest_fragility.curves.resources import STOPPING_POINTS
from pytest_fragility.errors import SettingsError
from pytest_fragility.perturbations import BASELINE

if TYPE_CHECKING:
    from pytest_fragility.curves import LearningCurves

KINDS: Mapping[str, Kind] = {
    kind.id: kind
    for kind in (
        trend.KIND,
        exponent.KIND,
        spread.KIND,
        stopping.KIND,
        complexity.EXPONENTS,
        complexity.LEVELS,
        invariance.SYMMETRY,
        invariance.EQUIVALENCE,
        rank.KIND,
        admissibility.KIND,
        controls.KIND,
        breaking_points.KIND,
        agreement.KIND,
    )
}
# what checks= takes, each with one of the kinds that it stands for
ASKED_AS = {kind.asked_as: kind for kind in KINDS.values() if kind.asked_as}


def kind_of(what: Check | Record) -> Kind:
    """Return the kind of a check, or of what was recorded of one."""
    return KINDS[what.kind if isinstance(what, Check) else what["kind"]]


def kinds_asked(names: Iterable[str]) -> list[Kind]:
    """Return one kind for each of the names that ``checks=`` has.

    Raises
    ------
    SettingsError
        If there is no such kind.
    """
    names = list(names)
    for name in names:
        if name not in ASKED_AS:
            raise SettingsError(
                f"unknown check {shown(name)}{nearest(name, ASKED_AS)}; expected "
                f"{', '.join(ASKED_AS)}"
            )
    return [ASKED_AS[name] for name in names]


def any_rests_on(names: Iterable[str], what: str) -> bool:
    """Return whether any of the kinds asked for rests on this, such as `TASKS`."""
    return any(kind.rests_on == what for kind in kinds_asked(names))


def any_needs(names: Iterable[str], resource: str) -> bool:
    """Return whether any of the kinds asked for needs a resource."""
    return any(resource in kind.needs for kind in kinds_asked(names))


def asked_as(check_id: str) -> str:
    """Return what ``checks=`` calls a check's kind; empty for what comes along with others."""
    found = (
        kind.asked_as
        for kind in KINDS.values()
        if check_id == kind.id or check_id.startswith(f"{kind.id}-")
    )
    return next(found, "")


def plan_checks(
    kinds: Sequence[str],
    perturbations: Iterable[str],
    checkpoints: Iterable[str] = (),
    axes: Iterable[str] = (),
) -> list[Check]:
    """Return the checks of an audit, in the order in which they are reported.

    Parameters
    ----------
    kinds
        As ``checks=`` names them; those about single recipes come in this order.
    perturbations
        Names.
    checkpoints
        Names of perturbations that change nothing but where the training stops.
    axes
        Along which breaking points are located.

    Raises
    ------
    SettingsError
        If a kind is unknown.
    """
    chosen = kinds_asked(kinds)
    asked = Asked(
        tuple(kinds),
        tuple(perturbations),
        tuple(checkpoints) if any_needs(kinds, STOPPING_POINTS) else (),
        tuple(axes),
        with_perturbations=any(kind.over_perturbations for kind in chosen),
        with_curves=any(kind.rests_on != PAIRS for kind in chosen),
    )
    first = [kind for kind in chosen if kind.of_any_recipe]
    planned = dict.fromkeys([*first, *KINDS.values()])
    checks = [check for kind in planned for check in kind.plan(asked)]
    # the baseline's own before all others; what trains as it goes on after them
    return sorted(
        checks, key=lambda each: (kind_of(each).rests_on == SEARCH, each.recipe != BASELINE)
    )


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
    return kind_of(check).judge(check, curves, tolerances)


def needs_of(check: Check) -> Needs:
    """Return the networks that a check needs."""
    return kind_of(check).networks(check)


def needs_of_all(checks: Iterable[Check]) -> Needs:
    """Return the networks that several checks need."""
    return reduce(or_, map(needs_of, checks), Needs())


def match_expected_failures(expected: dict[str, str], checks: Sequence[Check]) -> dict[str, str]:
    """Return the reason for every check that is expected to fail, by check id.

    Parameters
    ----------
    expected
        Check ids, or patterns such as ``exponent-*``, with a reason each; the first match counts.
        Patterns match only checks that say something about the measure.
    checks
        The audit's checks.

    Raises
    ------
    SettingsError
        If an id or pattern matches no check.
    """
    reasons: dict[str, str] = {}
    for pattern, reason in expected.items():
        matched = [
            check.id
            for check in checks
            if check.id == pattern
            or (kind_of(check).about == MEASURE and fnmatchcase(check.id, pattern))
        ]
        if not matched:
            ids = [check.id for check in checks]
            raise SettingsError(
                f"xfail={pattern!r} matches no check{nearest(pattern, ids)}; "
                f"this audit has {', '.join(ids)}"
            )
        for check_id in matched:
            reasons.setdefault(check_id, reason)
    return reasons
