"""Columns that count the rows: an index that was written along, which no network has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from pytest_fragility._util.text import shown
from pytest_fragility.errors import TableError
from pytest_fragility.rows.numerals import number_of

# what pandas and readr call columns without a name
_NAMELESS = re.compile(r"Unnamed: [0-9_.a-z ]+|\.\.\.[0-9]+|")
# what pandas, polars and R call their index where it becomes a column
_INDEX = re.compile(
    r"index|level_[0-9]+|X(\.[0-9]+)?|row_?(names?|nr|number|index|id)?", re.IGNORECASE
)
# two or three values may be anything
FEWEST = 4


def nameless(place: int) -> str:
    """Return what a column without a name is called, by its place from 1."""
    return f"Unnamed: column {place}"


def is_index(name: str, cells: Iterable[Any], table: str, place: int) -> bool:
    """Return whether a column, by its name, cells and place from 1, counts or names the rows.

    Such a column is left out. A TableError says that one without a name holds other numbers.
    """
    if not _NAMELESS.fullmatch(name):
        return bool(_INDEX.fullmatch(name)) and counts_rows(list(cells))
    there = [cell for cell in cells if cell is not None]
    if counts_rows(there) or all(_number(cell) is None for cell in there):
        return True
    raise TableError(
        f"{table}: column {place} has no name, and its numbers do not count the rows "
        f"({', '.join(map(shown, there[:3]))}, ...); name it, or begin its name with '_' to have "
        "it left out"
    )


def counts_rows(cells: Sequence[Any]) -> bool:
    """Return whether cells are numbers of rows: of those that were kept, in some order.

    Or of one table below the other, each of which begins anew.
    """
    numbers = _whole_numbers(cells)
    if not numbers or len(set(numbers)) == len(numbers):
        return bool(numbers)
    first, last = numbers[0], max(numbers)
    return (first == 0 or (first == 1 and last > 1)) and all(
        number in (first, before + 1) for before, number in pairwise(numbers)
    )


def counts_every_row(cells: Sequence[Any]) -> bool:
    """Return whether cells are 0, 1, 2, ... or 1, 2, 3, ..., which no measure is."""
    numbers = _whole_numbers(cells)
    if len(numbers) < FEWEST or numbers[0] not in (0, 1):
        return False
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def _whole_numbers(cells: Sequence[Any]) -> list[int]:
    """Return cells that are all whole numbers, zero or more; else none."""
    numbers = [_number(cell) for cell in cells]
    if any(number is None or number < 0 or not number.is_integer() for number in numbers):
        return []
    return [int(number) for number in numbers if number is not None]


def _number(cell: Any) -> float | None:
    if isinstance(cell, bool) or not isinstance(cell, str | int | float):
        return None
    try:
        return number_of(cell) if isinstance(cell, str) else float(cell)
    except (ValueError, OverflowError):
        return None
