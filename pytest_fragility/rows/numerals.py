"""Numbers as texts say them: in one way only, for Python reads more than anybody means."""

from __future__ import annotations

import re
from decimal import Decimal

# float() and int() take 3_2 for 32, and the digits of all scripts
_NUMBER = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:[eE]([+-]?[0-9]{1,9}))?")
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_GROUPED = re.compile(r"[+-]?[0-9]+(?:[., _'][0-9]+)+")
PERCENT = "%"
MOST_DIGITS = 30
# what says in a text that there is nothing, as pandas reads it; and a dash
_NOTHING = frozenset(("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NULL", "null", "None", "NaT", "-"))


def says_nothing(text: str) -> bool:
    """Return whether a text stands for a missing value; ``nan`` is a value, and no number."""
    return text.strip() in _NOTHING


def is_not_finite(text: str) -> bool:
    """Return whether a text says infinity, or no number, as a training that diverged leaves it."""
    return bool(_NOT_FINITE.fullmatch(text.strip()))


def number_of(text: str) -> float:
    """Return the number that a text says, a percentage as a share; it may be too large for one.

    Raises
    ------
    ValueError
        If it says none, or could say two.
    """
    plain = text.strip()
    if is_not_finite(plain):
        return float(plain)
    written = plain.removesuffix(PERCENT).rstrip()
    found = _NUMBER.fullmatch(written)
    if not found:
        hint = ""
        if _GROUPED.fullmatch(written):
            hint = ", with a decimal point, and digits that nothing separates"
        raise ValueError(f"expected a number{hint}")
    if written == plain:
        return float(plain)
    # not divided: 31.9 % is the float that .319 is
    return float(f"{found[1]}e{int(found[2] or 0) - 2}")


def whole_of(text: str) -> int | None:
    """Return the whole number that a text says exactly; None for anything else."""
    plain = text.strip()
    if not _NUMBER.fullmatch(plain):
        return None
    found = Decimal(plain)
    # before its digits are made: 1e999999999 has many
    is_whole = found.adjusted() <= MOST_DIGITS and found == found.to_integral_value()
    return int(found) if is_whole else None
