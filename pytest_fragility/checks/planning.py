"""Which checks an audit makes, and which of them are expected to fail."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from pytest_fragility._util.text import nearest, shown
from pytest_fragility.checks.check import (
    ADMISSIBLE_COUNT,
    AGREEMENT,
    COMPLEXITY,
    COMPLEXITY_KINDS,
    CONTROLS,
    EQUIVALENCE,
    INVARIANCE_KINDS,
    KINDS,
    LOCATE,
    PERTURBED_KINDS,
    STANDARD_KINDS,
    STOPPING,
    SYMMETRY,
    TREND,
    Check,
)
from pytest_fragility.errors import SettingsError
from pytest_fragility.recipes.equivalences import EQUIVALENCES, SYMMETRY_NAMES


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
        Any of `KINDS`.
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
    for kind in kinds:
        if kind not in KINDS:
            raise SettingsError(
                f"unknown check {shown(kind)}{nearest(kind, KINDS)}; expected {', '.join(KINDS)}"
            )
    names, stops = list(perturbations), list(checkpoints) if STOPPING in kinds else []
    checks = [Check(TREND)] if TREND in kinds else []
    perturbed = [kind for kind in kinds if kind in PERTURBED_KINDS]
    checks += [Check(kind, name) for kind in perturbed for name in names]
    checks += [Check(STOPPING, name) for name in stops]
    checks += [Check(kind) for kind in COMPLEXITY_KINDS if COMPLEXITY in kinds]
    checks += [Check(SYMMETRY, change=name) for name in SYMMETRY_NAMES if SYMMETRY in kinds]
    checks += [Check(EQUIVALENCE, change=name) for name in EQUIVALENCES if EQUIVALENCE in kinds]
    if names and perturbed:
        checks.append(Check(ADMISSIBLE_COUNT, among=tuple(names)))
    if any(kind not in INVARIANCE_KINDS for kind in kinds):
        among = names if perturbed else []
        checks.append(Check(CONTROLS, among=tuple(dict.fromkeys([*among, *stops]))))
        checks.append(Check(AGREEMENT, among=tuple(among)))
    return [*checks, *(Check(LOCATE, change=axis) for axis in axes)]


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
            or (check.kind not in STANDARD_KINDS and fnmatchcase(check.id, pattern))
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
