"""Values that were measured elsewhere, and the learning curves in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NoReturn

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
from pytest_fragility.curves.resources import STOPPING_POINTS, TASKS
from pytest_fragility.errors import MeasureError, SettingsError, TableError
from pytest_fragility.families.grids import (
    Grid,
    Place,
    common_grid,
    complete_grid,
    told,
)
from pytest_fragility.families.observations import Observation, Observed, of_task
from pytest_fragility.families.selection import Asked, Selection, ladder_name, select
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.rows.columns import ERROR_COLUMN
from pytest_fragility.rows.counted_errors import CountedError, masks_of, what_is_unknown
from pytest_fragility.tasks.task import Task


@dataclass(frozen=True)
class MeasuredNetwork(Observation):
    """One row of a table, with its values by measure; those whose cell is empty are left out.

    `unfinished` says in words what kept the training from ending as it should have.
    """

    values: Mapping[str, float]
    description: str = ""
    parameters: float | None = None
    unfinished: str = ""

    @property
    def cells(self) -> dict[str, float]:
        """All that was measured on it."""
        error = {ERROR_COLUMN: self.counted.error} if self.counted else {}
        return {**self.values, **error}

    @property
    def known_error(self) -> CountedError:
        """Its test error, where it is known."""
        assert self.counted is not None
        return self.counted


Value = Callable[[MeasuredNetwork], float]


@dataclass(frozen=True, eq=False)
class MeasuredFamily(Observed):
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
    def source(self) -> str:  # type: ignore[override]
        """What reports say of where values come from."""
        return f"values from {self.name}"

    @cached_property
    def selection(self) -> Selection:
        """What is audited."""
        return select(self.name, [each.place for each in self.networks], self.asked)

    @property
    def offers(self) -> frozenset[str]:
        """What kinds of checks may need of it."""
        has = {STOPPING_POINTS: self.checkpoints, TASKS: self.selection.ladder}
        return frozenset(resource for resource, names in has.items() if names)

    @property
    def task(self) -> Task:
        """The audited one, without data."""

        def load() -> Any:
            raise SettingsError(f"{self.name} holds values, and no data of task {task}")

        task = self.selection.task
        return Task(task, load)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Training set sizes of some network."""
        return self.selection.sizes

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of some network."""
        return self.selection.seeds

    @property
    def ladder_name(self) -> str | None:
        """What reports call the tasks that are compared; None where there are none."""
        tasks = self.selection.ladder
        return ladder_name(tasks) if tasks else None

    def audited(self, asked: Asked) -> MeasuredFamily:
        """Return the family of which this is audited."""
        return replace(self, asked=asked)

    def require_networks(self) -> NoReturn:
        """Raise: there are only values."""
        raise SettingsError(
            f"the trained_family fixture needs networks, and {self.name} holds values"
        )

    @cached_property
    def descriptions(self) -> dict[str, str]:
        """Recipes in words, by name; the name itself where the table does not say."""
        found = dict.fromkeys(self.selection.recipes, "")
        for each in self.networks:
            if each.task == self.selection.task and each.recipe in found:
                found[each.recipe] = found[each.recipe] or each.description
        return {name: said or name for name, said in found.items()}

    def column(self, measure: Any) -> str:
        """Return the name of a measure that the table has.

        Raises
        ------
        TableError
            If it has none of this name.
        """
        if not isinstance(measure, str) or measure not in self.measures:
            hint = " (a table holds values; a function is asked about networks)"
            raise TableError(
                f"{self.name}: no measure {shown(measure)}{nearest(measure, self.measures)}; it "
                f"has {', '.join(self.measures)}{hint if callable(measure) else ''}"
            )
        return measure

    def known_curves(
        self, measure: Any, *, name: str | None, alpha: float, scale: str, fit: str
    ) -> LearningCurves:
        """Return the learning curves of a measure's values."""
        return self.curves(measure, name=name, alpha=alpha, scale=scale, fit=fit)

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
        column = self.column(measure)
        chosen = self.selection
        rows = self.usable(chosen.task, column)
        grid = complete_grid(rows, chosen, f"{self.name}: measure {column} has values at")
        values = _Values(self.name, column, name or column, rows, grid, alpha, scale, fit)
        recipes = [recipe for recipe in chosen.recipes if recipe in grid.seeds]
        error = {recipe: values.error(recipe) for recipe in recipes}
        reasons = self.unfinished(chosen.task)
        unfinished = {recipe: reasons[recipe] for recipe in reasons if recipe in chosen.recipes}
        return LearningCurves(
            measure_name=values.name,
            task_name=chosen.task,
            device="",
            test_size=next((curve.test_size for curve in error.values()), 0),
            recipes=self.descriptions,
            sizes=grid.sizes,
            seeds=grid.seeds.get(BASELINE, ()),
            alpha=alpha,
            scale=scale,
            fit=fit,
            measure=OnDemand("recipe", recipes, values.measure),
            error=error,
            unfinished=unfinished,
            ladder=self._ladder(values),
            controls=values.controls(error),
            source=self.source,
            left_out=told(grid, values.unknown),
            incomplete={
                recipe: reason
                for recipe, reason in grid.incomplete.items()
                if recipe not in unfinished
            },
        )

    def usable(self, task: str, measure: str) -> dict[Place, MeasuredNetwork]:
        """Return the rows of a task that have a value and a test error, by recipe, n and seed."""
        own = of_task(self.networks, task)
        return {
            place: each
            for place, each in own.items()
            if each.counted is not None and measure in each.values
        }

    def unfinished(self, task: str) -> dict[str, str]:
        """Return by recipe what kept a training from ending as it should have."""
        reasons: dict[str, str] = {}
        for each in self.networks:
            if each.unfinished and each.task == task:
                reasons.setdefault(each.recipe, each.unfinished)
        return reasons

    def _ladder(self, values: _Values) -> LadderCurves | None:
        """Return the curves of the baseline on each task, over what all tasks have."""
        tasks = self.selection.ladder
        if not tasks:
            return None
        rows = {task: self.usable(task, values.column) for task in tasks}
        grid = common_grid(rows, self.asked)
        notes, name = grid.left_out[BASELINE], ladder_name(tasks)
        if BASELINE in grid.incomplete:
            lost = dict.fromkeys(tasks, grid.incomplete[BASELINE])
            return LadderCurves(name=name, measure={}, error={}, unfinished=lost, left_out=notes)
        own = {task: replace(values, rows=rows[task], grid=grid, scale="log") for task in tasks}
        unfinished = {task: self.unfinished(task).get(BASELINE, "") for task in tasks}
        unknown = dict.fromkeys(note for each in own.values() for note in each.unknown)
        return LadderCurves(
            name=name,
            measure=OnDemand("task", tasks, lambda task: own[task].measure(BASELINE)),
            error={task: each.error(BASELINE) for task, each in own.items()},
            unfinished={task: reason for task, reason in unfinished.items() if reason},
            left_out=(*notes, *unknown),
        )


