"""Tables of values that were measured elsewhere, and the learning curves in them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pytest_fragility._util.text import shown
from pytest_fragility.checks.check import nearest
from pytest_fragility.errors import MeasureError, TableError
from pytest_fragility.families.repeated_rows import NOT_READ, note_repeats
from pytest_fragility.families.selection import Asked, FullPlace, Selection, select
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.rows.cells import Cells, flag, number, recipe_name, text, whole
from pytest_fragility.rows.counted_errors import (
    MISTAKEN,
    ERROR_COLUMN,
    TEST_SIZE,
    CountedError,
    read_error,
    require_one_test_set,
)
from pytest_fragility.rows.index_columns import counts_every_row
from pytest_fragility.rows.numerals import is_not_finite, number_of
from pytest_fragility.rows.reading import MOST_SHOWN, Problems, Row, Rows, read_rows

if TYPE_CHECKING:
    from pytest_fragility.curves import LearningCurves

    pass


TASK, RECIPE, N, SEED = "task", "recipe", "n", "seed"


DESCRIPTION, PARAMETERS, UNFINISHED = "description", "parameters", "unfinished"


REACHED, DIVERGED = "reached_target", "diverged"


NEEDED = (RECIPE, N, SEED, ERROR_COLUMN)


OPTIONAL = (TASK, TEST_SIZE, MISTAKEN, DESCRIPTION, PARAMETERS, UNFINISHED, REACHED, DIVERGED)


RESERVED = (*NEEDED, *OPTIONAL)


# measures whose names look like those of a column that a table may have
MEASURE_WORDS = ("train_error", "train_loss", "test_loss")


# how alike two names are that are meant to be one: test_sise and test_size
CLOSE = 0.8


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


def read_table(source: Any, option: str = "table", *, baseline: str = BASELINE) -> MeasuredFamily:
    """Return the values of a table; `Family.from_table` says what it holds.

    Raises
    ------
    TableError
        If it cannot be read; all rows that are wrong are named.
    """
    rows = read_rows(source, option)
    rows.require_columns(NEEDED)
    measures = tuple(name for name in rows.columns if name not in RESERVED)
    _require_measures(rows, measures)
    problems = Problems(rows.name)
    networks = [_network(rows, row, measures, baseline, problems) for row in rows.rows]
    note_repeats([(each.where, each.place, each.numbers) for each in networks], problems)
    for task in dict.fromkeys(network.task for network in networks):
        require_one_test_set(task, [each for each in networks if each.task == task], problems)
    problems.raise_if_any()
    return MeasuredFamily(rows.name, tuple(networks), measures)


def _require_measures(rows: Rows, measures: Sequence[str]) -> None:
    free = [name for name in RESERVED if name not in rows.columns]
    for name in measures:
        if name not in MEASURE_WORDS and get_close_matches(name, free, n=1, cutoff=CLOSE):
            raise TableError(
                f"{rows.name}: unknown column {shown(name)}{nearest(name, free)}; rename it, or "
                "begin its name with '_' to have it left out"
            )
    cells = {name: [row.cells.get(name) for row in rows.rows] for name in measures}
    for name in measures:
        if counts_every_row(cells[name]):
            raise TableError(
                f"{rows.name}: column {shown(name)} counts the rows, which no measure does; leave "
                "it out, or begin its name with '_'"
            )
    # what has not ended as it should may have no values
    has_ended = any(UNFINISHED not in row.cells for row in rows.rows)
    texts = {
        name: _first_text(each)
        for name, each in cells.items()
        if has_ended or any(cell is not None for cell in each)
    }
    told = [f"{shown(name, 60)} ({text})" for name, text in texts.items() if text]
    if told:
        listed = ", ".join(told[:MOST_SHOWN])
        more = f" and {len(told) - MOST_SHOWN} more" if len(told) > MOST_SHOWN else ""
        raise TableError(
            f"{rows.name}: no numbers in {'columns' if told[1:] else 'column'} {listed}{more}; "
            "a column that has no meaning of its own holds a measure's values. Leave out what is "
            "none, or begin its name with '_'"
        )
    if not measures:
        raise TableError(
            f"{rows.name}: no column holds a measure's values; all it has are "
            f"{', '.join(rows.columns)}"
        )


def _first_text(cells: Sequence[Any]) -> str:
    """Return what is wrong with a column without numbers: its first text, or that it is empty."""
    found = ""
    for cell in cells:
        if cell is None:
            continue
        try:
            number_of(cell) if isinstance(cell, str) else number(cell)
        except ValueError as error:
            if isinstance(cell, float):
                return ""
            found = found or f"{shown(cell, 60)}: {error}"
            continue
        return ""
    return found or "empty"


def _network(
    rows: Rows, row: Row, measures: Sequence[str], baseline: str, problems: Problems
) -> MeasuredNetwork:
    cells = Cells(row, problems)
    recipe = cells.need(RECIPE, recipe_name, "")
    if recipe == BASELINE and baseline != BASELINE:
        problems.add(row.where, f"recipe={BASELINE!r}, and baseline={baseline!r} is named")
    diverged = cells.read(DIVERGED, flag, False)
    unfinished = cells.read(UNFINISHED, text, "")
    if diverged:
        unfinished = unfinished or "a run diverged"
    elif not cells.read(REACHED, flag, True):
        unfinished = unfinished or "a run did not reach its stopping target"
    # a training that diverged leaves no values
    values = {
        name: cells.read(name, number, 0.0)
        for name in measures
        if cells.has(name) and not (diverged and _is_no_number(row.cells[name]))
    }
    return MeasuredNetwork(
        row.where,
        cells.read(TASK, text, rows.stem),
        BASELINE if recipe == baseline else recipe,
        cells.need(N, whole(1), NOT_READ),
        cells.need(SEED, whole(0), NOT_READ),
        read_error(cells, row.where, problems),
        values,
        cells.read(DESCRIPTION, text, ""),
        cells.read(PARAMETERS, number, None),
        unfinished,
    )


def _is_no_number(value: Any) -> bool:
    if isinstance(value, str):
        return is_not_finite(value)
    return isinstance(value, float) and not math.isfinite(value)


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
        measure: str,
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
        from pytest_fragility.families.measured_family import curves_of_table

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
