"""Families of networks that were trained elsewhere, from the list of their checkpoints."""

from __future__ import annotations

import inspect
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pytest_fragility._util.files import size_of
from pytest_fragility._util.text import shown
from pytest_fragility.checks.check import COMPLEXITY, SYMMETRY
from pytest_fragility.elsewhere.ladders import common_ground
from pytest_fragility.elsewhere.origins import Origin
from pytest_fragility.errors import SettingsError, TableError, TaskError
from pytest_fragility.families.manifests import (
    INITIAL,
    SAMPLES,
    STEPS,
    TRAIN_ERROR,
    TRAIN_LOSS,
    GivenArchitectures,
    ListedNetwork,
    Manifest,
    given_architectures,
    read_manifest,
)
from pytest_fragility.families.measured_family import told
from pytest_fragility.families.observations import Grid, complete_grid
from pytest_fragility.families.selection import Asked, Selection, ladder_name, roles, select
from pytest_fragility.families.trained_family import Family, FamilyPlan
from pytest_fragility.networks.runs import Run, TrainedRun, TrainingRecord
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.recipes import Factory
from pytest_fragility.recipes.factories import GIVEN
from pytest_fragility.rows.counted_errors import what_is_unknown
from pytest_fragility.settings import FAMILY, MANIFEST
from pytest_fragility.settings.existing import (
    NEEDS_DATA,
    NEEDS_STOPPING_POINTS,
    NEEDS_TASKS,
    NEEDS_TRAINING,
    Given,
    file_content,
)
from pytest_fragility.tasks import Ladder, Task, get_task
from pytest_fragility.training.devices import choose_device
from pytest_fragility.weight_files.reading import read_state
from pytest_fragility.weight_files.sample_files import read_samples
from pytest_fragility.weight_files.unusable import UnusableFileError

if TYPE_CHECKING:
    import numpy.typing as npt

    pass


Place = tuple[str, int, int]


# 100 MB of them
MANY_WEIGHTS = 25_000_000


class TaskWithoutData(Task):
    """A task of which nothing is known but its name."""


def _label(name: str) -> Task:
    def load() -> Any:
        raise TaskError(no_data(name))

    return TaskWithoutData(name, load)


def no_data(name: str) -> str:
    """Return what to say where the data of a task are asked for, and only its name is known."""
    return (
        f"the data of task {name!r} are not known: it is no built-in task. Hand it over: "
        f"Family.from_checkpoints(..., tasks={{{name!r}: Task(...)}})"
    )


@dataclass(frozen=True, eq=False)
class RunElsewhere(Run):
    """A run that was made elsewhere.

    Parameters
    ----------
    task, n, recipe, seed
        As of a `Run`; the seed says which runs are paired.
    recipe_name
        Its recipe's.
    is_described
        Whether the recipe is known.
    samples
        The rows of the pool that it was trained on; None where they are not known.
    """

    recipe_name: str = BASELINE
    is_described: bool = False
    samples: npt.NDArray[np.int64] | None = field(default=None, repr=False)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What decides the randomness of its measures: as of a run here, as far as it is known."""
        is_label = isinstance(self.task, TaskWithoutData)
        named = {} if self.is_described else {"recipe_name": self.recipe_name}
        return {
            "data": f"task {self.task.name}" if is_label else self.task.data.fingerprint,
            "n": self.n,
            "recipe": self.recipe.to_dict(),
            "seed": self.seed,
            **named,
        }

    def rows(self) -> npt.NDArray[np.int64]:
        """Return the rows of the pool that it was trained on, shape (n,)."""
        assert self.samples is not None
        pool = len(self.task.data.train_labels)
        if int(self.samples.max()) >= pool:
            raise TableError(
                f"{self}: row {int(self.samples.max())} of the training pool is among its samples, "
                f"which has {pool} rows"
            )
        return self.samples

    @property
    def samples_id(self) -> Hashable:
        """Equal for runs of one task on the same samples."""
        # of samples that nobody knows, none are known to be the same
        return self if self.samples is None else (self.task, self.samples.tobytes())

    def build_network(self) -> torch.nn.Module:
        """Return a module with the architecture; a function's own where the data are not known."""
        if not isinstance(self.task, TaskWithoutData):
            return super().build_network()
        from pytest_fragility.networks import build_network

        architecture = self.recipe.architecture
        asks = isinstance(architecture, Factory) and [
            name for name in inspect.signature(architecture.build).parameters if name in GIVEN
        ]
        if asks or not isinstance(architecture, Factory):
            needed = ", ".join(asks or GIVEN)
            raise TableError(
                f"architecture {architecture} needs {needed}, and {no_data(self.task.name)}; or "
                "name a function without parameters"
            )
        return build_network(architecture, (), 0)

    def __str__(self) -> str:
        return f"task {self.task.name}, recipe {self.recipe_name}, n={self.n}, seed {self.seed}"


