"""What a field of a recipe must be, and the error where it is not."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from pytest_fragility.errors import SettingsError
from pytest_fragility.reprs import PrintsItsRepr


class Rule(NamedTuple):
    """What a value must be: a test, and the words for it."""

    holds: Callable[[Any], bool]
    words: str


def _is_number(value: Any) -> bool:
    is_real = isinstance(value, int | float) and not isinstance(value, bool)
    return is_real and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_fraction(value: Any) -> bool:
    return _is_number(value) and 0 <= value < 1


POSITIVE = Rule(lambda value: _is_number(value) and value > 0, "a positive number")
NOT_NEGATIVE = Rule(lambda value: _is_number(value) and value >= 0, "zero or more")
FRACTION = Rule(_is_fraction, "a number in [0, 1)")
FRACTIONS = Rule(
    lambda value: isinstance(value, tuple) and len(value) == 2 and all(map(_is_fraction, value)),
    "two numbers in [0, 1)",
)
COUNT = Rule(_is_count, "a whole number, at least 1")
COUNTS = Rule(
    lambda value: isinstance(value, tuple) and all(map(_is_count, value)),
    "a tuple of positive integers, such as (64, 64)",
)


WHOLE = Rule(
    lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0,
    "a whole number, zero or more",
)


def one_of(*kinds: type) -> Rule:
    """Return the rule that a value is of one of these types."""
    return Rule(
        lambda value: isinstance(value, kinds), " or ".join(kind.__name__ for kind in kinds)
    )


def named(*names: str) -> Rule:
    """Return the rule that a value is one of these names."""
    return Rule(lambda value: value in names, f"one of {', '.join(names)}")


def check(part: object, **rules: Rule) -> None:
    """Raise a SettingsError that names the first field that breaks its rule."""
    for name, rule in rules.items():
        value = getattr(part, name)
        if not rule.holds(value):
            raise SettingsError(f"{type(part).__name__}.{name}={value!r}: expected {rule.words}")


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
