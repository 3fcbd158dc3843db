"""What a field of a recipe must be, and the error where it is not."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, NamedTuple

from pytest_fragility._util.text import LONGEST_NAME, shown
from pytest_fragility.errors import SettingsError


class PrintsItsRepr:
    """Mixed into classes whose repr says all: notebooks and Hypothesis then print it as it is.

    Both would print a dataclass field by field otherwise.
    """

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))


class Rule(NamedTuple):
    """What a value must be: a test, and the words for it."""

    holds: Callable[[Any], bool]
    words: str


# far above what can be trained, and far below what overflows somewhere inside
LARGEST_COUNT = 10**9
MOST_LAYERS = 1_000


def is_number(value: Any) -> bool:
    """Return whether a value is a finite real number that a float can hold."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def is_whole(value: Any, least: int, most: int = LARGEST_COUNT) -> bool:
    """Return whether a value is a whole number between two others, these included."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        return False
    return least <= int(value) <= most


# a recipe is written as JSON, which knows no numbers of NumPy
def _is_plain_number(value: Any) -> bool:
    return isinstance(value, int | float) and is_number(value)


def _is_plain_whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and is_whole(value, least)


def _is_count(value: Any) -> bool:
    return _is_plain_whole(value, 1)


def _is_fraction(value: Any) -> bool:
    return _is_plain_number(value) and 0 <= value < 1


POSITIVE = Rule(lambda value: _is_plain_number(value) and value > 0, "a positive number")
NOT_NEGATIVE = Rule(lambda value: _is_plain_number(value) and value >= 0, "zero or more")
FRACTION = Rule(_is_fraction, "a number in [0, 1)")
FRACTIONS = Rule(
    lambda value: isinstance(value, tuple) and len(value) == 2 and all(map(_is_fraction, value)),
    "two numbers in [0, 1)",
)
FLAG = Rule(lambda value: isinstance(value, bool), "True or False")
DEPTH = Rule(
    lambda value: _is_count(value) and value <= MOST_LAYERS,
    f"a whole number from 1 to {MOST_LAYERS:,}",
)
COUNT = Rule(_is_count, "a whole number, at least 1 and at most 1,000,000,000")
COUNTS = Rule(
    lambda value: (
        isinstance(value, tuple) and len(value) <= MOST_LAYERS and all(map(_is_count, value))
    ),
    f"a tuple of positive integers up to 1,000,000,000, such as (64, 64), at most {MOST_LAYERS:,}",
)
FLAG = Rule(lambda value: isinstance(value, bool), "True or False")
WHOLE = Rule(
    lambda value: _is_plain_whole(value, 0),
    "a whole number, zero or more and at most 1,000,000,000",
)


def one_of(*kinds: type) -> Rule:
    """Return the rule that a value is of one of these types.

    Of a subclass, which may do something else, a run's identity would not tell.
    """
    names = " or ".join(kind.__name__ for kind in kinds)
    return Rule(lambda value: type(value) in kinds, f"{names}, and no subclass")


def named(*names: str) -> Rule:
    """Return the rule that a value is one of these names."""
    return Rule(
        lambda value: isinstance(value, str) and value in names, f"one of {', '.join(names)}"
    )


def check(part: object, **rules: Rule) -> None:
    """Raise a SettingsError that names the first field that breaks its rule."""
    for name, rule in rules.items():
        value = getattr(part, name)
        if not rule.holds(value):
            raise SettingsError(
                f"{type(part).__name__}.{name}={shown(value)}: expected {rule.words}"
            )


class ShortRepr(PrintsItsRepr):
    """Mixed into dataclasses whose repr names only the fields that are not the default."""

    def __repr__(self) -> str:
        plain = type(self)()
        parts = [
            f"{each.name}={getattr(self, each.name)!r}"
            for each in dataclasses.fields(self)  # type: ignore[arg-type]
            if getattr(self, each.name) != getattr(plain, each.name)
        ]
        return f"{type(self).__name__}({', '.join(parts)})"


def require_name(name: Any, what: str, error: type[Exception]) -> None:
    """Raise where a name cannot stand in a table, a test id or on a terminal.

    `what` says in the message what has it: ``task``.
    """
    if isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and name.isprintable():
        return
    length = f" of {len(name):,} characters" if isinstance(name, str) else ""
    raise error(
        f"{what} name {shown(name, 60)}{length}: expected 1 to {LONGEST_NAME} printable characters "
        "on one line"
    )
