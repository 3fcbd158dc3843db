"""How far a recipe can be changed along an axis before a measure breaks, and that in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pytest_fragility.checks import spread
from pytest_fragility.checks.check import Check
from pytest_fragility.checks.kind import NOTHING, SEARCH, Asked, Kind, Section
from pytest_fragility.checks.verdicts import Evidence, Record, SlopeEvidence
from pytest_fragility.checks.wording import NOTHING as NO_NUMBER
from pytest_fragility.checks.wording import Table, interval

LINE_COLUMNS = (18, 24)
LINE_WIDTH = 79


HEADER = ["axis", "admissible up to", "does not break at", "breaks at", "check", "on fresh seeds"]
# of which kinds the numbers are levels
LEVELS = {spread.KIND.id}


@dataclass(frozen=True)
class BreakingPoint(Evidence):
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
class BreakingPointEvidence(Evidence):
    """What a walk along an axis has found, one point for each direction."""

    points: tuple[BreakingPoint, ...]


class BreakingPoints(Section):
    """How far each axis was walked along, and where the measure broke."""

    title = "Breaking points"

    def lines(self, kinds: Sequence[Kind], records: Sequence[Record]) -> list[str]:
        """Return two lines at most for each direction."""
        header = _line("breaking points:", "admissible up to", "breaks at")
        return [header, *(line for point in _points(records) for line in _point_lines(point))]

    def tables(self, records: Sequence[Record]) -> list[Table]:
        """Return one row for each direction of each axis that was searched."""
        return [Table(HEADER, [_cells(point) for point in _points(records)])]


class Locate(Kind):
    """How far a recipe can be changed along one axis before the measure breaks."""

    id = "locate"
    about = NOTHING
    rests_on = SEARCH
    section = BreakingPoints()

    def plan(self, asked: Asked) -> list[Check]:
        """Return one check of each axis."""
        return [Check(self.id, change=axis) for axis in asked.axes]


def _points(records: Sequence[Record]) -> list[dict[str, Any]]:
    return [point for record in records for point in record["evidence"]["points"]]


def _point_lines(point: dict[str, Any]) -> list[str]:
    admissible = point["admissible"] or f"not at {point['inadmissible']}"
    if point["broken"] is None:
        return [_line(point["axis"], f"{admissible:<{LINE_COLUMNS[1] - 1}} ", "-")]
    kept = f"{point['kept']} does not" if point["kept"] else "the smallest step"
    broken = f"{point['broken']} ({kept})"
    lines = [_line(point["axis"], admissible, broken)]
    if len(admissible) >= LINE_COLUMNS[1] or len(lines[0]) > LINE_WIDTH:
        lines = [_line(point["axis"], admissible, ""), f"      breaks at {broken}"]
    return [*lines, f"      {point['kind']}: {_numbers(point, '->')}, fresh seeds"]


def _numbers(point: dict[str, Any], arrow: str) -> str:
    evidence = point["evidence"]
    what = "log10(value)" if point["kind"] in LEVELS else "slope"
    return f"{what} {interval(evidence['baseline'])} {arrow} {interval(evidence['perturbed'])}"


def _line(axis: str, admissible: str, broken: str) -> str:
    return f"  {axis:<{LINE_COLUMNS[0]}}{admissible:<{LINE_COLUMNS[1]}}{broken}".rstrip()


def _cells(point: dict[str, Any]) -> list[str]:
    return [
        point["axis"],
        point["admissible"] or f"not at {point['inadmissible']}",
        point["kept"] or NO_NUMBER,
        point["broken"] or "nothing admissible",
        point["kind"],
        _numbers(point, "→") if point["evidence"] else "",
    ]


KIND = Locate()
