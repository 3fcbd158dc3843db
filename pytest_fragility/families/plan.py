"""Which networks a family has: tasks, recipes, sizes and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from pytest_fragility.networks.runs import Run
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.recipes import Recipe
from pytest_fragility.recipes.equivalences import EQUIVALENCES

if TYPE_CHECKING:
    from pytest_fragility.tasks.ladders import Ladder
    from pytest_fragility.tasks.task import Task


# an identity holds for one seed or for none; the second guards against luck
EQUIVALENT_SEEDS = 2


@dataclass(frozen=True, eq=False)
class FamilyPlan:
    """The runs to train: every size and seed under every recipe.

    Parameters
    ----------
    task
        What is learned.
    recipes
        Recipes by name: ``baseline`` and the perturbations'.
    sizes
        Training set sizes, ascending.
    seeds
        Seeds.
    ladder
        Further tasks, to be learned under the baseline alone; None has none.
    with_equivalents
        Whether pairs of trainings that give the same function are part of it.
    """

    task: Task
    recipes: dict[str, Recipe]
    sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    ladder: Ladder | None = None
    with_equivalents: bool = False

    @cached_property
    def runs(self) -> dict[tuple[str, int, int], Run]:
        """The runs, by recipe name, n and seed."""
        return {
            (name, n, seed): Run(self.task, n, recipe, seed)
            for name, recipe in self.recipes.items()
            for n in self.sizes
            for seed in self.seeds
        }

    @cached_property
    def rungs(self) -> list[FamilyPlan]:
        """The baseline's runs on each task of the ladder."""
        tasks = self.ladder.tasks if self.ladder else ()
        baseline = {BASELINE: self.recipes[BASELINE]} if tasks else {}
        return [
            replace(self, task=task, recipes=baseline, ladder=None, with_equivalents=False)
            for task in tasks
        ]

    @cached_property
    def equivalents(self) -> FamilyPlan | None:
        """Pairs of trainings that give the same function, of one size and two seeds."""
        if not self.with_equivalents:
            return None
        recipes = {
            arm: recipe
            for equivalence in EQUIVALENCES.values()
            for arm, recipe in zip(
                equivalence.arms, equivalence.recipes(self.recipes[BASELINE]), strict=True
            )
        }
        sizes = (middle_size(self.sizes),)
        return FamilyPlan(self.task, recipes, sizes, self.seeds[:EQUIVALENT_SEEDS])

    @property
    def parts(self) -> list[FamilyPlan]:
        """All plans that are trained together: this one, its rungs and its equivalents."""
        return [self, *self.rungs, *([self.equivalents] if self.equivalents else [])]


def middle_size(sizes: Sequence[int]) -> int:
    """Return the size at which networks with the same function are compared."""
    return sizes[(len(sizes) - 1) // 2]
