"""Families of networks that were trained elsewhere, from the list of their checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from pytest_fragility._util.text import shown
from pytest_fragility.errors import SettingsError, TaskError
from pytest_fragility.families.checkpoint_runs import Checkpoints, TaskWithoutData, _label
from pytest_fragility.families.grids import (
    Grid,
    Place,
    common_grid,
    complete_grid,
    told,
)
from pytest_fragility.families.manifests import (
    GivenArchitectures,
    ListedNetwork,
    read_manifest,
)
from pytest_fragility.families.observations import of_task
from pytest_fragility.families.plan import FamilyPlan
from pytest_fragility.families.selection import Asked, ladder_name, select
from pytest_fragility.families.trained_family import TrainedFamily
from pytest_fragility.networks.runs import TrainedRun
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.rows.counted_errors import what_is_unknown
from pytest_fragility.tasks import Ladder, Task, get_task
from pytest_fragility.training.devices import choose_device

F = TypeVar("F", bound=TrainedFamily)


@dataclass(frozen=True, eq=False)
class Source(Generic[F]):
    """A manifest with its tasks, by the names in it: families of a kind are made of it."""

    name: str
    networks: Sequence[ListedNetwork]
    tasks: Mapping[str, Task]
    device: torch.device
    kind: type[F]
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
            for each in self.networks
            for path in (each.checkpoint, each.initial_checkpoint, each.samples)
        ]

    def family(self, asked: Asked) -> F:
        """Return the family of what is audited.

        Raises
        ------
        TableError
            If it is not there.
        """
        rows = self.networks
        chosen = select(self.name, [each.place for each in rows], asked)
        listed = of_task(rows, chosen.task)
        grid = complete_grid(listed, chosen, f"{self.name}: task {chosen.task} has")
        tasks = chosen.ladder
        if not tasks:
            return self._made(listed, chosen.recipes, grid, asked=asked)
        ladder = Ladder(ladder_name(tasks), [self.tasks[task] for task in tasks])
        by_task = {task: of_task(rows, task) for task in tasks}
        common = common_grid(by_task, asked)
        reason = common.incomplete.get(BASELINE)
        if reason:
            lost = dict.fromkeys(tasks, reason)
            return self._made(listed, chosen.recipes, grid, ladder, lost_rungs=lost, asked=asked)
        rungs = [self._made(each, (BASELINE,), common) for each in by_task.values()]
        unknown = dict.fromkeys(note for each in by_task.values() for note in _unknown_of(each))
        notes = (*common.left_out[BASELINE], *unknown)
        return self._made(
            listed, chosen.recipes, grid, ladder, rungs=rungs, ladder_notes=notes, asked=asked
        )

    def chosen(self, asked: Asked) -> F:
        """Return what is audited of a family that somebody has: its tasks have their data.

        Raises
        ------
        SettingsError
            If a task is handed over whose data would be left out.
        """
        own = {task.name: task for task in self.tasks.values()}
        for name, task in named_tasks(asked):
            known = own.get(name, task)
            is_known = not isinstance(known, TaskWithoutData)
            if known is task or (is_known and known.data.fingerprint == task.data.fingerprint):
                continue
            raise SettingsError(
                f"task {name!r}: family= has one of this name, with other data; hand yours over "
                f"where the family is made: Family.from_checkpoints(..., tasks={{{name!r}: ...}})"
            )
        return self.family(asked)

    def _made(
        self,
        listed: Mapping[Place, ListedNetwork],
        recipes: Sequence[str],
        grid: Grid,
        ladder: Ladder | None = None,
        **known: Any,
    ) -> F:
        """Return the family of one task's rows, at the sizes that all curves have."""
        first = {recipe: _first(listed, recipe) for recipe in recipes}
        kept = {
            place: each
            for place, each in listed.items()
            if place[1] in grid.sizes and place[2] in grid.seeds.get(place[0], ())
        }
        task = self.tasks[first[BASELINE].task]
        seeds = tuple(sorted({seed for own in grid.seeds.values() for seed in own}))
        plan_recipes = {recipe: each.made_by for recipe, each in first.items()}
        return self.kind(
            FamilyPlan(task, plan_recipes, grid.sizes, seeds, ladder),
            Checkpoints(self.name, kept, task, self._known),
            self.device,
            source=f"networks from {self.name}",
            grid=replace(grid, left_out=told(grid, _unknown_of(listed))),
            descriptions={
                recipe: str(each.made_by) if each.is_described else recipe
                for recipe, each in first.items()
            },
            test_size=first[BASELINE].counted.size,
            has_samples=not isinstance(task, TaskWithoutData)
            and all(each.samples for each in kept.values()),
            choose=self.chosen,
            **known,
        )


def _unknown_of(listed: Mapping[Place, ListedNetwork]) -> tuple[str, ...]:
    return what_is_unknown([each.counted for each in listed.values()])


def named_tasks(asked: Asked) -> tuple[tuple[str, Task], ...]:
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


def _first(listed: Mapping[Place, ListedNetwork], recipe: str) -> ListedNetwork:
    return next(each for place, each in listed.items() if place[0] == recipe)


def read_source(
    manifest: Any,
    given: GivenArchitectures,
    kind: type[F],
    *,
    device: str,
    tasks: Mapping[str, Task] | None,
    baseline: str = BASELINE,
) -> Source[F]:
    """Return a manifest with its tasks; parameters are those of `Family.from_checkpoints`.

    Raises
    ------
    TableError
        If the manifest cannot be used.
    """
    name, networks = read_manifest(manifest, given, baseline)
    known = _tasks(tasks)
    own = {task: _task(task, known) for task in dict.fromkeys(each.task for each in networks)}
    return Source(name, networks, own, choose_device(device), kind)


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
