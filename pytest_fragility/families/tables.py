"""Tables of values that were measured elsewhere, and the learning curves in them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from pytest_fragility._util.text import nearest, shown
from pytest_fragility.errors import TableError
from pytest_fragility.families.contradictions import (
    NOT_READ,
    note_repeats,
    note_several_test_sets,
)
from pytest_fragility.families.measured_family import MeasuredFamily, MeasuredNetwork
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.rows.cells import flag, number, recipe_name, text, whole
from pytest_fragility.rows.columns import (
    DESCRIPTION,
    DIVERGED,
    NEEDED,
    PARAMETERS,
    REACHED,
    RECIPE,
    RESERVED,
    SEED,
    TASK,
    UNFINISHED,
    N,
)
from pytest_fragility.rows.counted_errors import read_error
from pytest_fragility.rows.index_columns import counts_every_row
from pytest_fragility.rows.numerals import is_not_finite, number_of
from pytest_fragility.rows.read_rows import read_rows
from pytest_fragility.rows.rows import MOST_SHOWN, Row, Rows

# measures whose names look like those of a column that a table may have
MEASURE_WORDS = ("train_error", "train_loss", "test_loss")
# how alike two names are that are meant to be one: test_sise and test_size
CLOSE = 0.8


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
    networks = [_network(row, measures, rows.stem, baseline) for row in rows.rows]
    note_repeats(networks, rows.problems)
    note_several_test_sets(networks, rows.problems)
    rows.problems.raise_if_any()
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


def _network(row: Row, measures: Sequence[str], stem: str, baseline: str) -> MeasuredNetwork:
    recipe = row.need(RECIPE, recipe_name, "")
    if recipe == BASELINE and baseline != BASELINE:
        row.note(f"recipe={BASELINE!r}, and baseline={baseline!r} is named")
    diverged = row.read(DIVERGED, flag, False)
    unfinished = row.read(UNFINISHED, text, "")
    if diverged:
        unfinished = unfinished or "a run diverged"
    elif not row.read(REACHED, flag, True):
        unfinished = unfinished or "a run did not reach its stopping target"
    # a training that diverged leaves no values
    values = {
        name: row.read(name, number, 0.0)
        for name in measures
        if name in row.cells and not (diverged and _is_no_number(row.cells[name]))
    }
    return MeasuredNetwork(
        row.where,
        row.read(TASK, text, stem),
        BASELINE if recipe == baseline else recipe,
        row.need(N, whole(1), NOT_READ),
        row.need(SEED, whole(0), NOT_READ),
        read_error(row),
        values,
        row.read(DESCRIPTION, text, ""),
        row.read(PARAMETERS, number, None),
        unfinished,
    )


def _is_no_number(value: Any) -> bool:
    if isinstance(value, str):
        return is_not_finite(value)
    return isinstance(value, float) and not math.isfinite(value)
