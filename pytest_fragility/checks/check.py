"""Which checks an audit makes, and what they are called; nothing here is computed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from operator import or_

from pytest_fragility.perturbations import BASELINE
from pytest_fragility.recipes.equivalences import NORMALIZATION_SCALE

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


def needs_equivalents(check: Check) -> bool:
    """Return whether a check looks at scale-invariant networks, which have a normalization."""
    return check.kind == EQUIVALENCE or check.change == NORMALIZATION_SCALE


@dataclass(frozen=True)
class Needs:
    """Which of an audit's networks are needed.

    Parameters
    ----------
    recipes
        Names.
    with_ladder
        Whether also those of the ladder's tasks.
    with_equivalents
        Whether also pairs of trainings that give the same function.
    """

    recipes: frozenset[str] = frozenset({BASELINE})
    with_ladder: bool = False
    with_equivalents: bool = False

    def __or__(self, other: Needs) -> Needs:
        """Return what both need."""
        return Needs(
            self.recipes | other.recipes,
            self.with_ladder or other.with_ladder,
            self.with_equivalents or other.with_equivalents,
        )


def needs_of(check: Check) -> Needs:
    """Return the networks that a check needs."""
    if check.kind == LOCATE:
        return Needs()
    if check.kind in INVARIANCE_KINDS:
        return Needs(with_equivalents=needs_equivalents(check))
    if check.kind in COMPLEXITY_KINDS:
        return Needs(with_ladder=True)
    if check.kind in (ADMISSIBLE_COUNT, CONTROLS, AGREEMENT):
        return Needs(frozenset({BASELINE, *check.among}))
    return Needs(frozenset({BASELINE, check.perturbation}))


def needs_of_all(checks: Iterable[Check]) -> Needs:
    """Return the networks that several checks need."""
    return reduce(or_, map(needs_of, checks), Needs())
