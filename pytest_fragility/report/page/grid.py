"""Perturbations x checks, and what else has a verdict of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_fragility.checks.kind import SLOPE, Section
from pytest_fragility.checks.registry import KINDS, kind_of
from pytest_fragility.checks.verdicts import INADMISSIBLE, Record
from pytest_fragility.checks.wording import bent_mark, interval, recipe_change
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.report.page.marks import Mark

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
    judged = [record for record in records if kind_of(record).compares_recipes]
    if not judged:
        return None
    found = {record["kind"] for record in judged}
    kinds = [kind for kind in KINDS if kind in found]
    names = dict.fromkeys([BASELINE, *(record["perturbation"] for record in judged)])
    return Grid(
        ["measure's slope", "test error's", "perturbation is"],
        kinds,
        [_recipe_row(name, judged, kinds, marks, failed) for name in names],
    )


def grid_of_changes(
    section: Section, records: Sequence[Record], marks: Mapping[str, Mark]
) -> Grid | None:
    """Return one row per change that a section tells of; None where there are none."""
    rows = [
        GridRow(record["check"], change, [number], [marks[record["check"]]])
        for record, change, number in section.changes(records)
    ]
    return Grid(["the value moves by"], ["verdict"], rows) if rows else None


def slopes_of(name: str, judged: Sequence[Record]) -> tuple[Record, str] | None:
    """Return a record with a recipe's slopes, and on which side of the evidence they are."""
    side = BASELINE if name == BASELINE else "perturbed"
    for record in judged:
        is_asked = name in (BASELINE, record["perturbation"])
        if is_asked and kind_of(record).looks_at == SLOPE and side in record["evidence"]:
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


def change_in_words(record: Record) -> str:
    """Return what differs, such as ``sgd lr=0.05 → adam lr=0.001``; empty for the baseline."""
    return recipe_change(record["baseline"], record["recipe"], arrow="→")


def _failed(check: str, failed: Mapping[str, str]) -> Mark | None:
    if check not in failed:
        return None
    return Mark(check, FAILED, "!", FAILED, "inconclusive", failed[check])
