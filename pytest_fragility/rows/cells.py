"""What a cell may hold: a number, a name or a flag, read or refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from pytest_fragility._util.validation import is_number, is_whole, require_name
from pytest_fragility.rows.json_files import DECODER
from pytest_fragility.rows.numerals import number_of, whole_of

MOST = 2**63 - 1
_RECIPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_=-]*")
# a column of flags of which one is missing is one of 1.0 and 0.0
_FLAGS = {"true": True, "1": True, "1.0": True, "yes": True}


_FLAGS |= {"false": False, "0": False, "0.0": False, "no": False}


def whole(least: int) -> Callable[[Any], int]:
    """Return what reads whole numbers from `least` up."""

    def read(value: Any) -> int:
        found: Any = whole_of(value) if isinstance(value, str) else value
        # spreadsheets write 32.0
        exact = int(found) if is_number(found) and found == found // 1 else least - 1
        if not is_whole(exact, least, MOST):
            raise ValueError(f"expected a whole number from {least} up")
        return exact

    return read


def number(value: Any) -> float:
    """Return a finite number."""
    found: Any = number_of(value) if isinstance(value, str) else value
    if is_number(found):
        return float(found)
    if isinstance(found, float):
        raise ValueError("expected a finite number; leave the cell empty where there is no value")
    raise ValueError("expected a number")


def share(value: Any) -> float:
    """Return a number from 0 to 1."""
    found = number(value)
    if not 0 <= found <= 1:
        hint = "; divide percentages by 100" if 1 < found <= 100 else ""
        raise ValueError(f"expected a share of the samples, from 0 to 1{hint}")
    return found


def not_negative(value: Any) -> float:
    """Return a finite number, zero or more."""
    found = number(value)
    if found < 0:
        raise ValueError("expected zero or more")
    return found


def flag(value: Any) -> bool:
    """Return whether something is so."""
    if isinstance(value, bool):
        return value
    if str(value).lower() not in _FLAGS:
        raise ValueError("expected true or false")
    return _FLAGS[str(value).lower()]


def text(value: Any) -> str:
    """Return a text of one line."""
    require_name(value if isinstance(value, str) else str(value), "a", ValueError)
    return str(value)


def recipe_name(value: Any) -> str:
    """Return a name that can be part of a test's id."""
    if not isinstance(value, str) or not _RECIPE.fullmatch(value) or len(value) > 100:
        raise ValueError(
            "expected a name of letters, digits and . + _ = -, which tests can be called by"
        )
    return value


def bits(value: Any) -> bytes:
    """Return the bytes of hexadecimal digits."""
    try:
        return bytes.fromhex(str(value))
    except ValueError:
        raise ValueError(
            "expected hexadecimal digits, as numpy.packbits(mistaken).tobytes().hex() writes them"
        ) from None


def structured(value: Any) -> Any:
    """Return what JSON says, or the text itself where it is none."""
    if not isinstance(value, str):
        return value
    try:
        return DECODER.decode(value)
    except (ValueError, RecursionError):
        return value
