"""Rows of a file, of a data frame or of a list: cells by column, and where they stand."""

from __future__ import annotations

import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from pytest_fragility._util.files import read_plain
from pytest_fragility._util.packed_files import found_instead, kind_of, unpacked
from pytest_fragility._util.text import one_line, shown
from pytest_fragility.errors import TableError
from pytest_fragility.rows.csv_files import lines_of_csv
from pytest_fragility.rows.frames import columns_of_frame, columns_of_mapping
from pytest_fragility.rows.index_columns import is_index, nameless
from pytest_fragility.rows.json_files import STARTS as JSON_STARTS
from pytest_fragility.rows.json_files import records_of_json
from pytest_fragility.rows.numerals import says_nothing
from pytest_fragility.rows.rows import Problems, Row, Rows

# what begins so is a comment
COMMENT = "_"
# columns of names, in which NA may be one
NAMES = ("task", "recipe", "description")
MOST_COLUMNS = 10_000


def read_rows(source: Any, option: str) -> Rows:
    """Return the rows of a file, of a data frame, of a list of dicts, or of a dict of columns.

    Columns that count the rows, as an index that was written along does, are left out.

    Parameters
    ----------
    source
        The path of a file of separated values with a line of column names, of JSON or JSON Lines,
        each gzipped or not, which is told by its content; a data frame of a library that narwhals
        knows, a list of dicts, or a dict of columns.
    option
        What named it, for messages.

    Raises
    ------
    TableError
        If it cannot be read.
    """
    if isinstance(source, str | Path) and str(source) and "\0" not in str(source):
        return _of_file(Path(source), option)
    if isinstance(source, list | tuple):
        records = [(f"row {place}", record) for place, record in enumerate(source)]
        return _of_records(records, "the list", Path())
    if isinstance(source, Mapping):
        columns = columns_of_mapping(source, "the dict")
        return _of_columns(columns, "the dict", Path(), "row")
    frame = None if isinstance(source, str | Path) else columns_of_frame(source)
    if frame is None:
        raise TableError(
            f"{option}={shown(source)}: expected the path of a CSV or JSON file, a data frame, a "
            "list of dicts, or a dict of columns"
        )
    return _of_columns(frame, "the data frame", Path(), "row")


def _of_file(path: Path, option: str) -> Rows:
    text = _read_text(path, option)
    if not text.lstrip().startswith(JSON_STARTS):
        return _of_csv(text, path)
    found = records_of_json(text, path.name)
    if isinstance(found, dict):
        return _of_columns(columns_of_mapping(found, path.name), path.name, path.parent, "entry")
    return _of_records(found, path.name, path.parent)


def _read_text(path: Path, option: str) -> str:
    where = f"{option}={one_line(str(path))}"
    try:
        content = unpacked(read_plain(path))
        text = content.decode("utf-8-sig")
    except FileNotFoundError:
        raise TableError(f"{where}: there is no such file") from None
    except UnicodeDecodeError as error:
        kind = kind_of(content)
        raise TableError(
            f"{where}: it is no text in UTF-8 (byte {error.start}){f' but {kind}' if kind else ''};"
            " save it as CSV or JSON, or hand over a data frame"
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise TableError(f"{where}: cannot be read: {reason}") from error
    instead = found_instead(content)
    if instead:
        raise TableError(f"{where}: it is {instead}")
    return text


def _of_records(records: Iterable[tuple[str, Any]], name: str, folder: Path) -> Rows:
    problems, rows = Problems(name), []
    columns: dict[str, None] = {}
    for where, record in records:
        if not isinstance(record, Mapping) or not all(isinstance(key, str) for key in record):
            problems.add(where, f"{shown(record, 60)}: expected values by column name")
            continue
        cells = {key.strip(): _plain(value) for key, value in record.items()}
        if len(cells) < len(record):
            _require_unique(name, [key.strip() for key in record])
        columns |= dict.fromkeys(cells)
        rows.append((where, cells))
    problems.raise_if_any()
    return _rows(name, folder, list(columns), rows)


def _of_columns(
    columns: Iterable[tuple[Any, Sequence[Any]]], name: str, folder: Path, counted: str
) -> Rows:
    named = [(str(column).strip(), list(map(_plain, cells))) for column, cells in columns]
    names = [column for column, _ in named]
    _require_unique(name, names)
    by_row = zip(*(cells for _, cells in named), strict=True)
    rows = [
        (f"{counted} {place}", dict(zip(names, row, strict=True)))
        for place, row in enumerate(by_row)
    ]
    return _rows(name, folder, names, rows)


def _of_csv(text: str, path: Path) -> Rows:
    lines = lines_of_csv(text, path.name)
    header = lines[0][1] if lines else []
    # more than one may have no name
    columns = [column or nameless(place) for place, column in enumerate(header, 1)]
    _require_unique(path.name, columns)
    problems, rows = Problems(path.name), []
    for number, cells in lines[1:]:
        if len(cells) > len(columns):
            problems.add(
                f"line {number}", f"{len(cells)} values, where there are {len(columns)} columns"
            )
        rows.append((f"line {number}", dict(zip(columns, cells, strict=False))))
    problems.raise_if_any()
    return _rows(path.name, path.parent, columns, rows)


def _rows(
    name: str, folder: Path, columns: Sequence[str], rows: Sequence[tuple[str, Mapping[str, Any]]]
) -> Rows:
    """Return rows without what is empty, and without columns that count them or are comments."""
    known = [
        (where, {column: cell for column, cell in cells.items() if _is_known(column, cell)})
        for where, cells in rows
    ]
    kept = [
        column
        for place, column in enumerate(columns, 1)
        if not column.startswith(COMMENT)
        and not is_index(column, (cells.get(column) for _, cells in known), name, place)
    ]
    if len(kept) > MOST_COLUMNS:
        raise TableError(
            f"{name}: it has {len(kept):,} columns; expected at most {MOST_COLUMNS:,}, and one row "
            "for each network"
        )
    if not known:
        raise TableError(f"{name}: it has no rows; expected one for each network")
    problems = Problems(name)
    own = (
        Row(where, {column: cells[column] for column in kept if column in cells}, problems)
        for where, cells in known
    )
    return Rows(name, folder, tuple(kept), tuple(own), problems)


def _require_unique(name: str, columns: list[str]) -> None:
    twice = [column for column, count in Counter(columns).items() if count > 1]
    if twice:
        raise TableError(f"{name}: two columns are called {shown(twice[0])}; rename one")


def _is_known(column: str, cell: Any) -> bool:
    """Return whether something is there; NA may be the name of a task, and is no number."""
    if cell is None or column.startswith(COMMENT):
        return False
    if not isinstance(cell, str):
        return True
    return bool(cell) if column in NAMES else not says_nothing(cell)


def _plain(value: Any) -> Any:
    """Return a NumPy scalar's or a decimal's own value; None for pandas's signs for nothing."""
    pandas = sys.modules.get("pandas")
    if pandas is not None and (value is pandas.NA or value is pandas.NaT):
        return None
    if isinstance(value, Decimal):
        return int(value) if value.is_finite() and value % 1 == 0 else float(value)
    if hasattr(value, "item") and not getattr(value, "shape", None):
        value = value.item()
    return value