@dataclass(frozen=True)
class RecordElsewhere(TrainingRecord):
    """How a training elsewhere went, as far as it is known.

    Parameters
    ----------
    steps, reached_target, diverged, train_loss, train_error, test_mistakes, test_size
        As of a `TrainingRecord`; what is not known is zero or NaN.
    corrected
        Test error, with continuity correction where the number of test samples is known.
    """

    corrected: float = 0.5

    @property
    def test_error(self) -> float:
        """Test error, with continuity correction where the number of test samples is known."""
        return self.corrected


class Checkpoints(Mapping[Place, TrainedRun]):
    """Trained runs by recipe, n and seed, all read when the first is asked for.

    Parameters
    ----------
    name
        The manifest's.
    listed
        Its rows, by recipe, n and seed.
    task
        What they have learned.
    known
        Those that are read already, by their row; shared among the families of a manifest.
    """

    def __init__(
        self,
        name: str,
        listed: Mapping[Place, ListedNetwork],
        task: Task,
        known: dict[str, TrainedRun],
    ) -> None:
        self._name = name
        self._listed = listed
        self._task = task
        self._known = known

    def __getitem__(self, place: Place) -> TrainedRun:
        row = self._listed[place]
        if row.where not in self._known:
            self._read_all()
        return self._known[row.where]

    def __iter__(self) -> Iterator[Place]:
        return iter(self._listed)

    def __len__(self) -> int:
        return len(self._listed)

    def _read_all(self) -> None:
        from pytest_fragility.rows.reading import Problems

        problems = Problems(self._name)
        for row in self._listed.values():
            if row.where in self._known:
                continue
            try:
                self._known[row.where] = trained_elsewhere(row, self._task)
            except UnusableFileError as error:
                problems.add(row.where, error.text, error.name)
            except ValueError as error:
                problems.add(row.where, str(error))
        problems.raise_if_any()


def trained_elsewhere(row: ListedNetwork, task: Task) -> TrainedRun:
    """Return the trained run of a manifest's row, its checkpoints read.

    Raises
    ------
    ValueError
        In words, if a file cannot be used.
    """
    is_label = isinstance(task, TaskWithoutData)
    samples = read_samples(row.samples, row.n) if row.samples and not is_label else None
    run = RunElsewhere(
        task, row.n, row.recipe, row.seed, row.recipe_name, row.is_described, samples
    )
    _require_room(run, row.checkpoint)
    network, dtype = run.build_network(), getattr(torch, row.recipe.precision)
    state = read_state(row.checkpoint, network, dtype)
    initial = state
    if row.initial_checkpoint:
        initial = read_state(row.initial_checkpoint, network, dtype)
    mask = row.counted.mask
    return TrainedRun(
        run,
        state,
        initial,
        RecordElsewhere(
            steps=row.steps or 0,
            reached_target=row.reached_target,
            diverged=row.diverged,
            train_loss=float("nan") if row.train_loss is None else row.train_loss,
            train_error=float("nan") if row.train_error is None else row.train_error,
            test_mistakes=round(row.counted.mistakes),
            test_size=row.counted.size,
            corrected=row.counted.corrected,
        ),
        torch.zeros(0, dtype=torch.bool) if mask is None else torch.from_numpy(mask),
        _unknown(row, is_label=is_label),
    )


