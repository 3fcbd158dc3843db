"""Separated values: which mark separates them, and how their numbers are written."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from pytest_fragility._util.csv_texts import unmarked
from pytest_fragility._util.text import shown
from pytest_fragility.errors import TableError

# of those that make as many columns, the first is taken
DELIMITERS = (",", ";", "\t")
# a line of Excel's own before the header
_SEPARATOR = re.compile(r"\ufeff?sep=([,;\t])\r?\n", re.IGNORECASE)
_SIGN, _ENDING = "[+-]?", "(?:[eE][+-]?[0-9]+)?(?: ?%)?"
_COMMA = re.compile(rf"{_SIGN}[0-9]*,[0-9]+{_ENDING}")
_POINT = re.compile(rf"{_SIGN}(?:[0-9]*\.[0-9]+|[0-9]{{1,3}}(?:\.[0-9]{{3}})+,[0-9]+){_ENDING}")
_THOUSANDS = re.compile(rf"{_SIGN}[1-9][0-9]{{0,2}},[0-9]{{3}}")
Line = tuple[int, list[str]]


def lines_of_csv(text: str, name: str) -> list[Line]:
    """Return the cells of each line that has some, with its number; the header comes first.

    Values are separated by commas, semicolons or tabs, whichever make most columns of the header.
    Where it is not commas, numbers may have decimal commas, which become points.

    Raises
    ------
    TableError
        If the text is no CSV, or its numbers can be read in two ways.
    """
    said = _SEPARATOR.match(text)
    skipped = 1 if said else 0
    text = text[said.end() :] if said else text
    lines: list[Line] = []
    number = 1
    try:
        delimiter = said[1] if said else _delimiter(text)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        for cells in reader:
            if any(cell.strip() for cell in cells):
                lines.append((skipped + reader.line_num, [_as_written(cell) for cell in cells]))
            number = reader.line_num + 1
    except csv.Error as error:
        raise TableError(f"{name}, line {skipped + number}: {error}") from None
    return lines if delimiter == "," else _with_points(lines, name)


def _as_written(cell: str) -> str:
    marked = unmarked(cell)
    return cell.strip() if marked is None else marked


def _delimiter(text: str) -> str:
    header = re.split(r"[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0]
    unquoted = re.sub(r'"[^"]*"', "", header)
    return max(DELIMITERS, key=unquoted.count)


def _with_points(lines: Sequence[Line], name: str) -> list[Line]:
    """Return the lines with decimal points in the place of decimal commas."""
    numbers = [
        (number, cell) for number, cells in lines[1:] for cell in cells if _COMMA.fullmatch(cell)
    ]
    if not numbers:
        return list(lines)
    # 1,234 is a thousand in one country, and little more than one in another
    if all(_THOUSANDS.fullmatch(cell) for _, cell in numbers):
        line, cell = numbers[0]
        raise TableError(
            f"{name}, line {line}: {shown(cell)} may have a decimal comma, or one that separates "
            "thousands; write numbers with decimal points, and without separators of thousands"
        )
    for line, cells in lines[1:]:
        for cell in cells:
            if _POINT.fullmatch(cell):
                raise TableError(
                    f"{name}, line {line}: {shown(cell)} has a point, and {shown(numbers[0][1])} "
                    f"in line {numbers[0][0]} a decimal comma; write all numbers in one way, and "
                    "without separators of thousands"
                )
    return [
        (number, [cell.replace(",", ".") if _COMMA.fullmatch(cell) else cell for cell in cells])
        for number, cells in lines
    ]
