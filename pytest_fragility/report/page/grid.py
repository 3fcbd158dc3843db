"""Perturbations x checks, and what else has a verdict of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_fragility.checks.check import INVARIANCE_KINDS, PERTURBED_KINDS, SPREAD, STOPPING
from pytest_fragility.checks.invariance import how_it_moved
from pytest_fragility.checks.verdicts import INADMISSIBLE, Record
from pytest_fragility.checks.wording import bent_mark, interval
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.report.failure_message import change_in_words
from pytest_fragility.report.page.marks import Mark

GRID_KINDS = (*PERTURBED_KINDS, STOPPING)
FAILED = "error"


@dataclass(frozen=True)
class GridRow:
    """One recipe, or one change of a network, with its verdicts.

    Parameters
    ----------
    name, change
        What it is.
    cells
        Numbers, in the order of the grid's columns.
    marks
        Verdicts, in the order of the grid's kinds; None where nothing was checked.
    """

    name: str
    change: str
    cells: list[str]
    marks: list[Mark | None]


@dataclass(frozen=True)
class Grid:
    """Rows with their verdicts.

    Parameters
    ----------
    columns
        Headers of the numbers.
    kinds
        Headers of the verdicts.
    rows
        One per recipe or change.
    """

    columns: list[str]
    kinds: list[str]
    rows: list[GridRow]


def perturbation_grid(
    records: Sequence[Record], marks: Mapping[str, Mark], failed: Mapping[str, str]
) -> Grid | None:
    """Return one row per recipe and one column per kind of check; None where there are none.

    Parameters
    ----------
    records
        Of an audit.
    marks
        By check.
    failed
        Checks that ended in an error, with the id of the element that tells of it.
    """
    judged = [record for record in records if record["kind"] in GRID_KINDS]
    if not judged:
        return None
    kinds = [kind for kind in GRID_KINDS if any(record["kind"] == kind for record in judged)]
    names = dict.fromkeys([BASELINE, *(record["perturbation"] for record in judged)])
    return Grid(
        ["measure's slope", "test error's", "perturbation is"],
        kinds,
        [_recipe_row(name, judged, kinds, marks, failed) for name in names],
    )


def invariance_grid(records: Sequence[Record], marks: Mapping[str, Mark]) -> Grid | None:
    """Return one row per change that leaves the function as it is; None where there are none."""
    judged = [record for record in records if record["kind"] in INVARIANCE_KINDS]
    rows = [
        GridRow(
            record["check"],
            record["evidence"].get("summary", ""),
            [how_it_moved(record) if record["evidence"] else ""],
            [marks[record["check"]]],
        )
        for record in judged
    ]
    return Grid(["the value moves by"], ["verdict"], rows) if rows else None


def slopes_of(name: str, judged: Sequence[Record]) -> tuple[Record, str] | None:
    """Return a record with a recipe's slopes, and on which side of the evidence they are."""
    side = BASELINE if name == BASELINE else "perturbed"
    for record in judged:
        is_asked = name in (BASELINE, record["perturbation"]) and record["kind"] != SPREAD
        if is_asked and side in record["evidence"]:
            return record, side
    return None


def _recipe_row(
    name: str,
    judged: Sequence[Record],
    kinds: Sequence[str],
    marks: Mapping[str, Mark],
    failed: Mapping[str, str],
) -> GridRow:
    own = [record for record in judged if record["perturbation"] == name]
    found = slopes_of(name, judged)
    cells = ["", ""]
    if found is not None:
        record, side = found
        evidence = record["evidence"]
        cells = [
            interval(evidence[side], record["scale"]) + bent_mark(record, side),
            interval(evidence[f"error_{side}"]),
        ]
    admissibility = next((r["admissibility"] for r in own if r["admissibility"]), "")
    word = f"not {admissibility[2:]}" if admissibility == INADMISSIBLE else admissibility
    change = change_in_words(own[0]) if own else ""
    checks = [f"{kind}-{name}" for kind in kinds]
    return GridRow(
        name,
        change,
        [*cells, word],
        [marks.get(check) or _failed(check, failed) for check in checks],
    )


def _failed(check: str, failed: Mapping[str, str]) -> Mark | None:
    if check not in failed:
        return None
    return Mark(check, FAILED, "!", FAILED, "inconclusive", failed[check])
