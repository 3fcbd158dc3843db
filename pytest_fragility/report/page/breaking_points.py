"""Breaking points as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytest_fragility.checks.check import SPREAD
from pytest_fragility.checks.records import Record
from pytest_fragility.checks.wording import interval
from pytest_fragility.report.page.marks import NOTHING
from pytest_fragility.report.page.tables import Table

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