def _require_room(run: RunElsewhere, checkpoint: Path) -> None:
    """Raise where a manifest names a network that is far larger than its checkpoint."""
    from pytest_fragility.networks.building import count_weights

    architecture = run.recipe.architecture
    if isinstance(architecture, Factory) or isinstance(run.task, TaskWithoutData):
        return
    data = run.task.data
    count = count_weights(architecture, data.input_shape, data.classes)
    # a small file may be a list of others, or of another architecture, which is told better later
    if count > MANY_WEIGHTS and count > (size := size_of(checkpoint)):
        raise TableError(
            f"architecture {architecture} has {count:,} weights, and {checkpoint.name} "
            f"{size:,} bytes"
        )


def _unknown(row: ListedNetwork, *, is_label: bool) -> dict[str, str]:
    """Return the parts of a network that are not known, and what to do about it."""
    unknown: dict[str, str] = {}
    if is_label:
        unknown |= dict.fromkeys(("inputs", "labels"), no_data(row.task))
    elif row.samples is None:
        text = (
            "which samples it was trained on is not known; add a column "
            f"{SAMPLES} to the manifest, which names a file with rows of the training pool"
        )
        unknown |= dict.fromkeys(("inputs", "labels"), text)
    if row.initial_checkpoint is None:
        unknown["initial_model"] = _add("its initial weights are", INITIAL)
    if not row.is_described:
        unknown["recipe"] = _add("how it was trained is", "optimizer, lr, batch_size, ...")
    for column, value in (
        (STEPS, row.steps),
        (TRAIN_LOSS, row.train_loss),
        (TRAIN_ERROR, row.train_error),
    ):
        if value is None:
            unknown[column] = _add(f"its {column} is", column)
    return unknown


def _add(what: str, column: str) -> str:
    return f"{what} not known; add a column {column} to the manifest"


