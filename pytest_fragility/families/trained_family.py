"""Families: a grid of runs, planned, then trained or read from the store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.families.plan import FamilyPlan
from pytest_fragility.networks.runs import TrainedRun
from pytest_fragility.networks.stack_cache import StacksOfRuns
from pytest_fragility.recipes import Recipe

if TYPE_CHECKING:
    import torch
    from typing_extensions import Self

    from pytest_fragility.families.selection import Asked
    from pytest_fragility.networks.stacks import NetworkStack
    from pytest_fragility.networks.trained_network import OracleNetwork, TrainedNetwork
    from pytest_fragility.parallel.futures import Executors
    from pytest_fragility.tasks.task import Task


class TrainedFamily:
    """A grid of trained runs, and what is known of it; `Family` adds the ways in and out."""

    def __init__(
        self,
        plan: FamilyPlan,
        trained: Mapping[tuple[str, int, int], TrainedRun],
        device: torch.device,
        rungs: Sequence[Self] = (),
        equivalents: Self | None = None,
        executors: Executors | None = None,
        origin: Origin | None = None,
        stacks: StacksOfRuns | None = None,
        lost_rungs: Mapping[str, str] | None = None,
    ) -> None:
        self.plan = plan
        self.origin = origin
        self.device = device
        self.executors = executors
        self.equivalents = equivalents
        self.rungs = tuple(rungs)
        self.lost_rungs = dict(lost_rungs or {})
        self.stacks = StacksOfRuns(device) if stacks is None else stacks
        self._trained = trained

    @property
    def task(self) -> Task:
        """What the family has learned."""
        return self.plan.task

    @property
    def recipes(self) -> dict[str, Recipe]:
        """Recipes by name."""
        return self.plan.recipes

    @property
    def sizes(self) -> tuple[int, ...]:
        """Training set sizes."""
        return self.plan.sizes

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds."""
        return self.plan.seeds

    def seeds_of(self, recipe: str) -> tuple[int, ...]:
        """Return the seeds of one recipe's runs: those of the family, where it was trained here."""
        return self.origin.seeds.get(recipe, ()) if self.origin else self.plan.seeds

    @property
    def descriptions(self) -> dict[str, str]:
        """Recipes in words, by name."""
        return {name: self.description_of(name) for name in self.recipes}

    def description_of(self, recipe: str) -> str:
        """Return a recipe in words."""
        return self.origin.descriptions[recipe] if self.origin else str(self.recipes[recipe])

    @property
    def judged(self) -> list[str]:
        """Names of the recipes that have a learning curve."""
        incomplete = self.origin.incomplete if self.origin else {}
        return [name for name in self.recipes if name not in incomplete]

    @property
    def source(self) -> str:
        """What reports say of where its networks come from; empty for those trained here."""
        return self.origin.source if self.origin else ""

    @property
    def test_size(self) -> int:
        """Test samples; zero where that is not known."""
        return self.origin.test_size if self.origin else len(self.task.data.test_labels)

    def __len__(self) -> int:
        return len(self._trained)

    def __iter__(self) -> Iterator[TrainedNetwork]:
        return self.select()

    def __getitem__(self, place: tuple[str, str, int, int]) -> TrainedNetwork:
        task, recipe, n, seed = place
        learned: list[TrainedFamily] = [*self.rungs, self]
        families = {family.task.name: family for family in learned}
        if task not in families:
            raise KeyError(f"task {task!r}: this family has learned {', '.join(families)}")
        return families[task]._network(families[task].trained_run(recipe, n, seed), recipe)

    def select(
        self, *, recipe: str | None = None, n: int | None = None, seed: int | None = None
    ) -> Iterator[TrainedNetwork]:
        """Return an iterator over the networks with this recipe, size and seed; None takes all.

        Raises
        ------
        KeyError
            If the family has no recipe of this name.
        """
        self._require_recipes([] if recipe is None else [recipe])
        return (
            self._network(trained, name)
            for (name, size, run_seed), trained in self._trained.items()
            if recipe in (None, name) and n in (None, size) and seed in (None, run_seed)
        )

    def with_recipes(self, names: Sequence[str]) -> Self:
        """Return the family without its other recipes; itself where it has no others.

        Raises
        ------
        KeyError
            If it has no recipe of one of the names.
        """
        self._require_recipes(names)
        if set(names) == set(self.recipes):
            return self
        recipes = {name: self.recipes[name] for name in self.recipes if name in names}
        trained = {place: run for place, run in self._trained.items() if place[0] in recipes}
        plan = replace(self.plan, recipes=recipes)
        return self._with(plan, trained, self.rungs, self.origin)

    def _require_recipes(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self.recipes:
                raise KeyError(f"recipe {name!r}: this family has {', '.join(self.recipes)}")

    def without_seeds(self, seeds: Collection[int]) -> Self:
        """Return the family without some seeds; networks with the same function stay."""
        plan = replace(self.plan, seeds=tuple(s for s in self.seeds if s not in seeds))
        trained = {place: run for place, run in self._trained.items() if place[2] not in seeds}
        rungs = [rung.without_seeds(seeds) for rung in self.rungs]
        origin = self.origin and self.origin.without_seeds(seeds)
        return self._with(plan, trained, rungs, origin)

    def _with(
        self,
        plan: FamilyPlan,
        trained: Mapping[tuple[str, int, int], TrainedRun],
        rungs: Sequence[Self],
        origin: Origin | None,
    ) -> Self:
        """Return a family of some of its networks; what was worked out of them serves it too."""
        return type(self)(
            plan,
            trained,
            self.device,
            rungs,
            self.equivalents,
            self.executors,
            origin,
            self.stacks,
            self.lost_rungs,
        )

    def trained_run(self, recipe: str, n: int, seed: int) -> TrainedRun:
        """Return one run with its record.

        Raises
        ------
        KeyError
            If the family has no such run; it says what there is.
        """
        try:
            return self._trained[recipe, n, seed]
        except KeyError:
            raise KeyError(
                f"no run with recipe {recipe!r}, n={n}, seed={seed}; this family has recipes "
                f"{', '.join(self.recipes)}, sizes {self.sizes}, seeds {self.seeds}"
            ) from None

    def stack(self, recipe: str, n: int) -> NetworkStack:
        """Return the networks of one recipe and size, one per seed, stacked.

        The same object each time, so that what one measure has worked out serves the next, also
        where this asks about networks that another family shares.
        """
        return self.stacks.of([self.trained_run(recipe, n, s) for s in self.seeds_of(recipe)])

    def describe(self, recipe: str, n: int, *seeds: int) -> str:
        """Return what messages call the runs with these seeds."""
        which = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}"
        words = self.description_of(recipe)
        return f"task {self.task.name}, recipe {recipe} ({words}), n={n}, {which}"

    def _network(self, trained: TrainedRun, recipe_name: str) -> TrainedNetwork:
        from pytest_fragility.networks.trained_network import TrainedNetwork

        return TrainedNetwork.build(trained, recipe_name, self.device)

    def oracle_network(self, recipe: str, n: int, seed: int) -> OracleNetwork:
        """Return a network that, unlike all others, also carries the test set."""
        from pytest_fragility.networks.trained_network import OracleNetwork

        if self.origin:
            self.origin.refuse_oracles()
        return OracleNetwork.build(self.trained_run(recipe, n, seed), recipe, self.device)


