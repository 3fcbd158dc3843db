"""Comma-separated values that a spreadsheet takes for values, and never for a formula."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

# what a spreadsheet would run, and what is marked already; full-width signs count as well
_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_QUOTED = re.compile(r"[\",;\t\r\n]")


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a header and rows; a text that could be a formula is marked, and a number is not.

    Numbers have all their digits; None is empty.
    """
    return "".join(",".join(map(_cell, row)) + "\n" for row in (columns, *rows))


def unmarked(cell: str) -> str | None:
    """Return the text that was marked when it was written; None for a cell that was not."""
    is_marked = cell.startswith("'") and _FORMULA.match(cell)
    return cell[1:] if is_marked else None


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return float.__repr__(value)
    if not isinstance(value, str):
        return "" if value is None else str(value)
    if _FORMULA.match(value):
        return _quoted(f"'{value}")
    return _quoted(value) if _QUOTED.search(value) else value


def _quoted(value: str) -> str:
    doubled = value.replace('"', '""')
    return f'"{doubled}"'
