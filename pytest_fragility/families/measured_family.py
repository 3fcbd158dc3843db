"""The learning curves of values that were measured elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pytest_fragility._util.lazy import OnDemand
from pytest_fragility._util.seeds import derive_generator
from pytest_fragility.curves import (
    NOISE,
    PARAMETER_COUNT,
    TEST_ERROR,
    LadderCurves,
    LearningCurve,
    LearningCurves,
)
from pytest_fragility.elsewhere.ladders import common_ground
from pytest_fragility.errors import TableError
from pytest_fragility.families.observations import Grid, complete_grid
from pytest_fragility.families.selection import ladder_name
from pytest_fragility.families.tables import MeasuredFamily, MeasuredNetwork, require_positive
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.rows.counted_errors import CountedError, masks_of, what_is_unknown

Value = Callable[[MeasuredNetwork], float]


@dataclass(frozen=True, eq=False)
class TaskValues:
    """The rows of one task, and the grid that they fill.

    Parameters
    ----------
    rows
        By recipe, n and seed.
    grid
        Sizes and seeds.
    alpha, fit
        Of the curves.
    """

    rows: Mapping[tuple[str, int, int], MeasuredNetwork]
    grid: Grid
    alpha: float
    fit: str

    def networks(self, recipe: str) -> list[list[MeasuredNetwork]]:
        """Return a recipe's rows by size and seed."""
        seeds = self.grid.seeds[recipe]
        return [[self.rows[recipe, n, seed] for seed in seeds] for n in self.grid.sizes]

    def error(self, recipe: str) -> LearningCurve:
        """Return the curve of test error."""
        counted = [[_counted(each) for each in row] for row in self.networks(recipe)]
        values = np.array([[each.corrected for each in row] for row in counted])
        return LearningCurve(
            "test error",
            recipe,
            self.grid.sizes,
            values,
            self.alpha,
            fit=self.fit,
            mistaken=masks_of(counted),
            seeds=self.grid.seeds[recipe],
            test_size=counted[0][0].size,
        )

    def of(self, name: str, recipe: str, value: Value, scale: str = "log") -> LearningCurve:
        """Return the curve of something that each row has."""
        values = [[value(each) for each in row] for row in self.networks(recipe)]
        return LearningCurve(
            name,
            recipe,
            self.grid.sizes,
            np.array(values, dtype=np.float64),
            self.alpha,
            scale,
            self.fit,
            seeds=self.grid.seeds[recipe],
        )

    @property
    def unknown(self) -> tuple[str, ...]:
        """What to tell about the test set."""
        recipes = self.grid.seeds
        return what_is_unknown(
            [_counted(each) for name in recipes for row in self.networks(name) for each in row]
        )


def curves_of_table(
    family: MeasuredFamily, measure: str, *, name: str, alpha: float, scale: str, fit: str
) -> LearningCurves:
    """Return the learning curves of one measure in a table; see `MeasuredFamily.curves`."""
    chosen = family.selection
    rows = family.usable(chosen.task, measure)
    grid = complete_grid(list(rows), chosen.recipes, chosen.sizes, chosen.seeds)
    values = TaskValues(rows, grid, alpha, fit)
    unfinished = {
        recipe: reason
        for recipe, reason in family.unfinished(chosen.task).items()
        if recipe in chosen.recipes
    }
    if len(grid.sizes) < 2:
        raise TableError(
            f"{family.name}: measure {measure} has values at n = "
            f"{', '.join(map(str, grid.sizes)) or 'none'} alone under the baseline; a learning "
            "curve needs at least two sizes"
        )

    def curve(recipe: str) -> LearningCurve:
        networks = [each for row in values.networks(recipe) for each in row]
        require_positive(networks, measure, family.name, scale)
        return values.of(name, recipe, lambda each: each.values[measure], scale)

    recipes = [recipe for recipe in chosen.recipes if recipe in grid.seeds]
    error = {recipe: values.error(recipe) for recipe in recipes}
    return LearningCurves(
        measure_name=name,
        task_name=chosen.task,
        device="",
        test_size=next((curve.test_size for curve in error.values()), 0),
        recipes=family.descriptions,
        sizes=grid.sizes,
        seeds=grid.seeds.get(BASELINE, ()),
        alpha=alpha,
        scale=scale,
        fit=fit,
        measure=OnDemand("recipe", recipes, curve),
        error=error,
        unfinished=unfinished,
        ladder=_ladder(family, measure, name, alpha, fit),
        controls=_controls(values, recipes, error),
        source=family.source,
        left_out=told(grid, values.unknown),
        incomplete={
            recipe: reason for recipe, reason in grid.incomplete.items() if recipe not in unfinished
        },
    )