@dataclass(frozen=True, eq=False)
class Origin:
    """What is known of a family of networks that were trained elsewhere.

    Parameters
    ----------
    source
        What reports say of where they come from, such as ``networks from manifest.csv``.
    descriptions
        Recipes in words, by name.
    seeds
        By recipe name: those with a network of each size.
    test_size
        Test samples; zero where that is not known.
    has_samples
        Whether it is known which samples each network was trained on.
    select
        Returns the family of which something else is audited.
    left_out
        By recipe name: sentences on what is missing.
    incomplete
        By recipe name: why it has no learning curve.
    ladder_notes
        Sentences on what is missing of the tasks of the ladder.
    no_ladder
        Why the tasks of the ladder cannot be compared; empty where they can, or where there are
        none.
    """

    source: str
    descriptions: Mapping[str, str]
    seeds: Mapping[str, tuple[int, ...]]
    test_size: int
    has_samples: bool
    select: Callable[[Asked], Any]
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    incomplete: Mapping[str, str] = field(default_factory=dict)
    ladder_notes: tuple[str, ...] = ()
    no_ladder: str = ""

    def without_seeds(self, seeds: Collection[int]) -> Origin:
        """Return the origin of the family without some seeds."""
        kept = {
            recipe: tuple(seed for seed in own if seed not in seeds)
            for recipe, own in self.seeds.items()
        }
        return replace(self, seeds=kept)

    def refuse_oracles(self) -> None:
        """Raise where a control measure asks for the test set, which is not known here."""
        raise UndefinedMeasureError(
            f"{self.source}: the test set is not known of networks that were trained elsewhere; "
            "their test error is in the manifest"
        )
