"""Estimates in words, the same in tables and messages."""

from __future__ import annotations

import textwrap

from pytest_fragility.checks.records import Record

LOG = "log"


WIDTH = 79


def interval(estimate: dict[str, float], scale: str = LOG) -> str:
    """Return mean and interval, such as ``+0.11 [+0.08, +0.14]``."""
    form = "+.2f" if scale == LOG else "+.2g"
    return "{0:{form}} [{1:{form}}, {2:{form}}]".format(
        estimate["mean"], estimate["low"], estimate["high"], form=form
    )


def power(estimate: dict[str, float], scale: str = LOG, name: str = "value") -> str:
    """Return a slope as a law, such as ``value ~ n^+0.11 [+0.08, +0.14]``."""
    law = f"{name} ~ n^" if scale == LOG else f"{name} per unit of log(n): "
    return law + interval(estimate, scale)


def level(estimate: dict[str, float], name: str = "value") -> str:
    """Return a level, such as ``log10(value) = +0.57 [+0.55, +0.60]``."""
    return f"log10({name}) = {interval(estimate)}"


def sensitivity(estimate: dict[str, float | None]) -> str:
    """Return a sensitivity, such as ``0.08 [0.01, 0.15]``; ``?`` where there is no number."""
    mean, low, high = (
        # adding zero turns -0.00 into 0.00
        "?" if value is None else f"{round(value, 2) + 0.0:.2f}"
        for value in (estimate["mean"], estimate["low"], estimate["high"])
    )
    return f"{mean} [{low}, {high}]"


def indented(text: str, more: str = "  ") -> list[str]:
    """Return text as indented lines, those after the first by `more`."""
    return textwrap.wrap(
        text, WIDTH, initial_indent="  ", subsequent_indent="  " + more, break_on_hyphens=False
    )


def law_of(record: Record) -> str:
    """Return what a record's slopes are slopes of."""
    return "value ~ n^slope" if record["scale"] == LOG else "value ~ slope * log(n)"
