"""Rows of a table, what their cells hold, and what is wrong with them, said together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pytest_fragility._util.text import nearest, one_line, shown
from pytest_fragility.errors import TableError

Value = TypeVar("Value")
MOST_SHOWN = 12


@dataclass
class Problems:
    """What is wrong with a file, gathered so that it is said together."""

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


@dataclass(frozen=True)
class Row:
    """One row: what messages call it, such as ``line 17``, and its cells that are not empty."""

    where: str
    cells: Mapping[str, Any]
    problems: Problems = field(repr=False)

    def note(self, text: str) -> None:
        """Note what is wrong with the row."""
        self.problems.add(self.where, text)

    def read(self, column: str, read: Callable[[Any], Value], default: Value) -> Value:
        """Return what a cell holds; the default where it is empty, or wrong, which is noted."""
        if column not in self.cells:
            return default
        value = self.cells[column]
        try:
            return read(value)
        except ValueError as error:
            self.note(f"{column}={shown(value, 60)}: {error}")
            return default

    def need(self, column: str, read: Callable[[Any], Value], default: Value) -> Value:
        """Return the same of a cell that must not be empty."""
        if column not in self.cells:
            self.note(f"{column} is empty")
        return self.read(column, read, default)


@dataclass(frozen=True)
class Rows:
    """All rows of a file, with the names of its columns but comments.

    Relative paths in it start from its folder.
    """

    name: str
    folder: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    problems: Problems

    @property
    def stem(self) -> str:
        """The file's name without endings, which its task is called by where no column says."""
        return Path(self.name.removesuffix(".gz")).stem

    def require_columns(self, needed: Iterable[str]) -> None:
        """Raise a TableError that names the column which is probably meant, where one lacks."""
        lacking = [name for name in needed if name not in self.columns]
        if lacking:
            has = ", ".join(map(one_line, self.columns)) or "none"
            texts = [f"no column {name!r}{nearest(name, self.columns)}" for name in lacking]
            raise TableError(f"{self.name}: {'; '.join(texts)}. Its columns are {has}")
