"""The learning curves of values that were measured elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_fragility._util.lazy import OnDemand
from pytest_fragility._util.seeds import derive_generator
from pytest_fragility._util.text import nearest, shown
from pytest_fragility.curves import (
    NOISE,
    PARAMETER_COUNT,
    TEST_ERROR,
    LadderCurves,
    LearningCurve,
    LearningCurves,
)
from pytest_fragility.errors import MeasureError, TableError
from pytest_fragility.families.observations import Grid, common_ground, complete_grid
from pytest_fragility.families.selection import Asked, FullPlace, Selection, ladder_name, select
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.rows.columns import ERROR_COLUMN
from pytest_fragility.rows.counted_errors import CountedError, masks_of, what_is_unknown

if TYPE_CHECKING:
    from pytest_fragility.curves import LearningCurves


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


Place = tuple[str, int, int]


@dataclass(frozen=True)
class MeasuredNetwork:
    """One row of a table.

    Parameters
    ----------
    where
        Where it stands.
    task, recipe, n, seed
        Which network it is.
    counted
        Its test error; None where the cell is empty.
    values
        By measure; measures whose cell is empty are left out.
    description
        The recipe in words; empty where the table does not say.
    parameters
        How many the network has; None where the table does not say.
    unfinished
        In words, what kept the training from ending as it should have; empty where nothing did.
    """

    where: str
    task: str
    recipe: str
    n: int
    seed: int
    counted: CountedError | None
    values: Mapping[str, float]
    description: str = ""
    parameters: float | None = None
    unfinished: str = ""

    @property
    def place(self) -> FullPlace:
        """Which network it is."""
        return self.task, self.recipe, self.n, self.seed

    @property
    def numbers(self) -> dict[str, float]:
        """All that was measured on it."""
        error = {ERROR_COLUMN: self.counted.error} if self.counted else {}
        return {**self.values, **error}


Value = Callable[[MeasuredNetwork], float]


@dataclass(frozen=True, eq=False)
class MeasuredFamily:
    """Values that measures had on networks elsewhere; made by `Family.from_table`.

    Parameters
    ----------
    name
        The table's.
    networks
        One per row.
    measures
        Names of the columns with values.
    asked
        What of it is audited.
    """

    name: str
    networks: tuple[MeasuredNetwork, ...]
    measures: tuple[str, ...]
    asked: Asked = field(default_factory=Asked)

    @property
    def source(self) -> str:
        """What reports say of where values come from."""
        return f"values from {self.name}"

    @cached_property
    def selection(self) -> Selection:
        """What is audited."""
        return select(self.name, (each.place for each in self.networks), self.asked)

    def select(self, asked: Asked) -> MeasuredFamily:
        """Return the family of which something else is audited."""
        return replace(self, asked=asked)

    @cached_property
    def descriptions(self) -> dict[str, str]:
        """Recipes in words, by name; the name itself where the table does not say."""
        found = dict.fromkeys(self.selection.recipes, "")
        for each in self._of_task(self.selection.task):
            if each.recipe in found:
                found[each.recipe] = found[each.recipe] or each.description
        return {name: said or name for name, said in found.items()}

    def require_measure(self, name: Any) -> str:
        """Return the name of a measure that the table has.

        Raises
        ------
        TableError
            If it has none of this name.
        """
        if not isinstance(name, str) or name not in self.measures:
            hint = " (a table holds values; a function is asked about networks)"
            raise TableError(
                f"{self.name}: no measure {shown(name)}{nearest(name, self.measures)}; it has "
                f"{', '.join(self.measures)}{hint if callable(name) else ''}"
            )
        return name

    def curves(
        self,
        measure: Any,
        *,
        name: str | None = None,
        alpha: float = 0.05,
        scale: str = "log",
        fit: str = "least-squares",
    ) -> LearningCurves:
        """Return the learning curves of one measure's values, test error's beside them.

        A network counts where its row has both a value and a test error.

        Parameters
        ----------
        measure
            A column of the table.
        name
            What reports call the measure; the column's name by default.
        alpha
            Intervals have level ``1 - alpha``.
        scale
            ``"log"`` or ``"linear"``.
        fit
            How lines are fitted.

        Raises
        ------
        TableError
            If there is no such column, or too few rows have a value.
        """
        column = self.require_measure(measure)
        return curves_of_table(self, column, name=name or column, alpha=alpha, scale=scale, fit=fit)

    def usable(self, task: str, measure: str) -> dict[Place, MeasuredNetwork]:
        """Return the rows of a task that have a value and a test error, by recipe, n and seed."""
        return {
            (each.recipe, each.n, each.seed): each
            for each in self._of_task(task)
            if each.counted is not None and measure in each.values
        }

    def unfinished(self, task: str) -> dict[str, str]:
        """Return by recipe what kept a training from ending as it should have."""
        reasons: dict[str, str] = {}
        for each in self._of_task(task):
            if each.unfinished:
                reasons.setdefault(each.recipe, each.unfinished)
        return reasons

    def _of_task(self, task: str) -> list[MeasuredNetwork]:
        return [each for each in self.networks if each.task == task]


def require_positive(
    networks: Sequence[MeasuredNetwork], measure: str, table: str, scale: str
) -> None:
    """Raise a MeasureError where a value has no logarithm and needs one."""
    if scale != "log":
        return
    bad = [each for each in networks if each.values[measure] <= 0]
    if bad:
        first = bad[0]
        others = f", nor do {len(bad) - 1} others" if len(bad) > 1 else ""
        raise MeasureError(
            f"measure {measure} in {table}, {first.where} (recipe {first.recipe}, n={first.n}, "
            f"seed {first.seed}): {first.values[measure]:g} has no logarithm{others}; exponents "
            "need positive values. Exponentiate a measure that is a logarithm, or ask for "
            "scale='linear', which leaves exponent, spread and complexity out"
        )
