"""Tables of measured values, written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_fragility._util.csv_texts import csv_text
from pytest_fragility._util.files import is_there, write_whole
from pytest_fragility.curves import PARAMETER_COUNT
from pytest_fragility.errors import TableError
from pytest_fragility.families.tables import (
    DESCRIPTION,
    PARAMETERS,
    RECIPE,
    RESERVED,
    SEED,
    TASK,
    UNFINISHED,
    N,
)
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.rows.counted_errors import MISTAKEN, ERROR_COLUMN, TEST_SIZE, packed

if TYPE_CHECKING:
    from pytest_fragility.curves import LearningCurve, LearningCurves


def write_table(path: Path, curves: Sequence[LearningCurves], *, overwrite: bool) -> None:
    """Write the values of measures over the same networks; see `LearningCurves.to_table`."""
    if is_there(path) and not overwrite:
        raise TableError(f"{path} is there already; say overwrite=True to have it replaced")
    _require_same_networks(curves)
    rows = [row for place in _places(curves[0]) for row in _rows_of(curves, *place)]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    text = csv_text(columns, ([row.get(column) for column in columns] for row in rows))
    try:
        write_whole(path, text)
    except OSError as error:
        raise TableError(f"{path} cannot be written: {error.strerror or error}") from error


def _require_same_networks(curves: Sequence[LearningCurves]) -> None:
    first = curves[0]
    names = [each.measure_name for each in curves]
    for each in curves:
        if names.count(each.measure_name) > 1 or each.measure_name in RESERVED:
            raise TableError(
                f"two columns would be called {each.measure_name!r}; give a measure another name"
            )
        same = (each.task_name, each.sizes, each.seeds, each.recipes)
        if same != (first.task_name, first.sizes, first.seeds, first.recipes):
            raise TableError(
                f"{each.measure_name} and {first.measure_name} are not measured on the same "
                "networks; write a table of each"
            )


def _places(curves: LearningCurves) -> Iterator[tuple[str, str]]:
    """Yield tasks with recipes: those of the ladder in its order, so that it is read back so."""
    own = [(curves.task_name, recipe) for recipe in curves.error]
    rungs = list(curves.ladder.error) if curves.ladder else []
    if curves.task_name not in rungs:
        yield from own
    for task in rungs:
        yield from own if task == curves.task_name else [(task, BASELINE)]


def _rows_of(curves: Sequence[LearningCurves], task: str, recipe: str) -> Iterator[dict[str, Any]]:
    first = curves[0]
    own = task == first.task_name
    error = _curve(first, task, recipe, "error")
    unfinished = first.unfinished.get(recipe, "") if own else ""
    if first.ladder and not own:
        unfinished = first.ladder.unfinished.get(task, "")
    # what has not ended as it should has values that are never looked at, or none
    values = {
        each.measure_name: None if unfinished else _curve(each, task, recipe, "measure").values
        for each in curves
    }
    count = first.controls.get(PARAMETER_COUNT, {}) if own else {}
    parameters = count[recipe].values if recipe in count else None
    for i, n in enumerate(error.sizes):
        for k, seed in enumerate(error.seeds or first.seeds):
            yield {
                TASK: task,
                RECIPE: recipe,
                N: n,
                SEED: seed,
                **_counted(error, i, k),
                **{
                    name: "" if own_values is None else float(own_values[i, k])
                    for name, own_values in values.items()
                },
                PARAMETERS: "" if parameters is None else int(parameters[i, k]),
                DESCRIPTION: first.recipes[recipe],
                UNFINISHED: unfinished,
            }


def _curve(curves: LearningCurves, task: str, recipe: str, quantity: str) -> LearningCurve:
    if task == curves.task_name:
        found: LearningCurve = getattr(curves, quantity)[recipe]
        return found
    assert curves.ladder is not None
    rung: LearningCurve = getattr(curves.ladder, quantity)[task]
    return rung


def _counted(error: LearningCurve, i: int, k: int) -> dict[str, Any]:
    """Return a test error as it was counted, without the continuity correction."""
    if error.mistaken is not None:
        mask = error.mistaken[i, k]
        share = int(mask.sum()) / len(mask)
        return {ERROR_COLUMN: share, TEST_SIZE: len(mask), MISTAKEN: packed(mask)}
    value, size = float(error.values[i, k]), error.test_size
    if not size:
        return {ERROR_COLUMN: value, TEST_SIZE: "", MISTAKEN: ""}
    return {ERROR_COLUMN: (value * (size + 1) - 0.5) / size, TEST_SIZE: size, MISTAKEN: ""}
