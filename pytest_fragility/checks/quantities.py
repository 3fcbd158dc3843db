"""The numbers that verdicts rest on, rounded: for baselines, JUnit XML and comparisons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pytest_fragility.checks.verdicts import Record
from pytest_fragility.checks.wording import LOG

DIGITS = 3


@dataclass(frozen=True)
class Quantity:
    """A number with its interval, rounded to three digits.

    Parameters
    ----------
    name
        ``exponent`` (``slope`` on a linear scale), ``exponent_change``, ``level_change`` (decades),
        ``value_change`` (decades; relative on a linear scale), ``sensitivity`` or ``tau``.
    value, low, high
        None where there is no such number.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(
        cls, record: Record, name: str, estimate: dict[str, Any], *, is_negated: bool = False
    ) -> Quantity:
        """Return one of the estimates in a record's evidence, or its negative."""
        sign = -1 if is_negated else 1
        ends = [estimate["low"], estimate["high"]][::sign]
        value, low, high = (
            None if each is None else _rounded(sign * each, record["scale"])
            for each in (estimate["mean"], *ends)
        )
        return cls(name, value, low, high)

    @classmethod
    def of_slope(cls, record: Record, estimate: dict[str, Any], suffix: str = "") -> Quantity:
        """Return a slope as an exponent; on a linear scale it stays a slope."""
        is_log = record["scale"] == LOG
        name = "exponent" if is_log else "slope"
        return cls.of(record, f"{name}{suffix}", estimate, is_negated=is_log)

    def __str__(self) -> str:
        value, low, high = (_shown(each) for each in (self.value, self.low, self.high))
        return f"{value} [{low}, {high}]"


def _rounded(value: float, scale: str) -> float:
    """Return a value to three decimals; to three significant digits where it may be of any size."""
    rounded = round(value, DIGITS) if scale == LOG else float(f"{value:.{DIGITS}g}")
    # adding zero turns -0.0 into 0.0
    return rounded + 0.0


def _shown(value: float | None) -> str:
    return "?" if value is None else f"{value:+.{DIGITS + 3}g}"