@dataclass(frozen=True, eq=False)
class _Values:
    """One measure's values on the networks of one task, and the grid that they fill."""

    table: str
    column: str
    name: str
    rows: Mapping[Place, MeasuredNetwork]
    grid: Grid
    alpha: float
    scale: str
    fit: str

    def networks(self, recipe: str) -> list[list[MeasuredNetwork]]:
        """Return a recipe's rows by size and seed."""
        seeds = self.grid.seeds[recipe]
        return [[self.rows[recipe, n, seed] for seed in seeds] for n in self.grid.sizes]

    @property
    def all_networks(self) -> list[MeasuredNetwork]:
        """The rows of all recipes."""
        return [each for name in self.grid.seeds for row in self.networks(name) for each in row]

    @property
    def unknown(self) -> tuple[str, ...]:
        """What to tell about the test set."""
        return what_is_unknown([each.known_error for each in self.all_networks])

    def error(self, recipe: str) -> LearningCurve:
        """Return the curve of test error."""
        counted = [[each.known_error for each in row] for row in self.networks(recipe)]
        curve = self._curve("test error", recipe, lambda each: each.known_error.corrected)
        return replace(curve, mistaken=masks_of(counted), test_size=counted[0][0].size)

    def measure(self, recipe: str) -> LearningCurve:
        """Return the measure's curve.

        Raises
        ------
        MeasureError
            If a value has no logarithm and needs one.
        """
        if self.scale == "log":
            self._require_positive([each for row in self.networks(recipe) for each in row])
        return self._curve(self.name, recipe, lambda each: each.values[self.column], self.scale)

    def _curve(self, name: str, recipe: str, value: Value, scale: str = "log") -> LearningCurve:
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

    def controls(
        self, error: Mapping[str, LearningCurve]
    ) -> dict[str, Mapping[str, LearningCurve]]:
        """Return the controls' curves: of the number of parameters where the table has it."""

        def of(name: str, value: Value) -> Mapping[str, LearningCurve]:
            return OnDemand("recipe", list(error), lambda recipe: self._curve(name, recipe, value))

        controls: dict[str, Mapping[str, LearningCurve]] = {
            TEST_ERROR: {
                recipe: replace(curve.on_this_test_set(), name=TEST_ERROR)
                for recipe, curve in error.items()
            },
            NOISE: of(NOISE, _noise),
        }
        if all((each.parameters or 0) > 0 for each in self.all_networks):
            controls[PARAMETER_COUNT] = of(
                PARAMETER_COUNT, lambda each: float(each.parameters or 0)
            )
        return controls

    def _require_positive(self, networks: Sequence[MeasuredNetwork]) -> None:
        bad = [each for each in networks if each.values[self.column] <= 0]
        if bad:
            first = bad[0]
            others = f", nor do {len(bad) - 1} others" if len(bad) > 1 else ""
            raise MeasureError(
                f"measure {self.column} in {self.table}, {first.where} (recipe "
                f"{first.recipe}, n={first.n}, seed {first.seed}): "
                f"{first.values[self.column]:g} has no logarithm{others}; exponents need positive "
                "values. Exponentiate a measure that is a logarithm, or ask for scale='linear', "
                "which leaves exponent, spread and complexity out"
            )


def _noise(network: MeasuredNetwork) -> float:
    """Return a random number in (0, 1] that has nothing to do with the network."""
    names = {"task": network.task, "recipe": network.recipe}
    identity = {**names, "n": network.n, "seed": network.seed}
    return 1.0 - float(derive_generator("control", identity).random())
