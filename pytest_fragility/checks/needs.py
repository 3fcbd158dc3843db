"""Which networks a check needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from operator import or_

from pytest_fragility.checks.check import (
    ADMISSIBLE_COUNT,
    AGREEMENT,
    COMPLEXITY_KINDS,
    CONTROLS,
    INVARIANCE_KINDS,
    LOCATE,
    Check,
    needs_equivalents,
)
from pytest_fragility.perturbations import BASELINE


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
