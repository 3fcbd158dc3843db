"""One thing that an audit asserts, and which of its networks that needs."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_fragility.perturbations import BASELINE


@dataclass(frozen=True)
class Check:
    """One thing that an audit asserts.

    Parameters
    ----------
    kind
        The id of its kind, one of `pytest_fragility.checks.registry.KINDS`.
    recipe
        The perturbation's name, or ``baseline``; None for what is of no one recipe.
    change
        The name of the symmetry, equivalence or axis; empty for other kinds.
    among
        Names of the perturbations that are looked at together: of which one must be admissible,
        under which controls are judged, over which agreement is taken; empty for other kinds.
    """

    kind: str
    recipe: str | None = None
    change: str = ""
    among: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The check's name in test ids and reports."""
        about = self.change or self.recipe
        return f"{self.kind}-{about}" if about else self.kind

    @property
    def perturbation(self) -> str:
        """The recipe's name; ``baseline`` for what is of no one recipe."""
        return self.recipe or BASELINE

    @property
    def recipes(self) -> tuple[str, ...]:
        """Names of all recipes that are looked at, the baseline first."""
        return tuple(dict.fromkeys((BASELINE, self.perturbation, *self.among)))

    def __str__(self) -> str:
        return self.id


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
