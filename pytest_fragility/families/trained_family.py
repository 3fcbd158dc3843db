"""Families: a grid of runs, planned, then trained or read from the store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.families.plan import FamilyPlan
from pytest_fragility.networks.runs import TrainedRun
from pytest_fragility.networks.stack_cache import StacksOfRuns
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.recipes import Recipe

if TYPE_CHECKING:
    import torch

    from pytest_fragility.families.measured_family import MeasuredFamily
    from pytest_fragility.families.selection import Asked
    from pytest_fragility.networks.stacks import NetworkStack
    from pytest_fragility.networks.trained_network import OracleNetwork, TrainedNetwork
    from pytest_fragility.parallel.futures import Executors
    from pytest_fragility.tasks.task import Task


class Family:
    """A trained family: iterable over its networks, indexable by task, recipe, n and seed.

    It iterates over the networks of its own task; those of a ladder's tasks are in `rungs`.

    Parameters
    ----------
    plan
        The grid.
    trained
        Every run of the plan, by recipe name, n and seed.
    device
        Where its networks live.
    rungs
        Families of the ladder's tasks, under the baseline alone.
    equivalents
        The family of the pairs of trainings that give the same function.
    executors
        Who else may measure its networks; None has all measured in this process.
    origin
        What is known of networks that were trained elsewhere; None for those trained here.
    stacks
        What families with networks in common have of them together; None begins anew.
    lost_rungs
        By task name: why tasks of the ladder have no family.

    Examples
    --------
    >>> network = family["digits", "adam", 128, 0]
    >>> [network.n for network in family.select(recipe="baseline", seed=0)]
    [32, 64, 128, 256, 512, 1024]
    """

    def __init__(
        self,
        plan: FamilyPlan,
        trained: Mapping[tuple[str, int, int], TrainedRun],
        device: torch.device,
        rungs: Sequence[Family] = (),
        equivalents: Family | None = None,
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

    @classmethod
    def from_table(cls, table: Any, *, baseline: str = BASELINE) -> MeasuredFamily:
        """Return the values of measures that were taken elsewhere, to be audited as they are.

        A table has one row for each network, and the columns ``recipe`` (``baseline`` or a
        perturbation's name), ``n``, ``seed`` and ``test_error`` (the share of test samples that
        were mistaken); each further column holds a measure's values. ``task`` names the task; the
        baselines of several tasks are a ladder. With ``test_size``, the number of test samples,
        intervals carry a bound on the noise of a finite test set, and with ``mistaken``
        (``numpy.packbits(mistaken).tobytes().hex()``) that noise itself; without either they hold
        for this test set alone. ``parameters`` (how many a network has), ``description`` (a recipe
        in words), ``reached_target``, ``diverged`` (whether a training did) and ``unfinished`` (in
        words, what is wrong with one) may be there too. A column whose name begins with ``_`` is a
        comment. Recipes that are called as changes of the stopping rule alone, such as ``past-x2``,
        serve the check of stopping; ``stop-accuracy`` is a perturbation, too.

        Parameters
        ----------
        table
            The path of a file of CSV, JSON or JSON Lines, gzipped or not; a data frame of pandas,
            polars, Arrow or another library that narwhals knows; a list of dicts, or a dict of
            columns. Columns that count the rows are left out.
        baseline
            The name of the recipe that is the baseline.

        Returns
        -------
        MeasuredFamily
            For ``audit("path_norm", family=...)``; `MeasuredFamily.curves` gives learning curves.

        Raises
        ------
        TableError
            If the table cannot be used; all rows that are wrong are named together.

        Examples
        --------
        >>> audit("path_norm", family=Family.from_table("values.csv"))
        """
        from pytest_fragility.families.tables import read_table

        return read_table(table, baseline=baseline)

    @classmethod
    def from_checkpoints(
        cls,
        manifest: Any,
        *,
        architecture: Any = None,
        architectures: Mapping[str, Any] | None = None,
        tasks: Mapping[str, Task] | None = None,
        baseline: str = BASELINE,
        device: str = "auto",
    ) -> Family:
        """Return networks that were trained elsewhere, from a list of their checkpoints.

        A manifest has one row for each network, and the columns ``checkpoint`` (a file of
        safetensors, one of `torch.save` with a state dict in it, or the index of several; told by
        content, relative to the manifest), ``recipe``, ``n``, ``seed`` and ``test_error``. The
        further columns may be left out, and what they would say is then not known: a measure that
        asks for it is told which column to add.

        ``initial_checkpoint`` holds the weights before training; ``samples`` names a file (text,
        one number a line, or ``.npy``) with the rows of the task's training pool that the network
        was trained on, its first n counting; which samples those are is never guessed. ``task``
        names a built-in task, one of `tasks`, or is a label, whose data are not known.
        ``architecture`` is a built-in name, JSON with ``kind`` and parameters, or a name of
        `architectures`: nothing is imported because a file names it. ``optimizer`` (a name or
        JSON), ``lr``, ``momentum``, ``batch_size`` and all other fields of a `Recipe` say how a
        network was trained, as far as a measure asks; a field that a row with any of them leaves
        out has its default. ``test_size``, ``mistaken``, ``train_loss``, ``train_error``,
        ``steps``, ``reached_target`` and ``diverged`` say how training went. A column whose name
        begins with ``_`` is a comment.

        Checkpoints are read when a network is first asked for, all of them, and stay in memory;
        measures are asked about them in this process.

        Parameters
        ----------
        manifest
            The path of a file of CSV, JSON or JSON Lines, gzipped or not; a data frame of pandas,
            polars, Arrow or another library that narwhals knows; a list of dicts, or a dict of
            columns. Columns that count the rows are left out.
        architecture
            The networks of rows that do not say: an architecture, a name, a function that returns a
            new module, or ``module:function``, which rows may then call so, too.
        architectures
            The same by the names that the manifest gives them.
        tasks
            Tasks by the names that the manifest gives them.
        baseline
            The name of the recipe that is the baseline.
        device
            Where measures are asked about them: ``auto``, ``cpu``, ``cuda``, ``cuda:1``.

        Raises
        ------
        TableError
            If the manifest cannot be used, or later, if checkpoints cannot: all of them are named
            together.
        """
        from pytest_fragility.families.checkpoints import read_checkpoints
        from pytest_fragility.families.manifests import given_architectures

        given = given_architectures(architecture, architectures)
        return read_checkpoints(manifest, given, tasks=tasks, baseline=baseline, device=device)

    def export(self, folder: Path | str, *, overwrite: bool = False) -> None:
        """Write all networks to a folder, with a manifest that `from_checkpoints` reads.

        The folder is written whole or not at all: ``manifest.csv``, one file of safetensors for
        each network's weights and for its initial weights, and the rows of the pool that each seed
        trains on. Pairs of trainings with the same function are left out. All tasks of the file are
        the ladder of what is read back, the audited one too; tasks and architectures that are not
        built in have to be handed over to `from_checkpoints` again, a function by the place that
        the manifest calls it by: ``architectures={"mymodule:build": build}``.

        Parameters
        ----------
        folder
            Made; its parent must be there.
        overwrite
            Whether a folder that an export has made may be replaced.

        Raises
        ------
        TableError
            If the folder is there, or cannot be written.
        """
        from pytest_fragility.families.export import export

        export(self, Path(folder), overwrite=overwrite)

    def __len__(self) -> int:
        return len(self._trained)

    def __iter__(self) -> Iterator[TrainedNetwork]:
        return self.select()

    def __getitem__(self, place: tuple[str, str, int, int]) -> TrainedNetwork:
        task, recipe, n, seed = place
        families = {family.task.name: family for family in (*self.rungs, self)}
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

    def with_recipes(self, names: Sequence[str]) -> Family:
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

    def without_seeds(self, seeds: Collection[int]) -> Family:
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
        rungs: Sequence[Family],
        origin: Origin | None,
    ) -> Family:
        """Return a family of some of its networks; what was worked out of them serves it too."""
        return Family(
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
    select: Callable[[Asked], Family]
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
