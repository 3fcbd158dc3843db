"""Breaking points in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytest_fragility.checks.check import SPREAD
from pytest_fragility.checks.records import Record
from pytest_fragility.checks.wording import interval

LINE_COLUMNS = (18, 24)


LINE_WIDTH = 79


def breaking_point_lines(records: Sequence[Record]) -> list[str]:
    """Return the table's part about breaking points: two lines at most for each direction."""
    lines = [_line("breaking points:", "admissible up to", "breaks at")]
    for record in records:
        for point in record["evidence"]["points"]:
            lines += _point_lines(point)
    return lines


def _point_lines(point: dict[str, Any]) -> list[str]:
    admissible = point["admissible"] or f"not at {point['inadmissible']}"
    if point["broken"] is None:
        return [_line(point["axis"], f"{admissible:<{LINE_COLUMNS[1] - 1}} ", "-")]
    kept = f"{point['kept']} does not" if point["kept"] else "the smallest step"
    broken = f"{point['broken']} ({kept})"
    lines = [_line(point["axis"], admissible, broken)]
    if len(admissible) >= LINE_COLUMNS[1] or len(lines[0]) > LINE_WIDTH:
        lines = [_line(point["axis"], admissible, ""), f"      breaks at {broken}"]
    return [*lines, f"      {point['kind']}: {_numbers_in_text(point)}"]


def _numbers_in_text(point: dict[str, Any]) -> str:
    evidence = point["evidence"]
    what = "log10(value)" if point["kind"] == SPREAD else "slope"
    before, after = interval(evidence["baseline"]), interval(evidence["perturbed"])
    return f"{what} {before} -> {after}, fresh seeds"


def _line(axis: str, admissible: str, broken: str) -> str:
    return f"  {axis:<{LINE_COLUMNS[0]}}{admissible:<{LINE_COLUMNS[1]}}{broken}".rstrip()
