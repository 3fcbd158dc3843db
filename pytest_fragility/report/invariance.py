"""Values on networks with the same function, in words."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from pytest_fragility.checks.check import EQUIVALENCE
from pytest_fragility.checks.records import Record
from pytest_fragility.checks.verdicts import BROKEN, INCONCLUSIVE, KEPT

WIDTH = 78
ROUNDING = 1e-6
NAME_COLUMN = 34
MOVED_COLUMN = 24
SHORT = {KEPT: "kept", BROKEN: "BROKEN", INCONCLUSIVE: "inconclusive"}


def invariance_lines(records: Sequence[Record]) -> list[str]:
    """Return the table's part about networks with the same function: one line for each change."""
    lines = ["  where the function stays the same:"]
    for record in records:
        moved = how_it_moved(record) if record["evidence"] else ""
        verdict = SHORT[record["verdict"]] if record["applicable"] else "-"
        lines.append(f"  {record['check']:<{NAME_COLUMN}}{moved:<{MOVED_COLUMN}}{verdict}".rstrip())
    return lines


def how_it_moved(record: Record) -> str:
    """Return by how much a measure moved, such as ``x 1.18`` or ``x 1.02 [0.97, 1.08]``."""
    change = record["evidence"]["change"]
    ends = [change["mean"], change["low"], change["high"]]
    if record["scale"] == "log":
        mean, low, high = (_factor(each) for each in ends)
        return f"x {mean}" if record["evidence"]["draws"] == 1 else f"x {mean} [{low}, {high}]"
    mean, low, high = (_percent(each) for each in ends)
    return mean if record["evidence"]["draws"] == 1 else f"{mean} [{low}, {high}]"


def value_lines(record: Record) -> list[str]:
    """Return the values before and after, how far apart they are, and what is allowed."""
    evidence = record["evidence"]
    draws = f", means of {evidence['draws']} draws" if evidence["draws"] > 1 else ""
    is_pair = record["kind"] == EQUIVALENCE
    before, after = ("first", "second") if is_pair else ("before", "after")
    return [
        f"  {before:<6}  {evidence['before']:.6g}",
        f"  {after:<6}  {evidence['after']:.6g}",
        f"  change  {how_it_moved(record)}, allowed {allowed_moves(record)}",
        *_indented(f"({record['change']}: {evidence['summary']}; {evidence['network']}{draws})"),
    ]


def allowed_moves(record: Record) -> str:
    """Return how far a measure may move, such as ``x 0.955 to x 1.047``."""
    tolerance = record["evidence"]["tolerance"]
    form = _allowed_factor if record["scale"] == "log" else _percent
    return f"{form(-tolerance)} to {form(tolerance)}"


def _allowed_factor(decades: float) -> str:
    return f"x {_factor(decades)}"


def _factor(decades: float) -> str:
    if abs(decades) >= 100:
        return f"10^{decades:+.0f}"
    return f"{10**decades:.3f}" if abs(decades) < 1 else f"{10**decades:.3g}"


def _percent(change: float) -> str:
    # rounding is no change
    shown = 0.0 if abs(change) < ROUNDING else 100 * change
    return f"{shown:+.3g} %"


def _indented(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ")
