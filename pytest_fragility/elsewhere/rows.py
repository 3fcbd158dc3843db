"""Rows of a file, of a data frame or of a list: cells by column, and where they stand."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_fragility.checks.planning import nearest
from pytest_fragility.csv_texts import unmarked
from pytest_fragility.errors import TableError
from pytest_fragility.quoting import one_line, shown
from pytest_fragility.whole_files import read_plain

# what begins so is a comment
COMMENT = "_"
MOST_SHOWN = 12
MOST_COLUMNS = 10_000


@dataclass(frozen=True)
class Row:
    """One row.

    Parameters
    ----------
    where
        What messages call it, such as ``line 17``.
    cells
        By column; those that are empty are left out.
    """

    where: str
    cells: Mapping[str, Any]


@dataclass(frozen=True)
class Rows:
    """All rows of a file.

    Parameters
    ----------
    name
        What messages call the file: ``values.csv``.
    folder
        What relative paths in it start from.
    columns
        Names in their order, without comments.
    rows
        The rows, without those that are empty.
    """

    name: str
    folder: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def require_columns(self, needed: Iterable[str]) -> None:
        """Raise a TableError that names the column which is probably meant, where one lacks."""
        lacking = [name for name in needed if name not in self.columns]
        if lacking:
            has = ", ".join(map(one_line, self.columns)) or "none"
            texts = [f"no column {name!r}{nearest(name, self.columns)}" for name in lacking]
            raise TableError(f"{self.name}: {'; '.join(texts)}. Its columns are {has}")


@dataclass
class Problems:
    """What is wrong with a file, gathered so that it is said together.

    Parameters
    ----------
    name
        The file's.
    """

    name: str
    texts: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, where: str, text: str, subject: str = "") -> None:
        """Note what is wrong, and where; with what, if the same may be wrong with others."""
        self.texts.append((where, text, subject))

    def _lines(self) -> list[str]:
        """Return what is wrong, one text of each kind with the places that it is said of."""
        places: dict[str, list[tuple[str, str]]] = {}
        for where, text, subject in self.texts:
            places.setdefault(text, []).append((where, subject))
        return [
            f"{found[0][0]}{f' and {len(found) - 1} more' if found[1:] else ''}: "
            f"{found[0][1]}{' ' if found[0][1] else ''}{text}"
            for text, found in places.items()
        ]

    def raise_if_any(self) -> None:
        """Raise a TableError with all that was noted."""
        if not self.texts:
            return
        lines = self._lines()
        if len(lines) == 1:
            raise TableError(f"{self.name}, {lines[0]}")
        shown_texts = lines[:MOST_SHOWN]
        if len(lines) > MOST_SHOWN:
            shown_texts.append(f"and {len(lines) - MOST_SHOWN} more like these")
        listed = "\n".join(f"  {text}" for text in shown_texts)
        raise TableError(f"{self.name}: {len(self.texts)} things are wrong\n{listed}")


def read_rows(source: Any, option: str) -> Rows:
    """Return the rows of a CSV or JSON file, of a data frame, or of a list of dicts.

    Parameters
    ----------
    source
        The file's path (``.json`` is read as JSON, a list of objects; all else as CSV with a line
        of column names), a pandas data frame, or a list of dicts.
    option
        What named it, for messages.

    Raises
    ------
    TableError
        If it cannot be read.
    """
    if hasattr(source, "to_dict") and hasattr(source, "columns"):
        columns = [str(column) for column in source.columns]
        _require_unique("the data frame", columns)
        records = source.to_dict("records")
        return _of_records(records, "the data frame", Path(), "row", is_frame=True)
    if isinstance(source, list | tuple):
        return _of_records(source, "the list", Path(), "row")
    if not isinstance(source, str | Path) or not str(source) or "\0" in str(source):
        raise TableError(
            f"{option}={shown(source)}: expected the path of a CSV or JSON file, a data frame, or "
            "a list of dicts"
        )
    path = Path(source)
    text = _read_text(path, option)
    if path.suffix.lower() == ".json":
        return _of_records(_json(text, path), path.name, path.parent, "entry")
    return _of_csv(text, path)


def _read_text(path: Path, option: str) -> str:
    try:
        return read_plain(path).decode("utf-8-sig")
    except FileNotFoundError:
        raise TableError(f"{option}={one_line(str(path))}: there is no such file") from None
    except UnicodeDecodeError as error:
        raise TableError(
            f"{option}={one_line(str(path))}: it is no text in UTF-8 (byte {error.start}); "
            "save it as CSV, or as JSON with a name that ends in .json"
        ) from None
    except OSError as error:
        reason = error.strerror or error
        raise TableError(f"{option}={one_line(str(path))}: cannot be read: {reason}") from error


def _json(text: str, path: Path) -> Any:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TableError(f"{path.name}: it is no JSON ({error})") from None
    if not isinstance(found, list):
        raise TableError(
            f"{path.name}: expected a list of objects, one for each network, got "
            f"{type(found).__name__}"
        )
    return found


def _of_records(
    records: Any, name: str, folder: Path, counted: str, *, is_frame: bool = False
) -> Rows:
    problems, rows = Problems(name), []
    columns: dict[str, None] = {}
    for place, record in enumerate(records):
        where = f"{counted} {place}"
        if not isinstance(record, Mapping) or not all(isinstance(key, str) for key in record):
            problems.add(where, f"{shown(record, 60)}: expected values by column name")
            continue
        cells = {key: _plain(value, is_frame) for key, value in record.items()}
        columns |= dict.fromkeys(key for key in cells if not key.startswith(COMMENT))
        rows.append(Row(where, _known(cells)))
    problems.raise_if_any()
    return _checked(Rows(name, folder, tuple(columns), tuple(rows)))


def _of_csv(text: str, path: Path) -> Rows:
    problems, rows = Problems(path.name), []
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = [_as_written(name) for name in next(reader, [])]
        _require_unique(path.name, columns)
        if len(columns) == 1 and any(mark in columns[0] for mark in ";\t"):
            raise TableError(
                f"{path.name}: one column, {shown(columns[0], 60)}; expected names, and values, "
                "that are separated by commas"
            )
        for cells in reader:
            where = f"line {reader.line_num}"
            if len(cells) > len(columns):
                problems.add(where, f"{len(cells)} values, where there are {len(columns)} columns")
            elif any(cell.strip() for cell in cells):
                named = dict(zip(columns, map(_as_written, cells), strict=False))
                rows.append(Row(where, _known(named)))
    except csv.Error as error:
        raise TableError(f"{path.name}, line {reader.line_num}: {error}") from None
    problems.raise_if_any()
    names = tuple(name for name in columns if name and not name.startswith(COMMENT))
    return _checked(Rows(path.name, path.parent, names, tuple(rows)))


def _as_written(cell: str) -> str:
    marked = unmarked(cell)
    return cell.strip() if marked is None else marked


def _checked(rows: Rows) -> Rows:
    if len(rows.columns) > MOST_COLUMNS:
        raise TableError(
            f"{rows.name}: it has {len(rows.columns):,} columns; expected at most "
            f"{MOST_COLUMNS:,}, and one row for each network"
        )
    if not rows.rows:
        raise TableError(f"{rows.name}: it has no rows; expected one for each network")
    return rows


def _require_unique(name: str, columns: list[str]) -> None:
    twice = [column for column, count in Counter(columns).items() if count > 1 and column]
    if twice:
        raise TableError(f"{name}: two columns are called {twice[0]!r}; rename one")


def _known(cells: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in cells.items()
        if value is not None
        and not (isinstance(value, str) and not value)
        and name
        and not name.startswith(COMMENT)
    }


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value)


def _plain(value: Any, is_frame: bool) -> Any:
    """Return a NumPy scalar's own value; None for what a data frame has where nothing is."""
    if hasattr(value, "item") and not getattr(value, "shape", None):
        value = value.item()
    is_missing = is_frame and isinstance(value, float) and math.isnan(value)
    # pandas's own signs for nothing
    return None if is_missing or type(value).__name__ in ("NAType", "NaTType") else value
