"""Breaking points in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pytest_fragility.checks.check import SPREAD
from pytest_fragility.checks.verdicts import Record, SlopeEvidence
from pytest_fragility.checks.wording import NOTHING, Table, interval

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


HEADER = ["axis", "admissible up to", "does not break at", "breaks at", "check", "on fresh seeds"]


def breaking_points(records: Sequence[Record]) -> Table:
    """Return one row for each direction of each axis that was searched."""
    return Table(
        HEADER, [_cells(point) for record in records for point in record["evidence"]["points"]]
    )


def _cells(point: dict[str, Any]) -> list[str]:
    return [
        point["axis"],
        point["admissible"] or f"not at {point['inadmissible']}",
        point["kept"] or NOTHING,
        point["broken"] or "nothing admissible",
        point["kind"],
        _numbers_in_cell(point),
    ]


def _numbers_in_cell(point: dict[str, Any]) -> str:
    evidence = point["evidence"]
    if evidence is None:
        return ""
    what = "log10(value)" if point["kind"] == SPREAD else "slope"
    return f"{what} {interval(evidence['baseline'])} → {interval(evidence['perturbed'])}"


@dataclass(frozen=True)
class BreakingPoint:
    """How far a recipe can be changed in one direction before a measure breaks.

    Parameters
    ----------
    axis
        What is changed.
    admissible
        The largest admissible change; None where not even the smallest one is.
    inadmissible
        The smallest change that is not certainly admissible; None where all are.
    kept
        The largest change that does not break the measure; None where the smallest one does.
    broken
        The smallest change that breaks it; None where no admissible one does.
    kind
        The kind of check that it breaks.
    evidence
        The numbers, from seeds that had no part in the search.
    """

    axis: str
    admissible: str | None
    inadmissible: str | None
    kept: str | None
    broken: str | None
    kind: str = ""
    evidence: SlopeEvidence | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the point as plain JSON types."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**values, "evidence": self.evidence.to_dict() if self.evidence else None}


@dataclass(frozen=True)
class BreakingPointEvidence:
    """What a walk along an axis has found, one point for each direction."""

    points: tuple[BreakingPoint, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the points as plain JSON types."""
        return {"points": [point.to_dict() for point in self.points]}
