"""Everything that an audit is asked for, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_fragility.checks.kind import PAIRS, TASKS
from pytest_fragility.checks.registry import any_rests_on, plan_checks
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.perturbations import BASELINE, Perturbation
from pytest_fragility.recipes import Recipe
from pytest_fragility.tasks import Ladder, Task

if TYPE_CHECKING:
    from pytest_fragility.checks.check import Check
    from pytest_fragility.families.family import Family
    from pytest_fragility.families.measured_family import MeasuredFamily
    from pytest_fragility.families.plan import FamilyPlan


@dataclass(frozen=True, kw_only=True, eq=False)
class AuditSettings:
    """Everything that an audit is asked for, checked; made by `resolve_settings`.

    A field that is not described holds what the option of its name says; there, None stands for no
    limit, and for no folder.

    Parameters
    ----------
    task
        What is learned.
    recipe
        The baseline.
    sizes, seeds
        The grid. Where seeds are trained as they are needed, the profile's number of them, which
        searches and tests of one's own design take.
    looks
        Where seeds are trained as they are needed: with how many checks are looked at, ascending;
        empty where their number is fixed.
    perturbations
        By name.
    checkpoints
        By name: perturbations that change nothing but where the training stops, for the check of
        stopping; empty where it is not made.
    ladder
        Tasks for the complexity check; None where it is not made.
    kinds
        Kinds of checks.
    axes
        Along which breaking points are located.
    tolerances
        How far a measure may move.
    given
        Networks or values that exist already, so that nothing is trained, and the recipes are
        those of `given`; None trains them.
    """

    task: Task
    recipe: Recipe
    sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    looks: tuple[int, ...]
    perturbations: dict[str, Perturbation]
    checkpoints: dict[str, Perturbation]
    ladder: Ladder | None
    kinds: tuple[str, ...]
    axes: tuple[str, ...]
    tolerances: Tolerances
    alpha: float
    scale: str
    fit: str
    profile: str
    device: str
    cache_dir: Path | None
    budget: int
    measure_timeout: float | None
    executor_timeout: float

    given: Family | MeasuredFamily | None = None

    @property
    def descriptions(self) -> dict[str, str]:
        """The baseline and the perturbed recipes in words, by name."""
        if self.given is not None:
            return dict(self.given.descriptions)
        return {name: str(recipe) for name, recipe in self.recipes().items()}

    @property
    def ladder_name(self) -> str | None:
        """What reports call the ladder; None without one."""
        if self.given is not None:
            return self.given.ladder_name if any_rests_on(self.kinds, TASKS) else None
        return self.ladder.name if self.ladder else None

    @property
    def checks(self) -> list[Check]:
        """The audit's checks, in the order in which they are reported."""
        return plan_checks(self.kinds, self.perturbations, self.checkpoints, self.axes)

    def recipes(self, names: Sequence[str] | None = None) -> dict[str, Recipe]:
        """Return the baseline and the perturbed recipes by name, or only those in `names`."""
        recipes = {BASELINE: self.recipe}
        changes = {**self.perturbations, **self.checkpoints}
        recipes |= {name: change(self.recipe) for name, change in changes.items()}
        return (
            recipes if names is None else {name: recipes[name] for name in recipes if name in names}
        )

    def plan(
        self,
        names: Sequence[str] | None = None,
        *,
        with_ladder: bool = True,
        with_equivalents: bool = True,
    ) -> FamilyPlan:
        """Return the family to train, whole or with the recipes in `names` alone."""
        from pytest_fragility.families.plan import FamilyPlan

        return FamilyPlan(
            self.task,
            self.recipes(names),
            self.sizes,
            self.seeds,
            self.ladder if with_ladder else None,
            with_equivalents=with_equivalents and any_rests_on(self.kinds, PAIRS),
        )
