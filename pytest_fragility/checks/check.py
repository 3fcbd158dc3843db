"""Which checks an audit makes, and what they are called; nothing here is computed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pytest_fragility._util.text import shown
from pytest_fragility.errors import SettingsError
from pytest_fragility.names import LONGEST_NAME
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.recipes.invariances import EQUIVALENCES

TREND, EXPONENT, SPREAD, COMPLEXITY = "trend", "exponent", "spread", "complexity"


STOPPING, SYMMETRY, EQUIVALENCE = "stopping", "symmetry", "equivalence"


KINDS = (TREND, EXPONENT, SPREAD, STOPPING, COMPLEXITY, SYMMETRY, EQUIVALENCE)


PERTURBED_KINDS = (TREND, EXPONENT, SPREAD)


INVARIANCE_KINDS = (SYMMETRY, EQUIVALENCE)


LINEAR_KINDS = (TREND, SYMMETRY, EQUIVALENCE)


# kinds of single checks, whose id is their kind
ADMISSIBLE_COUNT = "perturbations-admissible"


LOCATE = "locate"


CONTROLS, AGREEMENT = "controls", "agreement"


# what says nothing about the measure, or asserts nothing
STANDARD_KINDS = (ADMISSIBLE_COUNT, CONTROLS, AGREEMENT, LOCATE)


# those that do not look at the measure
UNASKED_KINDS = (ADMISSIBLE_COUNT, CONTROLS)


COMPLEXITY_EXPONENT, COMPLEXITY_LEVEL = "complexity-exponent", "complexity-level"


COMPLEXITY_KINDS = (COMPLEXITY_EXPONENT, COMPLEXITY_LEVEL)


NORMALIZATION_SCALE = "normalization-scale"


# named here too, so that planning needs no torch
SYMMETRY_NAMES = (
    "layer-rescaling",
    "neuron-rescaling",
    "permutation",
    "split-neurons",
    "dead-neurons",
    "silent-neurons",
    NORMALIZATION_SCALE,
    "logit-shift",
)


@dataclass(frozen=True)
class Check:
    """One thing that an audit asserts.

    Parameters
    ----------
    kind
        ``trend``, ``exponent``, ``spread``, ``stopping``, ``complexity-exponent``,
        ``complexity-level``, ``symmetry``, ``equivalence``, ``perturbations-admissible`` (that
        there is one), ``controls`` (that measures whose verdicts are known are judged so),
        ``agreement`` (with test error) or ``locate`` (breaking points), which assert nothing.
    perturbation
        The perturbation's name, or ``baseline``.
    change
        The name of the symmetry, equivalence or axis; empty for other kinds.
    among
        Names of the perturbations that are looked at together: of which one must be admissible,
        under which controls are judged, over which agreement is taken; empty for other kinds.
    """

    kind: str
    perturbation: str = BASELINE
    change: str = ""
    among: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The check's name in test ids and reports."""
        if self.change:
            return f"{self.kind}-{self.change}"
        if self.kind in PERTURBED_KINDS or self.kind == STOPPING:
            return f"{self.kind}-{self.perturbation}"
        return self.kind

    def __str__(self) -> str:
        return self.id


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


def needs_equivalents(check: Check) -> bool:
    """Return whether a check looks at scale-invariant networks, which have a normalization."""
    return check.kind == EQUIVALENCE or check.change == NORMALIZATION_SCALE


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


def nearest(name: object, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"``-like text, or nothing where no known name is near."""
    if not isinstance(name, str) or len(name) > LONGEST_NAME:
        return ""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
