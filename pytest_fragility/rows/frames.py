"""Data frames of any library that narwhals knows: columns of plain values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pytest_fragility._util.text import error_text, one_line, shown
from pytest_fragility.errors import TableError

Columns = list[tuple[Any, list[Any]]]


def columns_of_frame(source: Any) -> Columns | None:
    """Return the columns of a data frame, None where a cell is empty; None for what is no frame.

    Levels of an index that have a name are columns like others, as `DataFrame.to_csv` writes them;
    an index without names counts the rows. A lazy frame is computed.

    Raises
    ------
    TableError
        If it cannot be read.
    """
    # imported only where something is given that may be a frame
    import narwhals

    try:
        frame = narwhals.from_native(source, pass_through=True)
        if frame is source:
            return None
        if isinstance(frame, narwhals.LazyFrame):
            frame = frame.collect()
        columns = [(each.name, _cells(each, each.is_null())) for each in frame.iter_columns()]
        return [*_of_index(frame), *columns]
    # a frame of somebody else's, and what computes it, may raise anything
    except Exception as error:
        raise TableError(f"the data frame cannot be read: {one_line(error_text(error))}") from error


def _of_index(frame: Any) -> Columns:
    import narwhals

    index = narwhals.maybe_get_index(frame)
    levels = [] if index is None else map(index.get_level_values, range(index.nlevels))
    return [(each.name, _cells(each, each.isna())) for each in levels if each.name is not None]


def _cells(column: Any, missing: Iterable[bool]) -> list[Any]:
    cells = column.to_list()
    return [None if gone else cell for cell, gone in zip(cells, missing, strict=True)]


def columns_of_mapping(source: Any, name: str) -> Columns:
    """Return the columns of a dict of them, each a list, or a dict by row as pandas writes JSON.

    Raises
    ------
    TableError
        If they are of different lengths, or are none.
    """
    found: Columns = []
    rows: Any = None
    for column, cells in source.items():
        by_row = isinstance(cells, dict)
        try:
            if isinstance(cells, str | bytes):
                raise TypeError
            own = list(cells) if by_row else range(len(cells))
            values = list(cells.values()) if by_row else list(cells)
        except TypeError:
            raise TableError(
                f"{name}: {shown(column)} holds {shown(cells, 60)}; expected a list of objects, "
                "one for each network, or columns, each a list of values"
            ) from None
        rows = own if rows is None else rows
        if list(own) != list(rows):
            raise TableError(
                f"{name}: column {shown(column)} has other rows than the one before it "
                f"({len(own)} and {len(rows)}); expected as many values in each"
            )
        found.append((column, values))
    return found
