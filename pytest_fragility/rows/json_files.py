"""JSON and JSON Lines: records, and where they stand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from pytest_fragility._util.text import shown
from pytest_fragility.errors import TableError

STARTS = ("[", "{")


def records_of_json(text: str, name: str) -> list[tuple[str, Any]] | dict[str, Any]:
    """Return what JSON says: records with their places, or a dict of columns.

    The text is a list of objects, an object on each line, or one object; a TableError says where it
    is something else.
    """
    start = text.lstrip()
    try:
        found, end = DECODER.raw_decode(start)
    except (ValueError, RecursionError) as error:
        raise TableError(f"{name}: it is no JSON ({error})") from None
    if start[end:].strip():
        return list(_lines(text, name))
    if isinstance(found, list):
        return [(f"entry {place}", record) for place, record in enumerate(found)]
    # one line, or columns
    is_row = not any(isinstance(value, list | dict) for value in found.values())
    if is_row and "\n" not in start.strip():
        return [("line 1", found)]
    return dict(found)


def _lines(text: str, name: str) -> Iterator[tuple[str, Any]]:
    for place, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield f"line {place}", DECODER.decode(line)
        except (ValueError, RecursionError) as error:
            raise TableError(
                f"{name}, line {place}: it is no JSON ({error}); expected a list of objects, or an "
                "object on each line"
            ) from None


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [key for key, _ in pairs]
        twice = next(key for key in names if names.count(key) > 1)
        raise ValueError(f"two values are called {shown(twice)}")
    return found


# refuses what says a thing twice
DECODER = json.JSONDecoder(object_pairs_hook=_object)
