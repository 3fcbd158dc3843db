"""One audit as a page's template takes it."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_fragility.checks.breaking_points import breaking_points
from pytest_fragility.checks.check import AGREEMENT, COMPLEXITY_KINDS, LOCATE
from pytest_fragility.checks.wording import Table
from pytest_fragility.report.documents import Document, records_of
from pytest_fragility.report.page.answers import Answers, answers_of
from pytest_fragility.report.page.evidence import Evidence, evidence_of
from pytest_fragility.report.page.grid import Grid, invariance_grid, perturbation_grid
from pytest_fragility.report.page.marks import mark_of
from pytest_fragility.report.page.pictures import Pictures, pictures_of


@dataclass(frozen=True)
class Section:
    """One audit.

    Parameters
    ----------
    id
        The element's.
    audit
        Of the document.
    answers
        The first screen's.
    grid, invariances
        Tables of verdicts; None where nothing was checked.
    pictures
        The figures.
    evidence
        Of every check, in the order of the audit.
    ladder, agreement
        Evidence of these kinds.
    breaking_points
        None where none were located.
    """

    id: str
    audit: Document
    answers: Answers
    grid: Grid | None
    invariances: Grid | None
    pictures: Pictures
    evidence: list[Evidence]
    ladder: list[Evidence]
    agreement: list[Evidence]
    breaking_points: Table | None


def section_of(audit: Document, number: int) -> Section:
    """Return one audit; `number` tells it from the page's others."""
    records = records_of(audit)
    name = f"audit-{number}"
    links = {r["check"]: f"{name}-check-{place}" for place, r in enumerate(records)}
    marks = {r["check"]: mark_of(r, links[r["check"]]) for r in records}
    failed = {error["check"]: f"{name}-errors" for error in audit["errors"]}
    evidence = {r["check"]: evidence_of(r, marks[r["check"]]) for r in records}
    located = [record for record in records if record["kind"] == LOCATE]
    return Section(
        name,
        audit,
        answers_of(audit, records, links),
        perturbation_grid(records, marks, failed),
        invariance_grid(records, marks),
        pictures_of(audit, records, f"a{number}"),
        list(evidence.values()),
        [evidence[r["check"]] for r in records if r["kind"] in COMPLEXITY_KINDS],
        [evidence[r["check"]] for r in records if r["kind"] == AGREEMENT and r["evidence"]],
        breaking_points(located) if located else None,
    )