@dataclass(frozen=True, eq=False)
class Source:
    """A manifest with its tasks, of which families are made.

    Parameters
    ----------
    manifest
        The list.
    tasks
        By the names in it.
    device
        Where networks live.
    """

    manifest: Manifest
    tasks: Mapping[str, Task]
    device: torch.device
    _known: dict[str, TrainedRun] = field(default_factory=dict, repr=False)
    _files: list[object] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_files", self._states_of_files())

    @property
    def is_current(self) -> bool:
        """Whether the files that the manifest lists are what they were when it was read."""
        return self._files == self._states_of_files()

    def _states_of_files(self) -> list[object]:
        return [
            path and _state_of_file(path)
            for each in self.manifest.networks
            for path in (each.checkpoint, each.initial_checkpoint, each.samples)
        ]

    def family(self, asked: Asked) -> Family:
        """Return the family of what is audited.

        Raises
        ------
        TableError
            If it is not there.
        """
        chosen = select(self.manifest.name, self._places(), asked)
        listed = self._listed(chosen.task)
        grid = complete_grid(list(listed), chosen.recipes, chosen.sizes, chosen.seeds)
        if len(grid.sizes) < 2:
            raise TableError(
                f"{self.manifest.name}: task {chosen.task} has n = "
                f"{', '.join(map(str, grid.sizes)) or 'none'} alone under the baseline; a learning "
                "curve needs at least two sizes"
            )
        rungs, notes, reason = self._rungs(chosen, asked)
        return self._made(
            chosen.task, chosen.recipes, grid, rungs, tuple(notes), reason, chosen.ladder
        )

    def _places(self) -> Iterator[tuple[str, str, int, int]]:
        return ((each.task, each.recipe_name, each.n, each.seed) for each in self.manifest.networks)

    def _listed(self, task: str) -> dict[Place, ListedNetwork]:
        return {
            (each.recipe_name, each.n, each.seed): each
            for each in self.manifest.networks
            if each.task == task
        }

    def _rungs(self, chosen: Selection, asked: Asked) -> tuple[list[Family], Sequence[str], str]:
        if not chosen.ladder:
            return [], (), ""
        ground = common_ground({task: self._listed(task) for task in chosen.ladder}, asked)
        if ground.reason:
            return [], ground.notes, ground.reason
        rungs = [
            self._made(task, (BASELINE,), ground.grid, [], (), "", ()) for task in chosen.ladder
        ]
        unknown = [note for task in chosen.ladder for note in self._unknown_of(task)]
        return rungs, (*ground.notes, *dict.fromkeys(unknown)), ""

    def _unknown_of(self, task: str) -> tuple[str, ...]:
        return what_is_unknown([each.counted for each in self._listed(task).values()])

    def _made(
        self,
        task: str,
        recipes: Sequence[str],
        grid: Grid,
        rungs: Sequence[Family],
        ladder_notes: tuple[str, ...],
        no_ladder: str,
        ladder: Sequence[str],
    ) -> Family:
        listed = self._listed(task)
        first = {name: _first(listed, name) for name in recipes}
        # at the sizes that all curves have
        kept = {
            place: each
            for place, each in listed.items()
            if place[0] in grid.seeds
            and place[1] in grid.sizes
            and place[2] in grid.seeds[place[0]]
        }
        seeds = sorted({seed for own in grid.seeds.values() for seed in own})
        plan = FamilyPlan(
            self.tasks[task],
            {name: each.recipe for name, each in first.items()},
            grid.sizes,
            tuple(seeds),
            Ladder(ladder_name(ladder), [self.tasks[name] for name in ladder]) if ladder else None,
        )
        origin = Origin(
            source=f"networks from {self.manifest.name}",
            descriptions={
                name: str(each.recipe) if each.is_described else name
                for name, each in first.items()
            },
            seeds=grid.seeds,
            test_size=next(iter(listed.values())).counted.size,
            has_samples=not isinstance(self.tasks[task], TaskWithoutData)
            and all(each.samples for each in kept.values()),
            select=self.family,
            left_out=told(grid, self._unknown_of(task)),
            incomplete=grid.incomplete,
            ladder_notes=ladder_notes,
            no_ladder=no_ladder,
        )
        trained = Checkpoints(self.manifest.name, kept, self.tasks[task], self._known)
        return Family(plan, trained, self.device, rungs, origin=origin)


def _first(listed: Mapping[Place, ListedNetwork], recipe: str) -> ListedNetwork:
    return next(each for place, each in listed.items() if place[0] == recipe)


def read_checkpoints(
    manifest: Any,
    given: GivenArchitectures,
    *,
    tasks: Mapping[str, Task] | None = None,
    baseline: str = BASELINE,
    device: str = "auto",
    asked: Asked | None = None,
) -> Family:
    """Return the family of a manifest; see `Family.from_checkpoints`."""
    source = _source(manifest, given, device, tasks, baseline)
    return source.family(asked or Asked())


def _source(
    manifest: Any,
    given: GivenArchitectures,
    device: str,
    tasks: Mapping[str, Task] | None,
    baseline: str = BASELINE,
) -> Source:
    read = read_manifest(manifest, given=given, baseline=baseline)
    names = dict.fromkeys(each.task for each in read.networks)
    known = _tasks(tasks)
    return Source(read, {name: _task(name, known) for name in names}, choose_device(device))


