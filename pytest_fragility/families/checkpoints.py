"""Families of networks that were trained elsewhere, from the list of their checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from pytest_fragility._util.text import shown
from pytest_fragility.errors import SettingsError, TableError, TaskError
from pytest_fragility.families.checkpoint_runs import Checkpoints, Place, TaskWithoutData, _label
from pytest_fragility.families.manifests import (
    GivenArchitectures,
    ListedNetwork,
    Manifest,
    read_manifest,
)
from pytest_fragility.families.measured_family import told
from pytest_fragility.families.observations import Grid, common_ground, complete_grid
from pytest_fragility.families.plan import FamilyPlan
from pytest_fragility.families.selection import Asked, Selection, ladder_name, select
from pytest_fragility.families.trained_family import Origin, TrainedFamily
from pytest_fragility.networks.runs import TrainedRun
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.rows.counted_errors import what_is_unknown
from pytest_fragility.tasks import Ladder, Task, get_task
from pytest_fragility.training.devices import choose_device

F = TypeVar("F", bound=TrainedFamily)


@dataclass(frozen=True, eq=False)
class Source(Generic[F]):
    """A manifest with its tasks, of which families are made.

    Parameters
    ----------
    manifest
        The list.
    tasks
        By the names in it.
    device
        Where networks live.
    kind
        What families are.
    """

    manifest: Manifest
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
            for each in self.manifest.networks
            for path in (each.checkpoint, each.initial_checkpoint, each.samples)
        ]

    def family(self, asked: Asked) -> F:
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

    def _rungs(self, chosen: Selection, asked: Asked) -> tuple[list[F], Sequence[str], str]:
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
        rungs: Sequence[F],
        ladder_notes: tuple[str, ...],
        no_ladder: str,
        ladder: Sequence[str],
    ) -> F:
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
        return self.kind(plan, trained, self.device, rungs, origin=origin)


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
    read = read_manifest(manifest, given=given, baseline=baseline)
    names = dict.fromkeys(each.task for each in read.networks)
    known = _tasks(tasks)
    return Source(read, {name: _task(name, known) for name in names}, choose_device(device), kind)


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
