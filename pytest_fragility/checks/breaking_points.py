"""Breaking points in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytest_fragility.checks.check import SPREAD
from pytest_fragility.checks.records import Record
from pytest_fragility.checks.wording import interval

COLUMNS = (18, 24)


WIDTH = 79


def breaking_point_lines(records: Sequence[Record]) -> list[str]:
    """Return the table's part about breaking points: two lines at most for each direction."""
    lines = [_row("breaking points:", "admissible up to", "breaks at")]
    for record in records:
        for point in record["evidence"]["points"]:
            lines += _point_lines(point)
    return lines


def _point_lines(point: dict[str, Any]) -> list[str]:
    admissible = point["admissible"] or f"not at {point['inadmissible']}"
    if point["broken"] is None:
        return [_row(point["axis"], f"{admissible:<{COLUMNS[1] - 1}} ", "-")]
    kept = f"{point['kept']} does not" if point["kept"] else "the smallest step"
    broken = f"{point['broken']} ({kept})"
    lines = [_row(point["axis"], admissible, broken)]
    if len(admissible) >= COLUMNS[1] or len(lines[0]) > WIDTH:
        lines = [_row(point["axis"], admissible, ""), f"      breaks at {broken}"]
    return [*lines, f"      {point['kind']}: {_numbers(point)}"]


def _numbers(point: dict[str, Any]) -> str:
    evidence = point["evidence"]
    what = "log10(value)" if point["kind"] == SPREAD else "slope"
    before, after = interval(evidence["baseline"]), interval(evidence["perturbed"])
    return f"{what} {before} -> {after}, fresh seeds"


def _row(axis: str, admissible: str, broken: str) -> str:
    return f"  {axis:<{COLUMNS[0]}}{admissible:<{COLUMNS[1]}}{broken}".rstrip()