def _state_of_file(path: Path) -> object:
    """Return what changes when a file does, of which a digest would take long."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _tasks(tasks: Any) -> Mapping[str, Task]:
    if tasks is None:
        return {}
    if not isinstance(tasks, Mapping) or not all(isinstance(t, Task) for t in tasks.values()):
        raise SettingsError(f"tasks={shown(tasks)}: expected a dict from names to tasks")
    return tasks


def _task(name: str, known: Mapping[str, Task]) -> Task:
    if name in known:
        return known[name]
    try:
        return get_task(name)
    except TaskError:
        return _label(name)


def given_networks(
    source: str, value: Any, asked: Asked, device: str, *, architecture: Any, architectures: Any
) -> Given:
    """Return the networks of a manifest or a family, and which checks they serve for."""
    if source == MANIFEST:
        known = given_architectures(architecture, architectures)
        family = _family_of_manifest(value, known, device, asked)
    elif not isinstance(value, Family):
        raise SettingsError(
            f"{FAMILY}={shown(value)}: expected what Family.from_checkpoints or Family.from_table "
            "returns, or a trained Family"
        )
    elif value.origin:
        _require_own_tasks(value, asked)
        family = value if asked == Asked() else value.origin.select(asked)
    else:
        family = _trained_here(value, asked)
    origin, ladder = family.origin, family.plan.ladder
    there = [name for name in family.recipes if name != BASELINE]
    perturbations, checkpoints = roles(there, asked)
    unavailable = dict(NEEDS_TRAINING) | ({} if checkpoints else NEEDS_STOPPING_POINTS)
    if family.equivalents:
        del unavailable["equivalence"]
    if not ladder:
        unavailable[COMPLEXITY] = NEEDS_TASKS[COMPLEXITY]
    if origin and not origin.has_samples:
        unavailable[SYMMETRY] = NEEDS_DATA[SYMMETRY]
    return Given(
        family=family,
        task=family.task,
        recipes=family.descriptions,
        perturbations=perturbations,
        checkpoints=checkpoints,
        sizes=family.sizes,
        seeds=family.seeds,
        ladder=ladder.name if ladder else None,
        unavailable=unavailable,
    )


def _require_own_tasks(family: Family, asked: Asked) -> None:
    """Raise a SettingsError where a task is handed over whose data would be left out."""
    own = {each.task.name: each.task for each in (family, *family.rungs)}
    for name, task in _named_tasks(asked):
        known = own.get(name, task)
        is_known = not isinstance(known, TaskWithoutData)
        if known is task or (is_known and known.data.fingerprint == task.data.fingerprint):
            continue
        raise SettingsError(
            f"task {name!r}: family= has one of this name, with other data; hand yours over where "
            f"the family is made: Family.from_checkpoints(..., tasks={{{name!r}: ...}})"
        )


def _trained_here(family: Family, asked: Asked) -> Family:
    if asked != Asked():
        named = next(name for name, value in vars(asked).items() if value is not None)
        raise SettingsError(
            f"{named}={shown(getattr(asked, named))}: family= is a family that was trained here, "
            "and is audited as it is"
        )
    if BASELINE not in family.recipes:
        raise SettingsError(f"family=: it has no recipe {BASELINE!r}, but {list(family.recipes)}")
    return family


def _family_of_manifest(value: Any, given: GivenArchitectures, device: str, asked: Asked) -> Family:
    content, tasks = file_content(value), _named_tasks(asked)
    if content is None:
        return read_checkpoints(value, given, tasks=dict(tasks), device=device, asked=asked)
    source = _known_source(content, given, device, tasks)
    if not source.is_current:
        _known_source.cache_clear()
        source = _known_source(content, given, device, tasks)
    return source.family(asked)


def _named_tasks(asked: Asked) -> tuple[tuple[str, Task], ...]:
    """Return the tasks that an audit hands over, by the names that the manifest gives them."""
    ladder = asked.ladder.tasks if isinstance(asked.ladder, Ladder) else asked.ladder
    given = [asked.task, *(ladder if isinstance(ladder, list | tuple) else ())]
    named: dict[str, Task] = {}
    for each in given:
        if isinstance(each, Task) and named.setdefault(each.name, each) is not each:
            raise SettingsError(
                f"two tasks are called {each.name!r}, and the manifest names one of them; hand "
                "over one, or tell them apart by another name, there and here"
            )
    return tuple(named.items())


@lru_cache(maxsize=8)
def _known_source(
    content: tuple[Path, str],
    given: GivenArchitectures,
    device: str,
    tasks: tuple[tuple[str, Task], ...],
) -> Source:
    """Return what families are made of, once as long as the manifest holds the same."""
    return _source(content[0], given, device, dict(tasks))
