"""Families: a grid of runs, planned, then trained or read from the store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_fragility._util.stopwatch import STORE, TRAINING, WAITING, spent_on
from pytest_fragility.errors import FragilityError, TaskError
from pytest_fragility.networks.runs import Run, TrainedRun
from pytest_fragility.networks.stack_cache import StacksOfRuns
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.recipes import Factory, Recipe
from pytest_fragility.recipes.invariances import EQUIVALENCES

if TYPE_CHECKING:
    import torch

    from pytest_fragility.elsewhere.origins import Origin
    from pytest_fragility.families.tables import MeasuredFamily
    from pytest_fragility.families.train import TrainingBudget
    from pytest_fragility.networks.stacks import NetworkStack
    from pytest_fragility.networks.trained_network import OracleNetwork, TrainedNetwork
    from pytest_fragility.parallel import Executors
    from pytest_fragility.store import Store
    from pytest_fragility.tasks.ladders import Ladder
    from pytest_fragility.tasks.task import Task

    pass


# an identity holds for one seed or for none; the second guards against luck
EQUIVALENT_SEEDS = 2


Progress = Callable[[int, int, float], None]


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


def train_families(
    plans: Sequence[FamilyPlan],
    *,
    device: torch.device,
    store: Store | None = None,
    progress: Progress | None = None,
    budget: TrainingBudget | None = None,
    executors: Executors | None = None,
) -> list[Family]:
    """Return the planned families, each run trained once or read from the store.

    Parameters
    ----------
    plans
        The grids; runs that stand in several are trained once.
    device
        Where to train.
    store
        Where trained runs are kept; None keeps nothing.
    progress
        Called as ``progress(runs done, runs to train, share of the work done)`` while training.
    budget
        Charged with what is to be trained; None has no limit.
    executors
        Who else may train, and measure; None has all done on this machine.

    Raises
    ------
    SettingsError
        If an architecture's function is no longer what it was when its code was read.
    TaskError
        If a pool is too small for the sizes asked, or two tasks of a plan have one name.
    BudgetError
        If more would be trained than the budget has left.
    StoreError
        If a trained run cannot be written.
    """
    from pytest_fragility.training.trainer import training_environment

    asked = plans
    for plan in asked:
        _require_one_task_of_a_name(plan)
    lost = {id(plan): _lost_rungs(plan) for plan in asked}
    plans = [
        part
        for plan in asked
        for part in plan.parts
        if part not in plan.rungs or part.task.name not in lost[id(plan)]
    ]
    for factory in _factories(plans):
        factory.require_unchanged()
    environment = training_environment(device)
    _require_subsets(run for plan in plans for run in plan.runs.values())
    keys = [{place: run.key(environment) for place, run in plan.runs.items()} for plan in plans]
    runs = {
        key: plan.runs[place]
        for plan, plan_keys in zip(plans, keys, strict=True)
        for place, key in plan_keys.items()
    }
    trained = _load(runs, store)
    if len(trained) < len(runs):
        trained |= _train_missing(runs, trained, device, store, progress, budget, executors)
    found = {
        id(plan): {
            place: replace(trained[key], run=plan.runs[place]) for place, key in plan_keys.items()
        }
        for plan, plan_keys in zip(plans, keys, strict=True)
    }

    # audits that ask for the same networks share what measures work out of them
    stacks = StacksOfRuns(device)

    def family(plan: FamilyPlan) -> Family:
        missing = lost.get(id(plan), {})
        rungs = [family(rung) for rung in plan.rungs if rung.task.name not in missing]
        equivalents = family(plan.equivalents) if plan.equivalents else None
        trained = found[id(plan)]
        return Family(
            plan,
            trained,
            device,
            rungs,
            equivalents,
            executors,
            stacks=stacks,
            lost_rungs=missing,
        )

    return [family(plan) for plan in asked]


def _factories(plans: Sequence[FamilyPlan]) -> list[Factory]:
    """Return the functions that networks will be made by, each once."""
    found: list[Factory] = []
    for architecture in (r.architecture for plan in plans for r in plan.recipes.values()):
        if isinstance(architecture, Factory) and not any(f is architecture for f in found):
            found.append(architecture)
    return found


def _require_one_task_of_a_name(plan: FamilyPlan) -> None:
    """Raise where networks, curves and tables of two tasks would be known by one name."""
    own = plan.task
    for task in plan.ladder.tasks if plan.ladder else ():
        if task.name == own.name and task.data.fingerprint != own.data.fingerprint:
            raise TaskError(
                f"task {task.name!r} of the ladder is called as the audited one, and has other "
                "data; give one of them another name"
            )


def _lost_rungs(plan: FamilyPlan) -> dict[str, str]:
    """Return why tasks of a plan's ladder cannot be learned, by name.

    They keep the ladder from being judged, and nothing else.
    """
    lost = {}
    for rung in plan.rungs:
        # the audit's own task is needed for all
        if rung.task is plan.task:
            continue
        try:
            _require_subsets(rung.runs.values())
            next(iter(rung.runs.values())).build_network()
        except FragilityError as error:
            lost[rung.task.name] = str(error)
    return lost


def _require_subsets(runs: Iterable[Run]) -> None:
    """Raise where a pool cannot give the subsets asked for, before anything is trained."""
    from pytest_fragility.tasks.sampling import training_subset

    smallest: dict[tuple[Task, int], int] = {}
    for run in runs:
        pool_size = len(run.task.data.train_labels)
        if run.n > pool_size:
            raise TaskError(
                f"size {run.n}: the training pool of task {run.task.name!r} has only {pool_size} "
                "samples; ask for smaller sizes"
            )
        place = (run.task, run.seed)
        smallest[place] = min(run.n, smallest.get(place, run.n))
    for (task, seed), n in smallest.items():
        try:
            # subsets are nested: what the smallest one has, all have
            training_subset(task.data, n, seed)
        except TaskError as error:
            raise TaskError(f"task {task.name!r}: {error}") from None


def _load(runs: dict[str, Run], store: Store | None) -> dict[str, TrainedRun]:
    if store is None:
        return {}
    with spent_on(STORE) as spent:
        loaded = {key: store.load(run, key) for key, run in runs.items()}
        found = {key: trained for key, trained in loaded.items() if trained is not None}
        spent.networks += len(found)
    return found


@contextmanager
def _nobody_else_trains(store: Store | None) -> Iterator[None]:
    """Wait until no other process trains for this store, and keep it so."""
    with ExitStack() as stack:
        if store:
            with spent_on(WAITING):
                stack.enter_context(store.lock())
        yield


def _train_missing(
    runs: dict[str, Run],
    known: dict[str, TrainedRun],
    device: torch.device,
    store: Store | None,
    progress: Progress | None,
    budget: TrainingBudget | None,
    executors: Executors | None,
) -> dict[str, TrainedRun]:
    from pytest_fragility.training.trainer import train

    keys = {id(run): key for key, run in runs.items()}
    with _nobody_else_trains(store):
        missing = {key: run for key, run in runs.items() if key not in known}
        found = _load(missing, store)
        missing = {key: run for key, run in missing.items() if key not in found}
        if budget:
            budget.spend(len(missing))
        report = _Reporter(list(missing.values()), progress)
        with spent_on(TRAINING) as spent:
            for batch in train(list(missing.values()), device, executors):
                spent.networks += len(batch)
                with spent_on(STORE):
                    for trained in batch:
                        key = keys[id(trained.run)]
                        found[key] = trained
                        if store:
                            store.save(trained, key)
                report.finished([trained.run for trained in batch])
    return found


class _Reporter:
    """Counts finished runs, and their share of the work: a run takes about n times as long."""

    def __init__(self, runs: Sequence[Run], progress: Progress | None) -> None:
        self._progress = progress
        self._total, self._work = len(runs), sum(run.n for run in runs)
        self._done, self._work_done = 0, 0
        self._tell()

    def finished(self, runs: Sequence[Run]) -> None:
        self._done += len(runs)
        self._work_done += sum(run.n for run in runs)
        self._tell()

    def _tell(self) -> None:
        if self._progress and self._total:
            self._progress(self._done, self._total, self._work_done / self._work)
