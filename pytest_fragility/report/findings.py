"""What a check found, in one word and in one number with its interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pytest_fragility.checks.check import (
    COMPLEXITY_KINDS,
    EXPONENT,
    INVARIANCE_KINDS,
    SPREAD,
    STOPPING,
    TREND,
)
from pytest_fragility.checks.records import Record
from pytest_fragility.checks.wording import LOG

NOT_APPLICABLE = "not applicable"
DIGITS = 3


@dataclass(frozen=True)
class Quantity:
    """A number with its interval, rounded to three digits.

    Parameters
    ----------
    name
        ``exponent`` (``slope`` on a linear scale), ``exponent_change``, ``level_change`` (decades),
        ``value_change`` (decades; relative on a linear scale) or ``sensitivity``.
    value, low, high
        None where there is no such number.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None

    def __str__(self) -> str:
        value, low, high = (_shown(each) for each in (self.value, self.low, self.high))
        return f"{value} [{low}, {high}]"


def verdict_of(record: Record) -> str:
    """Return ``kept``, ``broken``, ``inconclusive`` or ``not applicable``."""
    verdict: str = record["verdict"]
    return verdict if record["applicable"] else NOT_APPLICABLE


def quantity_of(record: Record) -> Quantity | None:
    """Return the number that a verdict rests on; None where it rests on no single one."""
    if record["kind"] in (TREND, STOPPING):
        return exponent_of(record)
    if record["kind"] in COMPLEXITY_KINDS:
        return sensitivity_of(record)
    return change_of(record)


def exponent_of(record: Record) -> Quantity | None:
    """Return the measure's exponent under a check's recipe; its slope on a linear scale.

    None where the check looks at no exponent, or found none.
    """
    evidence = record["evidence"]
    if record["kind"] not in (TREND, EXPONENT, STOPPING) or not evidence:
        return None
    return _of_slope(record, evidence.get("perturbed", evidence["baseline"]), "")


def change_of(record: Record) -> Quantity | None:
    """Return by how much a check's change moves the measure; None where it has no such number."""
    change = record["evidence"].get("change")
    if record["kind"] not in (EXPONENT, STOPPING, SPREAD, *INVARIANCE_KINDS) or not change:
        return None
    if record["kind"] in (EXPONENT, STOPPING):
        return _of_slope(record, change, "_change")
    name = "value_change" if record["kind"] in INVARIANCE_KINDS else "level_change"
    return _quantity(record, name, change, 1)


def sensitivity_of(record: Record) -> Quantity | None:
    """Return by how much the measure follows test error over a ladder of tasks."""
    found = record["evidence"].get("sensitivity")
    return _quantity(record, "sensitivity", found, 1) if found else None


def _of_slope(record: Record, estimate: dict[str, float], suffix: str) -> Quantity:
    if record["scale"] == LOG:
        return _quantity(record, f"exponent{suffix}", estimate, -1)
    return _quantity(record, f"slope{suffix}", estimate, 1)


def _quantity(record: Record, name: str, estimate: dict[str, Any], sign: int) -> Quantity:
    ends = [estimate["low"], estimate["high"]][::sign]
    value, low, high = (
        None if each is None else _rounded(sign * each, record["scale"])
        for each in (estimate["mean"], *ends)
    )
    return Quantity(name, value, low, high)


def _rounded(value: float, scale: str) -> float:
    """Return a value to three decimals; to three significant digits where it may be of any size."""
    rounded = round(value, DIGITS) if scale == LOG else float(f"{value:.{DIGITS}g}")
    # adding zero turns -0.0 into 0.0
    return rounded + 0.0


def _shown(value: float | None) -> str:
    return "?" if value is None else f"{value:+.{DIGITS + 3}g}"
