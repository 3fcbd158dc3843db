"""Families: a grid of trained runs, and what is known of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_fragility._util.text import shown
from pytest_fragility.curves.resources import DATA, NETWORKS, STOPPING_POINTS, TASKS, TRAINING
from pytest_fragility.errors import SettingsError, UndefinedMeasureError
from pytest_fragility.families.grids import Grid, Place
from pytest_fragility.families.observations import Observed
from pytest_fragility.families.plan import FamilyPlan
from pytest_fragility.families.selection import Asked
from pytest_fragility.networks.runs import TrainedRun
from pytest_fragility.networks.stack_cache import StacksOfRuns
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.recipes import Recipe

if TYPE_CHECKING:
    import torch
    from typing_extensions import Self

    from pytest_fragility.networks.stacks import NetworkStack
    from pytest_fragility.networks.trained_network import OracleNetwork, TrainedNetwork
    from pytest_fragility.parallel.futures import Executors
    from pytest_fragility.tasks.task import Task


class TrainedFamily(Observed):
    """A grid of trained runs, and what is known of it; `Family` adds the ways in and out."""

    def __init__(
        self,
        plan: FamilyPlan,
        trained: Mapping[Place, TrainedRun],
        device: torch.device,
        rungs: Sequence[Self] = (),
        equivalents: Self | None = None,
        executors: Executors | None = None,
        *,
        stacks: StacksOfRuns | None = None,
        lost_rungs: Mapping[str, str] | None = None,
        source: str = "",
        grid: Grid | None = None,
        descriptions: Mapping[str, str] | None = None,
        test_size: int | None = None,
        has_samples: bool = True,
        ladder_notes: Sequence[str] = (),
        asked: Asked | None = None,
        choose: Callable[[Asked], Any] | None = None,
    ) -> None:
        self.plan = plan
        self.device = device
        self.executors = executors
        self.equivalents = equivalents
        self.rungs = tuple(rungs)
        self.lost_rungs = dict(lost_rungs or {})
        self.stacks = StacksOfRuns(device) if stacks is None else stacks
        self.source = source
        self.grid = grid or Grid(plan.sizes, dict.fromkeys(plan.recipes, plan.seeds))
        self.ladder_notes = tuple(ladder_notes)
        self.asked = asked or Asked()
        self._trained = trained
        self._descriptions = descriptions or {}
        self._test_size = test_size
        self._has_samples = has_samples
        self._choose = choose

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
        return self.grid.seeds.get(recipe, ())

    @property
    def descriptions(self) -> dict[str, str]:
        """Recipes in words, by name."""
        return {name: self.description_of(name) for name in self.recipes}

    def description_of(self, recipe: str) -> str:
        """Return a recipe in words."""
        return self._descriptions.get(recipe) or str(self.recipes[recipe])

    @property
    def judged(self) -> list[str]:
        """Names of the recipes that have a learning curve."""
        return [name for name in self.recipes if name not in self.grid.incomplete]

    @property
    def test_size(self) -> int:
        """Test samples; zero where that is not known."""
        known = self._test_size
        return len(self.task.data.test_labels) if known is None else known

    @property
    def ladder_name(self) -> str | None:
        """What reports call the ladder; None without one."""
        return self.plan.ladder.name if self.plan.ladder else None

    @property
    def offers(self) -> frozenset[str]:
        """What kinds of checks may need of it."""
        has = {
            TRAINING: self.equivalents is not None,
            DATA: self._has_samples,
            NETWORKS: True,
            STOPPING_POINTS: bool(self.checkpoints),
            TASKS: self.plan.ladder is not None,
        }
        return frozenset(resource for resource, is_there in has.items() if is_there)

    def audited(self, asked: Asked) -> Self:
        """Return the family of which this is audited; one that was trained here, as it is."""
        if self._choose:
            chosen: Self = self._choose(asked)
            return chosen
        for name, value in vars(asked).items():
            if value is not None:
                raise SettingsError(
                    f"{name}={shown(value)}: family= is a family that was trained here, and is "
                    "audited as it is"
                )
        if BASELINE not in self.recipes:
            raise SettingsError(f"family=: it has no recipe {BASELINE!r}, but {list(self.recipes)}")
        return self

    def require_networks(self) -> Self:
        """Return the family itself: it has networks."""
        return self

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
        return self._part(plan=replace(self.plan, recipes=recipes), _trained=trained)

    def _require_recipes(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self.recipes:
                raise KeyError(f"recipe {name!r}: this family has {', '.join(self.recipes)}")

    def without_seeds(self, seeds: Collection[int]) -> Self:
        """Return the family without some seeds; networks with the same function stay."""

        def kept(own: Sequence[int]) -> tuple[int, ...]:
            return tuple(seed for seed in own if seed not in seeds)

        own = {recipe: kept(each) for recipe, each in self.grid.seeds.items()}
        return self._part(
            plan=replace(self.plan, seeds=kept(self.seeds)),
            rungs=tuple(rung.without_seeds(seeds) for rung in self.rungs),
            grid=replace(self.grid, seeds=own),
            _trained={place: run for place, run in self._trained.items() if place[2] not in seeds},
        )

    def _part(self, **changes: Any) -> Self:
        """Return a family of some of its networks; what was worked out of them serves it too."""
        part = copy(self)
        vars(part).update(changes)
        return part

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

        if self.source:
            raise UndefinedMeasureError(
                f"{self.source}: the test set is not known of networks that were trained "
                "elsewhere; their test error is in the manifest"
            )
        return OracleNetwork.build(self.trained_run(recipe, n, seed), recipe, self.device)