def told(grid: Grid, unknown: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return what to tell with verdicts, by recipe; of the test set with those of the baseline."""
    notes = {recipe: tuple(said) for recipe, said in grid.left_out.items()}
    if unknown and BASELINE in grid.seeds:
        notes[BASELINE] = (*notes.get(BASELINE, ()), *unknown)
    return notes


def _counted(network: MeasuredNetwork) -> CountedError:
    assert network.counted is not None
    return network.counted


def _controls(
    values: TaskValues, recipes: Sequence[str], error: Mapping[str, LearningCurve]
) -> dict[str, Mapping[str, LearningCurve]]:
    """Return the controls' curves: of the number of parameters where the table has it."""

    def of(name: str, value: Value) -> Mapping[str, LearningCurve]:
        return OnDemand("recipe", recipes, lambda recipe: values.of(name, recipe, value))

    known = [each for name in recipes for row in values.networks(name) for each in row]
    controls: dict[str, Mapping[str, LearningCurve]] = {
        TEST_ERROR: {
            recipe: replace(curve.on_this_test_set(), name=TEST_ERROR)
            for recipe, curve in error.items()
        },
        NOISE: of(NOISE, _noise),
    }
    if all(each.parameters is not None and each.parameters > 0 for each in known):
        controls[PARAMETER_COUNT] = of(PARAMETER_COUNT, lambda each: float(each.parameters or 0))
    return controls


def _noise(network: MeasuredNetwork) -> float:
    """Return a random number in (0, 1] that has nothing to do with the network."""
    identity = {
        "task": network.task,
        "recipe": network.recipe,
        "n": network.n,
        "seed": network.seed,
    }
    return 1.0 - float(derive_generator("control", identity).random())


def _ladder(
    family: MeasuredFamily, measure: str, name: str, alpha: float, fit: str
) -> LadderCurves | None:
    """Return the curves of the baseline on each task, over what all tasks have."""
    tasks = family.selection.ladder
    if not tasks:
        return None
    rows = {task: family.usable(task, measure) for task in tasks}
    ground = common_ground(rows, family.asked)
    values = {task: TaskValues(rows[task], ground.grid, alpha, fit) for task in tasks}
    unfinished = {task: family.unfinished(task).get(BASELINE, "") for task in tasks}

    def curve(task: str) -> LearningCurve:
        networks = [each for row in values[task].networks(BASELINE) for each in row]
        require_positive(networks, measure, family.name, "log")
        return values[task].of(name, BASELINE, lambda each: each.values[measure])

    if ground.reason:
        return LadderCurves(
            name=ladder_name(tasks),
            measure={},
            error={},
            unfinished=dict.fromkeys(tasks, ground.reason),
            left_out=ground.notes,
        )
    unknown = [note for each in values.values() for note in each.unknown]
    return LadderCurves(
        name=ladder_name(tasks),
        measure=OnDemand("task", tasks, curve),
        error={task: values[task].error(BASELINE) for task in tasks},
        unfinished={task: reason for task, reason in unfinished.items() if reason},
        left_out=(*ground.notes, *dict.fromkeys(unknown)),
    )
